// From the points in time and durations of the API to the nanoseconds of the runtime's timers (base/clock.h).
//
// Every wait comes in the same variants: X waits as long as it takes, TryX not at all, XUntil(deadline) until a point in time,
// XFor(timeout) for a duration. A deadline that has passed, or a timeout of zero or less, still takes what is there at once.
//
// Thread-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_DEADLINE_H_
#define FIBERSCOPE_RUNTIME_DEADLINE_H_

#include <chrono>
#include <cstdint>
#include <type_traits>

#include "runtime/base/clock.h"

namespace fiberscope {

// std::chrono::steady_clock is CLOCK_MONOTONIC, as MonotonicNowNs() is.
using Deadline = std::chrono::steady_clock::time_point;

// Deadline::max() for a timeout too long to be expressed: never.
inline Deadline DeadlineAfter(std::chrono::nanoseconds timeout) {
  int64_t deadline_ns;
  if (__builtin_add_overflow(MonotonicNowNs(), timeout.count(), &deadline_ns)) {
    return timeout.count() < 0 ? Deadline::min() : Deadline::max();
  }
  return Deadline(std::chrono::nanoseconds(deadline_ns));
}

namespace internal {

// Deadline::max() is WaitLimits::kNoDeadline.
inline int64_t DeadlineNs(Deadline deadline) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
}

// For the standard's templates, which take any clock.
template <typename Clock, typename Duration>
Deadline ToDeadline(const std::chrono::time_point<Clock, Duration>& time) {
  if constexpr (std::is_same_v<Clock, Deadline::clock>) {
    return std::chrono::time_point_cast<Deadline::duration>(time);
  } else {
    return DeadlineAfter(std::chrono::ceil<std::chrono::nanoseconds>(time - Clock::now()));
  }
}

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_DEADLINE_H_
