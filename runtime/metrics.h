// A scheduler's figures, read at once, as plain values. It knows no exposition format.
#ifndef FIBERSCOPE_RUNTIME_METRICS_H_
#define FIBERSCOPE_RUNTIME_METRICS_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fiberscope {

// How often something took how long, in powers of two.
struct DurationHistogram {
  static constexpr size_t kBuckets = 40;

  // counts[i]: durations below UpperBound(i) and not below UpperBound(i - 1). The last bucket has no upper bound.
  std::array<uint64_t, kBuckets> counts{};
  std::chrono::nanoseconds sum{0};

  // 2^i ns: the last but one ends at 275 s.
  static constexpr std::chrono::nanoseconds UpperBound(size_t bucket) {
    return std::chrono::nanoseconds(int64_t{1} << bucket);
  }
  uint64_t count() const {
    uint64_t total = 0;
    for (const uint64_t each : counts) total += each;
    return total;
  }
  DurationHistogram& operator+=(const DurationHistogram& other) {
    for (size_t i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
    sum += other.sum;
    return *this;
  }
};

// What a processor is doing.
enum class ProcessorState : uint8_t {
  kIdle,      // no worker has it: there is nothing to do
  kRunning,   // a worker runs fibers with it, or looks for some
  kBlocking,  // its worker is in a call that blocks the thread, and has not lost it yet
  kRetired,   // there were more processors once
};

// "idle", "running", "blocking", "retired".
constexpr const char* ProcessorStateName(ProcessorState state) {
  switch (state) {
    case ProcessorState::kIdle: return "idle";
    case ProcessorState::kRunning: return "running";
    case ProcessorState::kBlocking: return "blocking";
    case ProcessorState::kRetired: return "retired";
  }
  return "?";
}

// Totals since the scheduler started, but for `state` and `queued`, which are of now.
struct ProcessorMetrics {
  uint32_t index = 0;
  ProcessorState state = ProcessorState::kIdle;
  uint64_t queued = 0;         // fibers in its run queue, the one to run next included
  uint64_t switches = 0;       // to a fiber
  uint64_t idle_yields = 0;    // that found nobody else to run, and were no switch
  uint64_t steals_tried = 0;   // rounds over the other processors' queues
  uint64_t steals = 0;         // that brought at least one fiber
  uint64_t overflows = 0;      // times half of a full run queue went to the shared one
  uint64_t reactor_polls = 0;  // without sleeping
  uint64_t blocking_calls = 0;
  // Sampled, so that counts and sums are estimates (slice_clock.h).
  DurationHistogram scheduling_latency;  // from being made runnable to running
  DurationHistogram run_slice;           // from running to parking, yielding, ending or blocking
};

// Read without stopping anything, so figures that belong together may differ by what happened while they were read.
struct SchedulerMetrics {
  // Sums over all processors.
  uint64_t switches = 0;
  uint64_t idle_yields = 0;
  uint64_t steals_tried = 0;
  uint64_t steals = 0;
  uint64_t overflows = 0;
  uint64_t reactor_polls = 0;
  uint64_t blocking_calls = 0;
  DurationHistogram scheduling_latency;
  DurationHistogram run_slice;
  uint64_t queued = 0;          // fibers in run queues now
  uint64_t shared_queued = 0;   // of these, in the shared queue

  // Fibers of this scheduler.
  uint64_t spawned = 0;
  uint64_t finished = 0;
  uint64_t live_peak = 0;       // seen by the monitor (every 10 ms at least while something runs) and by this call

  // Sleeping and waking.
  uint64_t sleeps = 0;          // of workers that found nothing to do: futex_sleeps + reactor_sleeps
  uint64_t futex_sleeps = 0;
  uint64_t reactor_sleeps = 0;
  uint64_t futex_wakes = 0;     // one system call each
  uint64_t reactor_wakes = 0;   // interrupts of the worker that sleeps in the reactor
  uint64_t injections = 0;      // fibers that were put into the shared queue

  // Blocking calls, stalls and threads.
  uint64_t handoffs = 0;        // processors given away at the start of a call that is known to be long
  uint64_t retakes = 0;         // processors that the monitor took from calls that took long
  uint64_t stalls_blocked = 0;  // fibers found asleep in the kernel, unmarked
  uint64_t stalls_computing = 0;  // fibers found computing for too long
  uint64_t lent_processors = 0;   // now, in place of stalled ones
  uint64_t workers = 0;         // threads that run fibers, asleep or not; the monitor is not one
  uint64_t worker_failures = 0;  // threads that could not be made
  uint64_t monitor_ticks = 0;
  bool monitor_asleep = false;   // until something runs again

  std::vector<ProcessorMetrics> processors;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_METRICS_H_
