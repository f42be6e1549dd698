#include "runtime/base/futex_lock.h"

#include "runtime/base/futex.h"

namespace fiberscope {

void FutexLock::LockSlow() {
  // A holder that is running leaves within ~50 ns; 40 pauses (~1.5 us) cover that without costing a preempted one much.
  for (int spin = 0; spin < 40; ++spin) {
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  // From here on we always leave the word at kContended: we cannot know whether others sleep.
  while (word_.exchange(kContended, std::memory_order_acquire) != kFree) FutexWait(word_, kContended);
}

void FutexLock::UnlockSlow() { FutexWake(word_, 1); }

}  // namespace fiberscope
