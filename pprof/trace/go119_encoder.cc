// Format: the first family of Go's traces (Go 1.5 to 1.21) in the version of Go 1.19; frozen by
// tests/pprof/trace/go119_encoder_test.cc and by the real tools in tests/conformance/trace_converters_test.sh.
//
// Events stand in one stream per processor, plus one for what happens outside of any. A stream is cut into batches,
// which name the processor and the time; an event then counts its time from the one before. Which fiber an event is of
// follows from the last start in its stream, so every event goes to the stream of the processor that had the fiber,
// even if another thread caused it.
//
// A reader merges streams by time as far as the sequence numbers of fibers allow, and refuses a file in which the two
// disagree. All events have different, ascending times here, so there is one order only, the timeline's.
#include "pprof/trace/go119_encoder.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "pprof/trace/varint.h"
#include "pprof/utf8.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kHeader("go 1.19 trace\0\0\0", 16);
constexpr size_t kBatchBytes = 32 << 10;
constexpr uint64_t kTicksPerSecond = 1'000'000'000;

// Numbers of the format; our words.
enum class Record : uint8_t {
  kBatch = 1,
  kFrequency = 2,
  kStack = 3,
  kProcessors = 4,
  kProcessorStart = 5,
  kProcessorStop = 6,
  kCreate = 13,
  kStart = 14,
  kEnd = 15,
  kStopForEver = 16,
  kYield = 17,
  kPreempt = 18,
  kSleep = 19,
  kBlock = 20,
  kUnblock = 21,
  kBlockSend = 22,
  kBlockReceive = 23,
  kBlockSelect = 24,
  kBlockSync = 25,
  kBlockCondition = 26,
  kBlockNetwork = 27,
  kCall = 28,        // a blocking call begins
  kCallExit = 29,    // it is over, and the fiber runnable
  kCallBlocks = 30,  // it loses its processor
  kWaiting = 31,
  kHeapAlloc = 33,
  kHeapGoal = 34,
  kString = 37,
  kStartLabelled = 41,
  kTaskBegin = 45,
  kTaskEnd = 46,
  kRegion = 47,
  kLog = 48,
  kSample = 49,
};

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

Record BlockRecord(std::string_view reason) {
  if (Contains(reason, "network")) return Record::kBlockNetwork;
  if (Contains(reason, "select")) return Record::kBlockSelect;
  if (Contains(reason, "chan")) return Contains(reason, "send") ? Record::kBlockSend : Record::kBlockReceive;
  if (Contains(reason, "Cond")) return Record::kBlockCondition;
  if (Contains(reason, "sync")) return Record::kBlockSync;
  if (reason == "sleep") return Record::kSleep;
  return Record::kBlock;
}

// The upper two bits say how many values follow the first; 3: that a length does.
void AppendRecord(std::string& bytes, Record record, std::span<const uint64_t> values) {
  const size_t inlined = std::min<size_t>(values.size() - 1, 3);
  bytes += static_cast<char>(static_cast<uint8_t>(record) | inlined << 6);
  if (inlined < 3) {
    for (const uint64_t value : values) AppendVarint(bytes, value);
    return;
  }
  std::string rest;
  for (const uint64_t value : values) AppendVarint(rest, value);
  AppendVarint(bytes, rest.size());
  bytes += rest;
}

// Stacks and strings by number, for the whole file.
class Tables {
 public:
  explicit Tables(TraceFrames& frames) : frames_(frames) {}

  uint64_t String(std::string_view text) {
    if (text.empty()) return 0;
    return strings_.try_emplace(ToValidUtf8(text), strings_.size() + 1).first->second;
  }

  uint64_t Stack(std::span<const uintptr_t> pcs) { return pcs.empty() ? 0 : Stack(frames_.Frames(pcs)); }

  // For a fiber of which there is no stack: readers of Go 1.19 want one of each.
  uint64_t UnknownEntry() { return Stack({{.pc = UINT64_MAX, .function = "(unknown)"}}); }

