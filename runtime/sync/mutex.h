// Mutual exclusion between fibers. A fiber that has to wait is parked; its worker runs others.
//
// Fair: unlock() hands the mutex to the fiber that has waited longest, so nobody starves, and owner() always tells the true
// holder. Under heavy contention that costs a switch per hand-over; keep sections short, or shard what they protect.
//
//   std::lock_guard lock(mutex);
//
// One word: the owner's fiber id << 1 | somebody waits. Ids are never used again, so the word tells owner and generation.
//
// Fiber-only. Parks the fiber (WaitReason::kMutexLock). Not recursive: locking it twice is a CHECK failure, and so is unlocking
// what one does not own. Must outlive every use; the destructor CHECKs that it is free.
// Cost: one compare-and-swap each way without contention.
#ifndef FIBERSCOPE_RUNTIME_SYNC_MUTEX_H_
#define FIBERSCOPE_RUNTIME_SYNC_MUTEX_H_

#include <atomic>
#include <cstdint>

#include "runtime/base/futex_lock.h"
#include "runtime/fiber_id.h"
#include "runtime/park.h"
#include "runtime/wait_object.h"

namespace fiberscope {

class Mutex {
 public:
  // `name` must outlive the mutex; it appears in dumps.
  __attribute__((always_inline)) explicit Mutex(const char* name = nullptr) : Mutex(name, CurrentPc()) {}
  ~Mutex();
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock();
  [[nodiscard]] bool try_lock();  // never parks
  void unlock();

  // Who holds it at this moment; no fiber when it is free. Any thread.
  FiberId owner() const { return {word_.load(std::memory_order_relaxed) >> 1}; }

  const WaitObject& wait_object() const { return object_; }

 private:
  static constexpr uint64_t kWaiters = 1;

  Mutex(const char* name, uintptr_t creation_pc) : object_(WaitObjectKind::kMutex, name, creation_pc) {}
  void LockSlow(uint64_t self);
  void UnlockSlow(uint64_t self);

  std::atomic<uint64_t> word_{0};
  FutexLock queue_lock_;
  internal::WaitQueue waiters_;  // GUARDED_BY(queue_lock_); kWaiters is set exactly while it is not empty
  WaitObject object_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_MUTEX_H_
