// The two clocks the runtime reads. Both count nanoseconds of CLOCK_MONOTONIC: never stepped, comparable with each
// other, meaningless across processes.
//
// Thread-safe, async-signal-safe (vdso). Cost on the reference machine: 23 ns precise, 5 ns coarse.
#ifndef FIBERSCOPE_RUNTIME_BASE_CLOCK_H_
#define FIBERSCOPE_RUNTIME_BASE_CLOCK_H_

#include <time.h>

#include <cstdint>

namespace fiberscope {

namespace internal {
inline int64_t ReadClockNs(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}
}  // namespace internal

// For deadlines and durations.
inline int64_t MonotonicNowNs() { return internal::ReadClockNs(CLOCK_MONOTONIC); }

// As of the kernel's last tick, so up to 10 ms old: for "since when", where a path cannot afford the precise one.
inline int64_t CoarseNowNs() { return internal::ReadClockNs(CLOCK_MONOTONIC_COARSE); }

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_BASE_CLOCK_H_