  // Of the outermost function alone.
  uint64_t Entry(std::span<const uintptr_t> pcs) {
    std::vector<TraceFrame> frames;
    if (!pcs.empty()) frames = frames_.Frames(pcs);
    if (frames.empty()) return 0;
    return Stack({frames.back()});
  }

  // With the clock. At the end: since Go 1.23 readers want a batch before anything else.
  absl::Status Write(ByteSink& sink) const {
    std::string bytes;
    AppendRecord(bytes, Record::kFrequency, std::vector{kTicksPerSecond});
    for (const auto& [text, number] : strings_) {
      bytes += static_cast<char>(Record::kString);
      AppendVarint(bytes, number);
      AppendVarint(bytes, text.size());
      bytes += text;
      if (absl::Status status = Flush(bytes, sink, kBatchBytes); !status.ok()) return status;
    }
    for (const auto& [values, number] : stacks_) {
      std::vector<uint64_t> record = {number, values.size() / 4};
      record.insert(record.end(), values.begin(), values.end());
      AppendRecord(bytes, Record::kStack, record);
      if (absl::Status status = Flush(bytes, sink, kBatchBytes); !status.ok()) return status;
    }
    return Flush(bytes, sink, 0);
  }

 private:
  static absl::Status Flush(std::string& bytes, ByteSink& sink, size_t limit) {
    if (bytes.empty() || bytes.size() < limit) return absl::OkStatus();
    absl::Status status = sink.Write(bytes);
    bytes.clear();
    return status;
  }

  // Frames are counted anew: readers of Go 1.23 take no stack of more than 2048 bytes, and 128 frames with large
  // numbers would be more.
  uint64_t Stack(const std::vector<TraceFrame>& frames) {
    if (frames.empty()) return 0;
    std::vector<uint64_t> values;
    for (const TraceFrame& frame : frames) {
      values.push_back(pcs_.try_emplace(frame.pc, pcs_.size() + 1).first->second);
      values.push_back(String(frame.function));
      values.push_back(String(frame.file));
      values.push_back(static_cast<uint64_t>(std::max(frame.line, 0)));
    }
    return stacks_.try_emplace(std::move(values), stacks_.size() + 1).first->second;
  }

  TraceFrames& frames_;
  absl::flat_hash_map<uint64_t, uint64_t> pcs_;
  std::map<std::string, uint64_t> strings_;           // ordered: the same bytes every time
  std::map<std::vector<uint64_t>, uint64_t> stacks_;  // by four values for each frame
};

class Encoder {
 public:
  Encoder(const TraceTimeline& timeline, TraceFrames& frames, ByteSink& sink)
      : timeline_(timeline), tables_(frames), sink_(sink) {}

  absl::Status Encode() {
    Keep(sink_.Write(kHeader));
    LookAhead();
    AddBeginning();
    base_ = ticks_ + 1;
    for (const TimelineEvent& event : timeline_.events()) {
      if (!status_.ok()) return status_;
      now_ = base_ + static_cast<uint64_t>(event.time_ns);
      Add(event);
    }
    AddEnd();
    AddSamples();
    for (auto& [processor, stream] : streams_) Flush(stream);
    if (status_.ok()) Keep(tables_.Write(sink_));
    return status_;
  }

 private:
  struct Stream {
    std::string bytes = {};
    uint64_t ticks = 0;
  };
  struct Fiber {
    uint64_t sequence = 0;
    uint64_t created = 0;  // ticks
    std::string label = {};
    bool seems_to_wait = false;  // in a call since before the trace
    bool in_lost_call = false;   // and exit not written yet
    uint64_t exit = 0;           // when that call was over
  };
  struct Processor {
    uint64_t fiber = 0;
    bool in_call = false;
  };
  // What is known of the future.
  struct Outlook {
    uint64_t entry = 0;  // stack
    uint64_t unblocks = 0;
  };

