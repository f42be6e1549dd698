#include "tests/testing/go_trace_readers.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pprof/trace/trace_reason_text.h"
#include "runtime/trace/trace_event.h"

namespace fiberscope::testing {
namespace {

// Takes from the front. After the first thing that is not there, `ok` is false and what is taken means nothing.
class Bytes {
 public:
  explicit Bytes(std::string_view rest) : rest_(rest) {}

  bool ok() const { return ok_; }
  bool empty() const { return !ok_ || rest_.empty(); }

  uint8_t Byte() { return static_cast<uint8_t>(Take(1)[0]); }

  uint64_t Number() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      if (!ok_) return 0;
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }

  std::string_view Take(uint64_t size) {
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return std::string_view("\0", 1);
    }
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

constexpr uint8_t kStatusWithStack = 48;

// A batch of nothing but statuses, if it is one.
std::optional<std::vector<TraceStatus>> ReadStatuses(std::string_view data) {
  std::vector<TraceStatus> statuses;
  Bytes bytes(data);
  while (!bytes.empty()) {
    const uint8_t type = bytes.Byte();
    if (type != static_cast<uint8_t>(TraceEvent::kFiberStatus) && type != kStatusWithStack) return std::nullopt;
    if (bytes.Number() != 0) return std::nullopt;
    TraceStatus& status = statuses.emplace_back();
    status.fiber = bytes.Number();
    status.thread = bytes.Number();
    status.status = static_cast<TraceFiberStatus>(bytes.Number());
    if (type == kStatusWithStack) status.stack = bytes.Number();
  }
  if (!bytes.ok()) return std::nullopt;
  return statuses;
}

bool ReadTable(uint8_t kind, Bytes& data, TraceGeneration& generation) {
  constexpr uint8_t kStacks = 2, kStack = 3, kStrings = 4, kString = 5, kSamples = 6, kSample = 7;
  while (!data.empty()) {
    const uint8_t record = data.Byte();
    if (kind == kStacks && record == kStack) {
      TraceStack& stack = generation.stacks.emplace_back();
      stack.number = data.Number();
      for (uint64_t frames = data.Number(); frames > 0 && data.ok(); --frames) {
        stack.pcs.push_back(data.Number());
        for (int i = 0; i < 3; ++i) (void)data.Number();  // function, file, line
      }
    } else if (kind == kStrings && record == kString) {
      const uint64_t number = data.Number();
      const std::string_view text = data.Take(data.Number());
      if (number >= kFirstTraceString) {
        generation.strings.push_back({number, std::string(text)});
      } else if (text != pprof::TraceReasonText(number)) {
        return false;
      }
    } else if (kind == kSamples && record == kSample) {
      TraceSample& sample = generation.samples.emplace_back();
      for (uint64_t* const each : {&sample.time, &sample.thread, &sample.processor, &sample.fiber, &sample.stack})
        *each = data.Number();
    } else {
      return false;
    }
  }
  return data.ok();
}

}  // namespace

std::optional<TraceGenerations> ReadGo122Trace(std::string_view file) {
  const std::string_view head = file.substr(0, 16);
  if (head != std::string_view("go 1.22 trace\0\0\0", 16) && head != std::string_view("go 1.23 trace\0\0\0", 16))
    return std::nullopt;
  std::vector<TraceGeneration> generations;
  Bytes bytes(file.substr(16));
  while (!bytes.empty()) {
    if (bytes.Byte() != 1) return std::nullopt;
    const uint64_t number = bytes.Number();
    const uint64_t thread = bytes.Number();
    const uint64_t time = bytes.Number();
    const std::string_view data = bytes.Take(bytes.Number());
    if (!bytes.ok() || data.empty()) return std::nullopt;
    if (number == generations.size() + 1) generations.push_back({.number = number, .start = UINT64_MAX});
    if (number != generations.size()) return std::nullopt;
    TraceGeneration& generation = generations.back();
    Bytes rest(data);
    const uint8_t first = rest.Byte();
    if (first == 8) {
      generation.ticks_per_second = rest.Number();
      if (!rest.empty()) return std::nullopt;
      continue;
    }
    if (first < 8) {
      if (!ReadTable(first, rest, generation)) return std::nullopt;
      continue;
    }
    generation.start = std::min(generation.start, time);
    if (auto statuses = ReadStatuses(data); statuses && thread == kNoTraceThread) {
      generation.statuses.insert(generation.statuses.end(), statuses->begin(), statuses->end());
    } else {
      generation.batches.push_back({.thread = thread, .time = time, .data = std::string(data)});
    }
  }
  if (!bytes.ok()) return std::nullopt;
  TraceGenerations all;
  for (TraceGeneration& each : generations) all.push_back(std::make_shared<const TraceGeneration>(std::move(each)));
  return all;
}

std::optional<std::array<uint64_t, 64>> CountGo119Records(std::string_view file) {
  constexpr uint8_t kString = 37, kLog = 48;
  if (file.substr(0, 16) != std::string_view("go 1.19 trace\0\0\0", 16)) return std::nullopt;
  std::array<uint64_t, 64> counts{};
  Bytes bytes(file.substr(16));
  while (!bytes.empty()) {
    const uint8_t byte = bytes.Byte();
    const uint8_t record = byte & 63;
    ++counts[record];
    if (record == kString) {
      (void)bytes.Number();
      (void)bytes.Take(bytes.Number());
      continue;
    }
    if (byte >> 6 == 3) {
      (void)bytes.Take(bytes.Number());
    } else {
      for (int i = 0; i <= byte >> 6; ++i) (void)bytes.Number();
    }
    if (record == kLog) (void)bytes.Take(bytes.Number());
  }
  if (!bytes.ok()) return std::nullopt;
  return counts;
}

}  // namespace fiberscope::testing
