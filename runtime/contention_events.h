// What the primitives tell the block and the mutex profile (contention.h).
#ifndef FIBERSCOPE_RUNTIME_CONTENTION_EVENTS_H_
#define FIBERSCOPE_RUNTIME_CONTENTION_EVENTS_H_

#include <atomic>
#include <cstdint>

#include "runtime/base/tick_clock.h"
#include "runtime/wait_reason.h"

namespace fiberscope::internal {

// Relaxed: an event more or less around a change of the setting.
extern std::atomic<int64_t> g_block_profile_rate_ns;
extern std::atomic<int64_t> g_mutex_profile_fraction;

inline bool IsBlockProfiled() { return g_block_profile_rate_ns.load(std::memory_order_relaxed) > 0; }
inline bool IsMutexProfiled() { return g_mutex_profile_fraction.load(std::memory_order_relaxed) > 0; }

// Whether waits for this reason are waits for other fibers.
bool IsContention(WaitReason reason);

// A wait begins: as how many waits it is to be measured; 0: not at all. Its end is told to RecordBlock().
uint32_t OfferBlock();
// The caller has waited so long. After the wait, on the waiter's stack; no lock may be held that a wait takes.
void RecordBlock(int64_t delay_ns, uint32_t weight);

// What ChargeUnlock() does if there is something to charge.
void RecordMutexContention(int64_t delay_ns);

// The caller's unlock has ended waits of so long in all, or let some go on for so much longer. Not a tail call: the caller's frame
// is what the profile begins with.
inline void ChargeUnlock(int64_t delay_ns) {
  if (__builtin_expect(delay_ns == 0, true)) return;
  RecordMutexContention(delay_ns);
  asm volatile("" ::: "memory");
}

// A wait, from its construction to End(), if it is one that is profiled. One that is left out costs no look at the clock.
class BlockMeasurement {
 public:
  explicit BlockMeasurement(WaitReason reason) {
    if (__builtin_expect(!IsBlockProfiled(), true) || !IsContention(reason)) return;
    weight_ = OfferBlock();
    if (weight_ != 0) start_ns_ = TickNowNs();
  }
  void End() const {
    if (__builtin_expect(weight_ != 0, false)) RecordBlock(TickNowNs() - start_ns_, weight_);
  }

 private:
  uint32_t weight_ = 0;
  int64_t start_ns_ = 0;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_CONTENTION_EVENTS_H_
