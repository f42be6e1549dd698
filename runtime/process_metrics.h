// The figures of all schedulers of the process together, for whoever has none of them at hand: a debug server that was there
// before them.
#ifndef FIBERSCOPE_RUNTIME_PROCESS_METRICS_H_
#define FIBERSCOPE_RUNTIME_PROCESS_METRICS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/metrics.h"

namespace fiberscope {

// Of one scheduler.
struct NamedMetrics {
  std::string name;         // SchedulerOptions::name
  uint32_t processors = 0;  // as set
  SchedulerMetrics metrics;
};

// Stacks are made ready by the batch, and stay so. These are addresses: memory they have only as far as they were used.
struct StackMetrics {
  std::string_view guards = {};  // how the newest ones are guarded, the worst of all sizes (stack_guard.h); empty: there are none
  uint64_t ready = 0;            // whether a fiber has them or not
  uint64_t ready_bytes = 0;      // guard pages included
  uint64_t unguarded = 0;        // of those
};

struct ProcessMetrics {
  std::vector<NamedMetrics> schedulers;  // that are alive, oldest first
  // Sums over these and those that were: totals never go down. Without `live_peak`, `monitor_asleep` and `processors`.
  SchedulerMetrics totals;
  StackMetrics stacks;
};

// Thread-safe. Never stops a worker. Blocks the thread for some microseconds per scheduler.
ProcessMetrics ReadProcessMetrics();

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_PROCESS_METRICS_H_
