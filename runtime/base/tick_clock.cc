#include "runtime/base/tick_clock.h"

#include <mutex>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fiberscope {

#if defined(__x86_64__)
namespace {

struct Reading {
  uint64_t ticks;
  int64_t ns;
};

// Of several tries the one during which least time passed: it was not interrupted.
Reading ReadBoth() {
  Reading best{};
  uint64_t shortest = UINT64_MAX;
  for (int i = 0; i < 8; ++i) {
    const uint64_t before = __builtin_ia32_rdtsc();
    const int64_t ns = MonotonicNowNs();
    const uint64_t after = __builtin_ia32_rdtsc();
    if (after - before >= shortest) continue;
    shortest = after - before;
    best = {before + shortest / 2, ns};
  }
  return best;
}

// AMD and Intel, CPUID 8000_0007h: EDX bit 8 says that the counter runs at a constant rate in all power states.
bool CounterIsInvariant() {
  unsigned int eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1u << 8)) != 0;
}

}  // namespace

void CalibrateTickClock() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!CounterIsInvariant()) return;
    // 2 ms: a reading is right to ~20 ns, so the factor to 1e-5.
    constexpr int64_t kMeasureNs = 2'000'000;
    const Reading first = ReadBoth();
    Reading last = first;
    while (last.ns - first.ns < kMeasureNs) last = ReadBoth();
    const uint64_t ticks = last.ticks - first.ticks;
    if (ticks == 0) return;
    const auto ns = static_cast<unsigned __int128>(last.ns - first.ns);
    internal::g_tick_scale.base_ticks.store(last.ticks, std::memory_order_relaxed);
    internal::g_tick_scale.base_ns.store(last.ns, std::memory_order_relaxed);
    internal::g_tick_scale.multiplier.store(static_cast<uint64_t>((ns << 32) / ticks), std::memory_order_release);
  });
}
#else
void CalibrateTickClock() {}
#endif

}  // namespace fiberscope
