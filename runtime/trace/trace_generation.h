// A finished piece of an execution trace: everything that all threads recorded between two moments, about one second apart.
//
// Numbers of strings and stacks mean something within their generation only. The first generation of a trace, and of what a flight
// recorder gives out, names the state of every live fiber; a later one, of those to which something happens in it.
//
// Thread-safe as long as nobody changes it: a value.
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACE_GENERATION_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACE_GENERATION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/trace/trace_event.h"

namespace fiberscope {

// Events of one thread, in order (trace_event.h). At most kMaxBytes.
struct TraceBatch {
  static constexpr size_t kMaxBytes = 32 << 10;

  uint64_t thread = 0;  // the kernel's number
  uint64_t time = 0;    // in ticks; the first event's time counts from here
  std::string data = {};
};

// Numbers below are of reasons to stop running (trace_reason.h), which the runtime does not spell and no generation lists.
inline constexpr uint64_t kFirstTraceString = 100;

struct TraceString {
  uint64_t number = 0;       // from kFirstTraceString on
  std::string text = {};     // at most 1024 bytes
};

struct TraceStack {
  uint64_t number = 0;  // not 0, which is no stack
  // Innermost first: return addresses. Of an entry function, one address within it.
  std::vector<uintptr_t> pcs = {};
};

// Of a CPU profile that was taken at the same time.
struct TraceSample {
  uint64_t time = 0;
  uint64_t thread = 0;
  uint64_t processor = UINT64_MAX;  // that: none
  uint64_t fiber = 0;               // 0: none
  uint64_t stack = 0;
};

// What a fiber was doing to which nothing had happened in the first generation.
struct TraceStatus {
  uint64_t fiber = 0;
  TraceFiberStatus status = TraceFiberStatus::kWaiting;  // not kRunning: a batch of the thread that runs it says that
  uint64_t thread = kNoTraceThread;                      // of kBlocking
  uint64_t stack = 0;                                    // of its entry function
};

struct TraceGeneration {
  uint64_t number = 0;            // within the trace: 1, 2, 3 ...
  uint64_t start = 0;             // in ticks: no event is earlier
  uint64_t ticks_per_second = 0;
  std::vector<TraceBatch> batches = {};  // those of one thread in the order in which they were written
  std::vector<TraceStatus> statuses = {};  // of the first generation
  std::vector<TraceString> strings = {};
  std::vector<TraceStack> stacks = {};
  std::vector<TraceSample> samples = {};

  // Of events alone.
  uint64_t recorded_bytes() const {
    uint64_t bytes = 0;
    for (const TraceBatch& batch : batches) bytes += batch.data.size();
    return bytes;
  }
};

// Consecutive ones.
using TraceGenerations = std::vector<std::shared_ptr<const TraceGeneration>>;

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACE_GENERATION_H_
