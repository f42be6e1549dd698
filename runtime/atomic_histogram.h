// The counting side of DurationHistogram: one writer, read by anyone at any time.
//
// Never blocks. Cost of Record: ~1 ns, two plain read-modify-writes of lines that are the writer's own.
#ifndef FIBERSCOPE_RUNTIME_ATOMIC_HISTOGRAM_H_
#define FIBERSCOPE_RUNTIME_ATOMIC_HISTOGRAM_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "runtime/metrics.h"

namespace fiberscope::internal {

class AtomicHistogram {
 public:
  // The writer only. Negative durations, from clocks of different CPUs, count as zero.
  void Record(int64_t duration_ns, uint32_t times = 1) {
    const uint64_t ns = static_cast<uint64_t>(std::max<int64_t>(duration_ns, 0));
    std::atomic<uint64_t>& bucket = counts_[std::min<size_t>(std::bit_width(ns), DurationHistogram::kBuckets - 1)];
    bucket.store(bucket.load(std::memory_order_relaxed) + times, std::memory_order_relaxed);
    sum_ns_.store(sum_ns_.load(std::memory_order_relaxed) + ns * times, std::memory_order_relaxed);
  }

  DurationHistogram Read() const {
    DurationHistogram copy;
    for (size_t i = 0; i < counts_.size(); ++i) copy.counts[i] = counts_[i].load(std::memory_order_relaxed);
    copy.sum = std::chrono::nanoseconds(sum_ns_.load(std::memory_order_relaxed));
    return copy;
  }

 private:
  std::array<std::atomic<uint64_t>, DurationHistogram::kBuckets> counts_{};
  std::atomic<uint64_t> sum_ns_{0};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_ATOMIC_HISTOGRAM_H_
