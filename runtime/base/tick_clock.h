// A clock cheap enough to be read at every switch.
//
// On x86-64 with an invariant time stamp counter it is that counter, scaled to nanoseconds by a factor measured once per
// process against CLOCK_MONOTONIC; elsewhere it is CLOCK_MONOTONIC itself. It starts where CLOCK_MONOTONIC stood and drifts
// away from it by what the measurement is wrong by, ~10 us per second at most: compare its values with each other, use them
// for accounting and for "since when", and take MonotonicNowNs() for deadlines.
//
// Thread-safe, async-signal-safe. Cost: one rdtsc and one multiplication.
#ifndef FIBERSCOPE_RUNTIME_BASE_TICK_CLOCK_H_
#define FIBERSCOPE_RUNTIME_BASE_TICK_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "runtime/base/clock.h"

namespace fiberscope {

namespace internal {

struct TickScale {
  std::atomic<uint64_t> base_ticks{0};
  std::atomic<int64_t> base_ns{0};
  // Nanoseconds per tick, times 2^32. 0: the counter is not (yet) to be used. Written last, release.
  std::atomic<uint64_t> multiplier{0};
};
inline constinit TickScale g_tick_scale;

}  // namespace internal

// Measures the factor, the first time it is called. Blocks the thread for 2 ms then. Before, TickNowNs() is
// MonotonicNowNs(). Called by Scheduler.
void CalibrateTickClock();

inline int64_t TickNowNs() {
#if defined(__x86_64__)
  // Acquire pairs with the release in CalibrateTickClock().
  const uint64_t multiplier = internal::g_tick_scale.multiplier.load(std::memory_order_acquire);
  if (__builtin_expect(multiplier == 0, false)) return MonotonicNowNs();
  const uint64_t ticks = __builtin_ia32_rdtsc() - internal::g_tick_scale.base_ticks.load(std::memory_order_relaxed);
  const auto elapsed_ns = static_cast<int64_t>((static_cast<unsigned __int128>(ticks) * multiplier) >> 32);
  return internal::g_tick_scale.base_ns.load(std::memory_order_relaxed) + elapsed_ns;
#else
  return MonotonicNowNs();
#endif
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_BASE_TICK_CLOCK_H_
