// A scheduler's counters, read at once. It knows no exposition format.
#ifndef FIBERSCOPE_RUNTIME_METRICS_H_
#define FIBERSCOPE_RUNTIME_METRICS_H_

#include <cstdint>

namespace fiberscope {

// Totals since the scheduler started, summed over its processors without stopping them, so figures that belong together
// may differ by what happened while they were read.
struct SchedulerMetrics {
  uint64_t switches = 0;       // to a fiber
  uint64_t steals = 0;         // that brought at least one fiber
  uint64_t sleeps = 0;         // of workers that found nothing to do
  uint64_t reactor_polls = 0;  // without sleeping
  uint64_t queued = 0;         // fibers in run queues now
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_METRICS_H_