  void Keep(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  uint64_t Tick() { return ticks_ = std::max(ticks_ + 1, now_); }

  void Put(uint64_t processor, Record record, std::initializer_list<uint64_t> arguments) {
    const uint64_t ticks = Tick();
    Stream& stream = Open(processor, ticks);
    std::vector<uint64_t> values = {ticks - stream.ticks};
    values.insert(values.end(), arguments);
    stream.ticks = ticks;
    AppendRecord(stream.bytes, record, values);
  }

  Stream& Open(uint64_t processor, uint64_t ticks) {
    Stream& stream = streams_[processor];
    if (stream.bytes.size() >= kBatchBytes) Flush(stream);
    if (!stream.bytes.empty()) return stream;
    AppendRecord(stream.bytes, Record::kBatch, std::vector{processor, ticks});
    stream.ticks = ticks;
    return stream;
  }

  void Flush(Stream& stream) {
    if (status_.ok() && !stream.bytes.empty()) Keep(sink_.Write(stream.bytes));
    stream.bytes.clear();
  }

  bool IsFirst(const TimelineEvent& event) const { return event.generation == timeline_.events().front().generation; }

  uint64_t Stack(const TimelineEvent& event, size_t argument) {
    const uint64_t number = event.args[argument];
    if (number == 0) return 0;
    const auto [at, added] = stacks_.try_emplace({event.generation, number}, 0);
    if (added) at->second = tables_.Stack(timeline_.Stack(event.generation, number));
    return at->second;
  }

  std::string_view Text(const TimelineEvent& event, size_t argument) const {
    return timeline_.Text(event.generation, event.args[argument]);
  }

  uint64_t String(const TimelineEvent& event, size_t argument) { return tables_.String(Text(event, argument)); }

  void LookAhead();
  void AddBeginning();
  void Add(const TimelineEvent& event);
  void AddCreate(uint64_t processor, uint64_t fiber, uint64_t entry, uint64_t stack);
  void AddStart(uint64_t processor, uint64_t fiber);
  void AddProcessorStatus(const TimelineEvent& event);
  void AddBlock(const TimelineEvent& event);
  void AddCallExit(const TimelineEvent& event);
  void AddProcessorStop(uint64_t processor);
  void AddLog(const TimelineEvent& event);
  void AddEnd();
  void AddSamples();

  const TraceTimeline& timeline_;
  Tables tables_;
  ByteSink& sink_;
  absl::Status status_;                 // the first error
  uint64_t base_ = 0;                   // ticks of the timeline's beginning
  uint64_t now_ = 0;                    // ticks of the event, if it were the only one at its time
  uint64_t ticks_ = 0;                  // of the last record; 0 means "unset" to readers
  std::map<uint64_t, Stream> streams_;  // by processor; kNoTraceProcessor: outside of any
  std::map<uint64_t, Processor> processors_;
  absl::flat_hash_map<uint64_t, Fiber> fibers_;  // dead ones as well
  absl::flat_hash_map<uint64_t, Outlook> outlooks_;
  absl::flat_hash_map<std::pair<uint32_t, uint64_t>, uint64_t> stacks_;  // generation and number to number in the file
  std::vector<const TimelineEvent*> first_fibers_;
  std::vector<const TimelineEvent*> first_processors_;
  uint64_t processor_count_ = 0;
};

// The argument that is the stack on which the event's fiber was, or none.
constexpr size_t kNoArgument = 4;
size_t OwnStack(TraceEvent type) {
  switch (type) {
    case TraceEvent::kFiberStop:
    case TraceEvent::kFiberBlock:
    case TraceEvent::kBlockingBegin:
    case TraceEvent::kTaskEnd:
      return 1;
    case TraceEvent::kFiberCreate:
    case TraceEvent::kFiberUnblock:
    case TraceEvent::kRegionBegin:
    case TraceEvent::kRegionEnd:
      return 2;
    case TraceEvent::kFiberStatus:
    case TraceEvent::kTaskBegin:
    case TraceEvent::kLog:
      return 3;
    default:
      return kNoArgument;
  }
}

// Of a status.
bool IsInLostCall(const TimelineEvent& event) {
  return static_cast<TraceFiberStatus>(event.args[2]) == TraceFiberStatus::kBlocking &&
         event.processor == kNoTraceProcessor;
}

void Encoder::LookAhead() {
  absl::flat_hash_set<uint64_t> processors;
  for (const TimelineEvent& event : timeline_.events()) {
    if (event.type == TraceEvent::kFiberUnblock) ++outlooks_[event.args[0]].unblocks;
    if (event.type == TraceEvent::kProcessorsChange && processor_count_ == 0) processor_count_ = event.args[0];
    if (event.type == TraceEvent::kProcessorStatus) processors.insert(event.processor);
    if (event.type == TraceEvent::kProcessorStatus && IsFirst(event)) first_processors_.push_back(&event);
    if (event.type == TraceEvent::kFiberStatus) first_fibers_.push_back(&event);
    const size_t stack = OwnStack(event.type);
    if (stack == kNoArgument || event.fiber == 0 || event.args[stack] == 0) continue;
    Outlook& outlook = outlooks_[event.fiber];
    if (outlook.entry == 0) outlook.entry = tables_.Entry(timeline_.Stack(event.generation, event.args[stack]));
  }
  if (processor_count_ == 0) processor_count_ = std::max<size_t>(processors.size(), 1);
  std::ranges::stable_sort(first_processors_, {}, &TimelineEvent::processor);
  std::ranges::stable_sort(first_fibers_, {}, &TimelineEvent::fiber);
}

// What was there already, as if it had been made just now. The timeline names it only where it is first used, but it
// cannot have changed until then. The quirks are for readers: those of Go 1.23 and 1.24 drop the very first event,
// unless it is a creation alone at its time; since 1.23 the first number of processors only says that the beginning is
// over, and without a second one a view fails; a view of 1.23 also fails when a fiber leaves a blocking call in which
// it was from the beginning, without a processor, so such a fiber seems to wait.
void Encoder::AddBeginning() {
  const uint64_t home = first_processors_.empty() ? kNoTraceProcessor : first_processors_.front()->processor;
  if (first_fibers_.empty()) Put(home, Record::kProcessors, {processor_count_, 0});
  for (const TimelineEvent* event : first_fibers_) {
    AddCreate(home, event->fiber, outlooks_[event->fiber].entry, 0);
    Fiber& fiber = fibers_[event->fiber];
    const auto status = static_cast<TraceFiberStatus>(event->args[2]);
    if (status == TraceFiberStatus::kWaiting || IsInLostCall(*event)) {
      ++fiber.sequence;
      Put(home, Record::kWaiting, {event->fiber});
    }
    fiber.seems_to_wait = IsInLostCall(*event);
  }
  for (const TimelineEvent* event : first_processors_) {
    if (event->args[1] != static_cast<uint64_t>(TraceProcessorStatus::kIdle)) {
      Put(event->processor, Record::kProcessorStart, {event->thread});
    }
  }
  for (const TimelineEvent* event : first_fibers_) {
    if (event->processor == kNoTraceProcessor) continue;
    AddStart(event->processor, event->fiber);
    if (static_cast<TraceFiberStatus>(event->args[2]) != TraceFiberStatus::kBlocking) continue;
    Put(event->processor, Record::kCall, {0});
    processors_[event->processor].in_call = true;
  }
  Put(home, Record::kProcessors, {processor_count_, 0});
  Put(home, Record::kProcessors, {processor_count_, 0});
}

void Encoder::Add(const TimelineEvent& event) {
  const uint64_t processor = event.processor;
  switch (event.type) {
    case TraceEvent::kFiberStatus:
      return;
    case TraceEvent::kProcessorStatus:
      return AddProcessorStatus(event);
    case TraceEvent::kProcessorStart:
      return Put(processor, Record::kProcessorStart, {event.thread});
    case TraceEvent::kProcessorStop:
    case TraceEvent::kProcessorSteal:
      return AddProcessorStop(processor);
    case TraceEvent::kProcessorsChange:
      return Put(processor, Record::kProcessors, {event.args[0], Stack(event, 1)});
    case TraceEvent::kFiberCreate:
      return AddCreate(processor, event.args[0], Stack(event, 1), Stack(event, 2));
    case TraceEvent::kFiberCreateBlocking:
      // Runnable at once: a call that nobody saw begin must not end, or a view of Go 1.23 fails.
      return AddCreate(kNoTraceProcessor, event.fiber, outlooks_[event.fiber].entry, 0);
    case TraceEvent::kFiberStart:
      return AddStart(processor, event.fiber);
    case TraceEvent::kFiberDestroy:
      processors_[processor] = {};
      return Put(processor, Record::kEnd, {});
    case TraceEvent::kFiberDestroyBlocking:
      if (processor == kNoTraceProcessor || !processors_[processor].in_call) return;  // remains in its call for ever
      processors_[processor] = {};
      return Put(processor, Record::kEnd, {});
    case TraceEvent::kFiberStop:
      processors_[processor] = {};
      return Put(processor, Text(event, 0) == "preempted" ? Record::kPreempt : Record::kYield, {Stack(event, 1)});
    case TraceEvent::kFiberBlock:
      return AddBlock(event);
    case TraceEvent::kFiberUnblock:
      --outlooks_[event.args[0]].unblocks;
      return Put(processor, Record::kUnblock, {event.args[0], ++fibers_[event.args[0]].sequence, Stack(event, 2)});
    case TraceEvent::kBlockingBegin:
      processors_[processor].in_call = true;
      return Put(processor, Record::kCall, {Stack(event, 1)});
    case TraceEvent::kBlockingEnd:
      processors_[processor].in_call = false;
      return;
    case TraceEvent::kBlockingEndLost:
      return AddCallExit(event);
    case TraceEvent::kHeapAlloc:
      return Put(processor, Record::kHeapAlloc, {event.args[0]});
    case TraceEvent::kHeapGoal:
      return Put(processor, Record::kHeapGoal, {event.args[0]});
    case TraceEvent::kFiberLabel:
      fibers_[event.fiber].label = Text(event, 0);
      return;
    case TraceEvent::kTaskBegin:
      return Put(processor, Record::kTaskBegin, {event.args[0], event.args[1], String(event, 2), Stack(event, 3)});
    case TraceEvent::kTaskEnd:
      return Put(processor, Record::kTaskEnd, {event.args[0], Stack(event, 1)});
    case TraceEvent::kRegionBegin:
    case TraceEvent::kRegionEnd:
      return Put(processor, Record::kRegion,
                 {event.args[0], event.type == TraceEvent::kRegionEnd ? 1u : 0u, String(event, 1), Stack(event, 2)});
    case TraceEvent::kLog:
      return AddLog(event);
  }
}

void Encoder::AddCreate(uint64_t processor, uint64_t fiber, uint64_t entry, uint64_t stack) {
  Put(processor, Record::kCreate, {fiber, entry != 0 ? entry : tables_.UnknownEntry(), stack});
  if (!fibers_.try_emplace(fiber, Fiber{.created = ticks_}).second) {
    Keep(absl::InvalidArgumentError(
        absl::StrCat("fiber ", fiber, " was there before: this format needs another number")));
  }
}

// "GC " at the beginning of a label would make a reader take the fiber for a garbage collector's.
void Encoder::AddStart(uint64_t processor, uint64_t number) {
  Fiber& fiber = fibers_[number];
  if (std::exchange(fiber.in_lost_call, false))
    Put(processor, Record::kCallExit, {number, ++fiber.sequence, fiber.exit});
  processors_[processor] = {.fiber = number};
  if (fiber.label.empty()) return Put(processor, Record::kStart, {number, ++fiber.sequence});
  const uint64_t label = tables_.String(fiber.label.starts_with("GC ") ? " " + fiber.label : fiber.label);
  Put(processor, Record::kStartLabelled, {number, ++fiber.sequence, label});
}

// A fiber that seemed to wait may turn out to be in a call that has kept this processor.
void Encoder::AddProcessorStatus(const TimelineEvent& event) {
  const auto status = static_cast<TraceProcessorStatus>(event.args[1]);
  if (status == TraceProcessorStatus::kIdle) return;
  if (!IsFirst(event)) Put(event.processor, Record::kProcessorStart, {event.thread});
  if (status != TraceProcessorStatus::kBlocking || event.fiber == 0) return;
  Fiber& fiber = fibers_[event.fiber];
  if (!std::exchange(fiber.seems_to_wait, false)) return;
  Put(kNoTraceProcessor, Record::kUnblock, {event.fiber, ++fiber.sequence, 0});
  AddStart(event.processor, event.fiber);
  Put(event.processor, Record::kCall, {0});
  processors_[event.processor].in_call = true;
}

// A fiber that stops for ever is dead to readers; one that is unblocked after all must not be.
void Encoder::AddBlock(const TimelineEvent& event) {
  processors_[event.processor] = {};
  const std::string_view reason = Text(event, 0);
  const bool for_ever = reason == "forever" && outlooks_[event.fiber].unblocks == 0;
  Put(event.processor, for_ever ? Record::kStopForEver : BlockRecord(reason), {Stack(event, 1)});
}

// The exit itself is written in the stream of the processor that runs the fiber next, with the time it has now.
void Encoder::AddCallExit(const TimelineEvent& event) {
  Fiber& fiber = fibers_[event.fiber];
  if (std::exchange(fiber.seems_to_wait, false)) {
    return Put(kNoTraceProcessor, Record::kUnblock, {event.fiber, ++fiber.sequence, 0});
  }
  fiber.exit = Tick();
}

void Encoder::AddProcessorStop(uint64_t number) {
  const Processor processor = std::exchange(processors_[number], {});
  if (processor.in_call) {
    fibers_[processor.fiber].in_lost_call = true;
    Put(number, Record::kCallBlocks, {});
  }
  Put(number, Record::kProcessorStop, {});
}

void Encoder::AddLog(const TimelineEvent& event) {
  Put(event.processor, Record::kLog, {event.args[0], String(event, 1), Stack(event, 3)});
  const std::string value = ToValidUtf8(Text(event, 2));
  std::string& bytes = streams_[event.processor].bytes;
  AppendVarint(bytes, value.size());
  bytes += value;
}

// Go stops everything before it ends a trace, so a viewer of 1.19 fails if a fiber still runs.
void Encoder::AddEnd() {
  now_ = base_ + static_cast<uint64_t>(timeline_.end_ns());
  for (const auto& [number, processor] : processors_) {
    if (processor.fiber == 0) continue;
    if (processor.in_call) {
      Put(number, Record::kCallBlocks, {});
    } else {
      Put(number, Record::kPreempt, {0});
    }
  }
}

// A sample from before its fiber's creation would make that a second one to readers: creations may have been moved on.
void Encoder::AddSamples() {
  for (const TimelineSample& sample : timeline_.samples()) {
    uint64_t ticks = base_ + static_cast<uint64_t>(sample.time_ns);
    const auto fiber = fibers_.find(sample.fiber);
    if (fiber != fibers_.end()) ticks = std::max(ticks, fiber->second.created + 1);
    const uint64_t number = fiber != fibers_.end() ? sample.fiber : 0;
    const uint64_t stack = tables_.Stack(timeline_.Stack(sample.generation, sample.stack));
    Stream& stream = Open(kNoTraceProcessor, ticks_);
    AppendRecord(stream.bytes, Record::kSample, std::vector{uint64_t{0}, ticks, sample.processor, number, stack});
  }
}

}  // namespace

absl::Status WriteGo119Trace(const TraceTimeline& timeline, TraceFrames& frames, ByteSink& sink) {
  return Encoder(timeline, frames, sink).Encode();
}

}  // namespace fiberscope::pprof
