// What happened to fibers, processors and threads, as records of a few bytes.
//
//   event := type (1 byte)  time (varint: ticks since the event before in the same batch)  arguments (varints)
//
// All numbers are unsigned LEB128 varints. Types and arguments are those of Go's execution trace, second family (Go 1.22), so
// that a recorded buffer is in its final form: pprof/trace puts a head before it, and that is all. Format: Go 1.27,
// internal/trace/tracev2.
//
// Who may write what, when: trace_writer.h keeps the rules. Thread-safe (values only).
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACE_EVENT_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACE_EVENT_H_

#include <cstddef>
#include <cstdint>

namespace fiberscope {

enum class TraceEvent : uint8_t {
  kProcessorsChange = 9,   // processors, stack
  kProcessorStart = 10,    // processor, its sequence number
  kProcessorStop = 11,     //
  kProcessorSteal = 12,    // processor, its sequence number, thread it is taken from
  kProcessorStatus = 13,   // processor, TraceProcessorStatus
  kFiberCreate = 14,       // fiber, stack of its entry function, stack
  kFiberCreateBlocking = 15,  // fiber
  kFiberStart = 16,        // fiber, its sequence number
  kFiberDestroy = 17,      //
  kFiberDestroyBlocking = 18,  //
  kFiberStop = 19,         // reason, stack
  kFiberBlock = 20,        // reason, stack
  kFiberUnblock = 21,      // fiber, its sequence number, stack
  kBlockingBegin = 22,     // the processor's sequence number, stack
  kBlockingEnd = 23,       // the processor is still there
  kBlockingEndLost = 24,   // it is not: the fiber is runnable
  kFiberStatus = 25,       // fiber, thread, TraceFiberStatus
  kHeapAlloc = 37,         // bytes
  kHeapGoal = 38,          // bytes
  kFiberLabel = 39,        // label
  kTaskBegin = 40,         // task, parent, name, stack
  kTaskEnd = 41,           // task, stack
  kRegionBegin = 42,       // task, name, stack
  kRegionEnd = 43,         // task, name, stack
  kLog = 44,               // task, key, value, stack
};

enum class TraceFiberStatus : uint8_t { kRunnable = 1, kRunning = 2, kBlocking = 3, kWaiting = 4 };
enum class TraceProcessorStatus : uint8_t { kRunning = 1, kIdle = 2, kBlocking = 3 };

// For a TraceProcessorStatus, by a thread that takes the processor out of another one's blocking call: a reader that has not heard
// of the call need not.
inline constexpr uint64_t kAbandonedTraceProcessor = 4;

// In place of a thread: nobody's.
inline constexpr uint64_t kNoTraceThread = UINT64_MAX;

// Of numbers after type and time; 0 for a byte that is no event.
constexpr size_t TraceArguments(TraceEvent type) {
  switch (type) {
    case TraceEvent::kProcessorStop:
    case TraceEvent::kFiberDestroy:
    case TraceEvent::kFiberDestroyBlocking:
    case TraceEvent::kBlockingEnd:
    case TraceEvent::kBlockingEndLost: return 0;
    case TraceEvent::kFiberCreateBlocking:
    case TraceEvent::kHeapAlloc:
    case TraceEvent::kHeapGoal:
    case TraceEvent::kFiberLabel: return 1;
    case TraceEvent::kProcessorsChange:
    case TraceEvent::kProcessorStart:
    case TraceEvent::kProcessorStatus:
    case TraceEvent::kFiberStart:
    case TraceEvent::kFiberStop:
    case TraceEvent::kFiberBlock:
    case TraceEvent::kBlockingBegin:
    case TraceEvent::kTaskEnd: return 2;
    case TraceEvent::kProcessorSteal:
    case TraceEvent::kFiberCreate:
    case TraceEvent::kFiberUnblock:
    case TraceEvent::kFiberStatus:
    case TraceEvent::kRegionBegin:
    case TraceEvent::kRegionEnd: return 3;
    case TraceEvent::kTaskBegin:
    case TraceEvent::kLog: return 4;
  }
  return 0;
}

constexpr bool IsTraceEvent(uint8_t type) {
  return (type >= 9 && type <= 25) || (type >= 37 && type <= 44);
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACE_EVENT_H_
