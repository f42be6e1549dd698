// A four-byte lock for a handful of instructions inside the runtime.
//
// It may be taken by a fiber and released by whatever runs next on the same worker (park.h), which std::mutex under
// ThreadSanitizer does not allow. It blocks the thread, never parks the fiber: nothing that parks, allocates without
// bound or calls user code may run under it. For everything else use std::mutex or, between fibers, sync/mutex.h.
//
// Algorithm: the three-state futex mutex of Ulrich Drepper, "Futexes Are Tricky" (2011), mutex2, with a short spin
// before sleeping, since holders leave within tens of nanoseconds unless they were preempted.
//
// Thread-safe. Blocks the thread. Not async-signal-safe. Cost: one locked instruction each way without contention.
#ifndef FIBERSCOPE_RUNTIME_BASE_FUTEX_LOCK_H_
#define FIBERSCOPE_RUNTIME_BASE_FUTEX_LOCK_H_

#include <atomic>
#include <cstdint>

namespace fiberscope {

class FutexLock {
 public:
  FutexLock() = default;
  FutexLock(const FutexLock&) = delete;
  FutexLock& operator=(const FutexLock&) = delete;

  void lock() {
    uint32_t expected = kFree;
    // Acquire pairs with the release in unlock().
    if (!word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire, std::memory_order_relaxed)) {
      LockSlow();
    }
  }

  [[nodiscard]] bool try_lock() {
    uint32_t expected = kFree;
    return word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire, std::memory_order_relaxed);
  }

  void unlock() {
    if (word_.exchange(kFree, std::memory_order_release) == kContended) UnlockSlow();
  }

  // For assertions only: whether somebody holds the lock.
  bool is_locked() const { return word_.load(std::memory_order_relaxed) != kFree; }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kHeld = 1;
  static constexpr uint32_t kContended = 2;  // held, and somebody may sleep on the word

  void LockSlow();
  void UnlockSlow();

  std::atomic<uint32_t> word_{kFree};
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_BASE_FUTEX_LOCK_H_
