// Mutual exclusion between fibers and plain threads. A fiber that has to wait is parked; its worker runs others. A thread
// blocks.
//
// Fair in the way of Go's: unlock() frees the mutex and wakes the one that has waited longest, and whoever is running may take
// it first, which under contention is several times as fast as handing it over. One that has waited for a millisecond is handed
// the mutex: nobody starves. Waiters are served in order of arrival.
//
//   std::lock_guard lock(mutex);
//
// Models the standard's TimedLockable: std::unique_lock and std::scoped_lock work, with timeouts too.
//
// One word: the owner (lock_owner.h), or nobody | somebody waits. Fiber ids are never used again, so the word tells owner and
// generation.
//
// Thread-safe. Parks the fiber (WaitReason::kMutexLock) or blocks the thread. Not recursive: locking it twice is a CHECK failure,
// and so is unlocking what one does not own; a lock that one party takes and another releases is a Semaphore. Waiting for a
// mutex cannot be cancelled. Must outlive every use; the destructor CHECKs that it is free.
// Cost: one compare-and-swap each way without contention.
#ifndef FIBERSCOPE_RUNTIME_SYNC_MUTEX_H_
#define FIBERSCOPE_RUNTIME_SYNC_MUTEX_H_

#include <atomic>
#include <chrono>
#include <cstdint>

#include "runtime/base/futex_lock.h"
#include "runtime/deadline.h"
#include "runtime/fiber_id.h"
#include "runtime/park.h"
#include "runtime/sync/lock_owner.h"
#include "runtime/wait_object.h"

namespace fiberscope {

class Mutex {
 public:
  // `name` must outlive the mutex; it appears in dumps.
  __attribute__((always_inline)) explicit Mutex(const char* name = nullptr) : Mutex(name, CurrentPc()) {}
  ~Mutex();
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() {
    const uint64_t self = internal::SelfOwnerWord();
    if (!TryTake(self)) LockSlow(self, internal::WaitLimits::kNoDeadline);
  }

  [[nodiscard]] bool try_lock() { return TryTake(internal::SelfOwnerWord()); }  // never parks

  // False: not before the deadline.
  template <typename Clock, typename Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& deadline) {
    const uint64_t self = internal::SelfOwnerWord();
    return TryTake(self) || LockSlow(self, internal::DeadlineNs(internal::ToDeadline(deadline)));
  }
  template <typename Rep, typename Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) {
    return try_lock_until(DeadlineAfter(std::chrono::ceil<std::chrono::nanoseconds>(timeout)));
  }

  void unlock() {
    const uint64_t self = internal::SelfOwnerWord();
    uint64_t mine = self;
    if (!word_.compare_exchange_strong(mine, 0, std::memory_order_release, std::memory_order_relaxed)) UnlockSlow(self);
  }

  // The fiber that holds it at this moment; no fiber when it is free or a plain thread's. Any thread.
  FiberId owner() const { return holder().fiber(); }
  // The same with threads.
  LockOwner holder() const { return LockOwner(word_.load(std::memory_order_relaxed)); }

  const WaitObject& wait_object() const { return object_; }

 private:
  static constexpr uint64_t kWaiters = 1;

  Mutex(const char* name, uintptr_t creation_pc) : object_(WaitObjectKind::kMutex, name, creation_pc) {}

  bool TryTake(uint64_t self) {
    uint64_t word = 0;
    // Acquire pairs with the release in unlock(). Free, and somebody waits: who comes first.
    while (!word_.compare_exchange_weak(word, word | self, std::memory_order_acquire, std::memory_order_relaxed)) {
      if ((word & ~kWaiters) != 0) return false;
    }
    return true;
  }
  bool LockSlow(uint64_t self, int64_t deadline_ns);
  int64_t ChargeWaiters(int64_t now_ns);
  void UnlockSlow(uint64_t self);

  std::atomic<uint64_t> word_{0};
  FutexLock queue_lock_;
  // GUARDED_BY(queue_lock_). kWaiters is set while it is not empty, and perhaps a little longer: a waiter whose deadline passes
  // leaves the bit to the next unlock. Slots point at the time since when their owner waits, by the tick clock.
  internal::WaitQueue waiters_;
  // GUARDED_BY(queue_lock_): one that was woken without being given the mutex has not tried yet. Meanwhile nobody else is woken.
  bool waiter_is_trying_ = false;
  int64_t charged_until_ns_ = 0;  // GUARDED_BY(queue_lock_): waits before then have been charged to who unlocked (contention.h)
  WaitObject object_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_MUTEX_H_
