// The events of an execution trace in one order that could have happened, each rule of the format checked.
//
// Threads record by themselves, so a trace is a heap of lists. Three things order events: their place in the list of
// their thread; the numbers that starts and unblocks of a fiber, and starts, steals and blocking calls of a processor,
// carry; and what state a fiber or processor must be in for the event to be possible. Among those that are possible the
// earliest by the clock comes next: a clock that differs between processors changes shown times by as much, but never
// the order of cause and effect.
//
// This is what Go's own reader does, and it is as strict or stricter: what passes here is accepted there. It shares
// nothing with the writer of runtime/trace, so tests use it to judge that.
#ifndef FIBERSCOPE_PPROF_TRACE_TRACE_TIMELINE_H_
#define FIBERSCOPE_PPROF_TRACE_TRACE_TIMELINE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/trace/trace_event.h"
#include "runtime/trace/trace_generation.h"

namespace fiberscope::pprof {

// In place of a processor: none.
inline constexpr uint64_t kNoTraceProcessor = UINT64_MAX;

struct TimelineEvent {
  int64_t time_ns = 0;  // since the first event; never less than that of the event before
  TraceEvent type{};
  uint64_t thread = 0;  // that recorded it, or kNoTraceThread
  // The processor of that thread at that moment, and the fiber that runs (or is in a blocking call) there, 0 if none
  // does. What the event gives the thread or takes from it counts as there. Of kProcessorStatus and kProcessorSteal:
  // the processor meant; of kFiberStatus: the fiber meant and, if it runs or blocks, the processor of its thread.
  uint64_t processor = kNoTraceProcessor;
  uint64_t fiber = 0;
  // trace_event.h; those that do not exist are 0. The fourth of a kFiberStatus is the stack of a TraceStatus.
  std::array<uint64_t, 4> args = {};
  uint32_t generation = 0;            // index, not number: for Text() and Stack()

  bool operator==(const TimelineEvent&) const = default;
};

// Of a CPU profile.
struct TimelineSample {
  int64_t time_ns = 0;  // since the first event; 0 if earlier
  uint64_t thread = 0;
  uint64_t processor = kNoTraceProcessor;
  uint64_t fiber = 0;
  uint64_t stack = 0;
  uint32_t generation = 0;

  bool operator==(const TimelineSample&) const = default;
};

// "FiberStart"; "?" for what is no event.
std::string_view TraceEventName(TraceEvent type);

// A value. Thread-safe as long as nobody changes it. Keeps the generations alive. 80 bytes per event.
class TraceTimeline {
 public:
  // `generations`: at least one, with consecutive numbers. kInvalidArgument names generation, thread, event and the
  // rule it breaks: "generation 2, thread 4711, event 12 (FiberStart): the thread has no processor". Events count from
  // 0 in their thread's part of the generation. Input may be any bytes.
  static absl::StatusOr<TraceTimeline> Make(std::span<const std::shared_ptr<const TraceGeneration>> generations);

  // A status event appears for what the trace has not named before; one in a later generation that only confirms is
  // checked and left out. So every kFiberStatus is of the first generation that has events.
  const std::vector<TimelineEvent>& events() const { return events_; }

  // By time.
  const std::vector<TimelineSample>& samples() const { return samples_; }

  int64_t end_ns() const { return end_ns_; }  // of the last event or sample

  // Of a number in an event or sample of that generation. "" and empty for 0.
  std::string_view Text(uint32_t generation, uint64_t number) const;
  std::span<const uintptr_t> Stack(uint32_t generation, uint64_t number) const;

 private:
  friend class TimelineMaker;

  struct Tables {
    std::shared_ptr<const TraceGeneration> generation;
    absl::flat_hash_map<uint64_t, const TraceString*> strings;
    absl::flat_hash_map<uint64_t, const TraceStack*> stacks;
  };

  TraceTimeline() = default;

  std::vector<Tables> tables_;
  std::vector<TimelineEvent> events_;
  std::vector<TimelineSample> samples_;
  int64_t end_ns_ = 0;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_TRACE_TIMELINE_H_
