#include "pprof/trace/go122_encoder.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "pprof/trace/trace_reason_text.h"
#include "pprof/trace/varint.h"
#include "pprof/utf8.h"
#include "runtime/trace/trace_event.h"

namespace fiberscope::pprof {
namespace {

// The first byte of a batch of each kind, and of its records.
constexpr char kBatch = 1;
constexpr char kStacks = 2;
constexpr char kStack = 3;
constexpr char kStrings = 4;
constexpr char kString = 5;
constexpr char kSamples = 6;
constexpr char kSample = 7;
constexpr char kFrequency = 8;
// An event that Go 1.22 does not know: fiber, thread, status, stack.
constexpr char kStatusWithStack = 48;
constexpr size_t kMaxStatusBytes = 1 + 5 * 10;

constexpr size_t kMaxBatchBytes = 64 << 10;
constexpr size_t kMaxStringBytes = 1024;

// Texts that a generation did not have yet: functions and files.
class Strings {
 public:
  explicit Strings(const std::vector<TraceString>& given) {
    for (const TraceString& each : given) next_ = std::max(next_, each.number + 1);
  }
  uint64_t Number(std::string_view text) {
    if (text.empty()) return 0;
    const auto [at, is_new] = numbers_.try_emplace(std::string(text), next_);
    if (is_new) ++next_;
    return at->second;
  }
  const std::map<std::string, uint64_t>& numbers() const { return numbers_; }

 private:
  uint64_t next_ = kFirstTraceString;
  std::map<std::string, uint64_t> numbers_;
};

// Cuts records into batches that each begin with `kind`.
class Table {
 public:
  explicit Table(char kind) : kind_(kind) {}
  void Add(std::string_view record) {
    if (parts_.empty() || parts_.back().size() + record.size() > kMaxBatchBytes) parts_.emplace_back(1, kind_);
    parts_.back() += record;
  }
  const std::vector<std::string>& parts() const { return parts_; }

 private:
  const char kind_;
  std::vector<std::string> parts_;
};

std::string StringRecord(uint64_t number, std::string_view text) {
  const std::string whole = ToValidUtf8(text);
  const std::string_view valid = Utf8Prefix(whole, kMaxStringBytes);
  std::string record(1, kString);
  AppendVarint(record, number);
  AppendVarint(record, valid.size());
  return record += valid;
}

}  // namespace

absl::Status Go122Encoder::Put(std::string_view bytes) {
  bytes_written_ += bytes.size();
  return sink_.Write(bytes);
}

absl::Status Go122Encoder::Begin() {
  return Put(std::string_view(format_ == TraceFormat::kGo122 ? "go 1.22 trace\0\0\0" : "go 1.23 trace\0\0\0", 16));
}

absl::Status Go122Encoder::PutStatuses(const TraceGeneration& generation) {
  std::string data;
  for (size_t i = 0; i < generation.statuses.size(); ++i) {
    const TraceStatus& each = generation.statuses[i];
    data.push_back(format_ == TraceFormat::kGo122 ? static_cast<char>(TraceEvent::kFiberStatus) : kStatusWithStack);
    for (const uint64_t number : {uint64_t{0}, each.fiber, each.thread, static_cast<uint64_t>(each.status)}) {
      AppendVarint(data, number);
    }
    if (format_ != TraceFormat::kGo122) AppendVarint(data, each.stack);
    if (data.size() + kMaxStatusBytes <= kMaxBatchBytes && i + 1 < generation.statuses.size()) continue;
    if (absl::Status put = PutBatch(kNoTraceThread, generation.start, data); !put.ok()) return put;
    data.clear();
  }
  return absl::OkStatus();
}

absl::Status Go122Encoder::PutBatch(uint64_t thread, uint64_t time, std::string_view data) {
  std::string head(1, kBatch);
  for (const uint64_t each : {generations_, thread, time, uint64_t{data.size()}}) AppendVarint(head, each);
  if (absl::Status status = Put(head); !status.ok()) return status;
  return Put(data);
}

absl::Status Go122Encoder::Write(const TraceGeneration& generation) {
  if (generation.batches.empty() && generation.statuses.empty()) return absl::OkStatus();
  ++generations_;
  for (const TraceBatch& batch : generation.batches) {
    if (absl::Status status = PutBatch(batch.thread, batch.time, batch.data); !status.ok()) return status;
  }
  if (absl::Status status = PutStatuses(generation); !status.ok()) return status;
  Strings strings(generation.strings);
  Table samples(kSamples);
  for (const TraceSample& sample : generation.samples) {
    std::string record(1, kSample);
    for (const uint64_t each : {sample.time, sample.thread, sample.processor, sample.fiber, sample.stack}) {
      AppendVarint(record, each);
    }
    samples.Add(record);
  }
  Table stacks(kStacks);
  for (const TraceStack& stack : generation.stacks) {
    const std::vector<TraceFrame> frames = frames_.Frames(stack.pcs);
    std::string record(1, kStack);
    AppendVarint(record, stack.number);
    AppendVarint(record, frames.size());
    for (const TraceFrame& frame : frames) {
      AppendVarint(record, frame.pc);
      AppendVarint(record, strings.Number(frame.function));
      AppendVarint(record, strings.Number(frame.file));
      AppendVarint(record, static_cast<uint64_t>(std::max(frame.line, 0)));
    }
    stacks.Add(record);
  }
  Table texts(kStrings);
  for (uint64_t number = 1; number < kFirstTraceString; ++number) {
    if (const std::string_view reason = TraceReasonText(number); !reason.empty()) texts.Add(StringRecord(number, reason));
  }
  for (const TraceString& each : generation.strings) texts.Add(StringRecord(each.number, each.text));
  for (const auto& [text, number] : strings.numbers()) texts.Add(StringRecord(number, text));
  std::string frequency(1, kFrequency);
  AppendVarint(frequency, generation.ticks_per_second);
  for (const Table* const table : {&samples, &stacks, &texts}) {
    for (const std::string& part : table->parts()) {
      if (absl::Status status = PutBatch(kNoTraceThread, generation.start, part); !status.ok()) return status;
    }
  }
  return PutBatch(kNoTraceThread, generation.start, frequency);
}

absl::Status WriteGo122Trace(const TraceGenerations& generations, TraceFormat format, TraceFrames& frames, ByteSink& sink) {
  Go122Encoder encoder(frames, sink, format);
  absl::Status status = encoder.Begin();
  for (const auto& each : generations) {
    if (status.ok()) status = encoder.Write(*each);
  }
  return status;
}

}  // namespace fiberscope::pprof
