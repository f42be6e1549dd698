// How many fibers are in which state, and wait for what, since when: what a listing (registry.h) would add up to, for a fifth of
// its cost.
#ifndef FIBERSCOPE_RUNTIME_FIBER_CENSUS_H_
#define FIBERSCOPE_RUNTIME_FIBER_CENSUS_H_

#include <array>
#include <chrono>
#include <cstdint>

#include "runtime/fiber_state.h"
#include "runtime/wait_reason.h"

namespace fiberscope {

struct FiberCensus {
  struct Group {
    uint64_t fibers = 0;
    std::chrono::nanoseconds longest{0};  // how long that one has been waiting which has waited longest; to a few milliseconds
  };

  std::array<uint64_t, kFiberStateCount> by_state{};  // by FiberState; none is dead
  std::array<Group, kWaitReasonCount> by_reason{};    // those in kWaiting, by WaitReason
  Group blocking;                                     // those in kBlocking
  uint64_t stack_bytes = 0;                           // of the stacks they have: addresses, used or not

  uint64_t in(FiberState state) const { return by_state[static_cast<size_t>(state)]; }
  const Group& waiting_for(WaitReason reason) const { return by_reason[static_cast<size_t>(reason)]; }
  uint64_t fibers() const {
    uint64_t sum = 0;
    for (const uint64_t each : by_state) sum += each;
    return sum;
  }
};

// All fibers of the process. Each is counted as it was at one moment; the moments differ by up to the length of the call. A fiber
// that is alive all the while is counted once, one that begins or ends meanwhile at most once.
//
// Thread-safe. Never blocks; delays no fiber. Cost: one cache line per control block, that is per fiber at the peak: 5 to 10 ns
// (tests/bench/metrics_bench.cc).
FiberCensus TakeFiberCensus();

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_FIBER_CENSUS_H_
