// Many readers or one writer, between fibers and plain threads.
//
//   std::shared_lock lock(mutex);    // reads
//   std::unique_lock lock(mutex);    // writes
//
// Models the standard's SharedTimedMutex. Neither side starves, as with Go's RWMutex: a writer that waits keeps new
// readers out, and when a writer unlocks, all readers that have waited go before the next writer. It follows that one
// must not take the read lock again while holding it: a writer that arrives in between makes both wait for ever.
//
// Choose it when reads are long enough to be worth it: a read lock costs as much as a Mutex and moves the same cache
// line.
//
// Thread-safe. Parks the fiber (WaitReason::kRwMutexRead, kRwMutexWrite) or blocks the thread. Unlocking for writing
// what one does not own, and unlocking for reading what nobody reads, are CHECK failures. Waiting cannot be cancelled.
// Must outlive every use; the destructor CHECKs that it is free. Cost: one compare-and-swap each way without
// contention.
#ifndef FIBERSCOPE_RUNTIME_SYNC_RW_MUTEX_H_
#define FIBERSCOPE_RUNTIME_SYNC_RW_MUTEX_H_

#include <atomic>
#include <chrono>
#include <cstdint>

#include "runtime/base/futex_lock.h"
#include "runtime/deadline.h"
#include "runtime/park.h"
#include "runtime/sync/lock_owner.h"
#include "runtime/wait_object.h"

namespace fiberscope {

class RwMutex {
 public:
  // `name` must outlive the mutex; it appears in dumps.
  __attribute__((always_inline)) explicit RwMutex(const char* name = nullptr) : RwMutex(name, CurrentPc()) {}
  ~RwMutex();
  RwMutex(const RwMutex&) = delete;
  RwMutex& operator=(const RwMutex&) = delete;

  void lock() {
    if (!TryWrite()) LockSlow(internal::WaitLimits::kNoDeadline);
  }
  [[nodiscard]] bool try_lock() { return TryWrite(); }  // never parks
  void unlock();

  void lock_shared() {
    if (!TryRead()) LockSharedSlow(internal::WaitLimits::kNoDeadline);
  }
  [[nodiscard]] bool try_lock_shared() { return TryRead(); }  // never parks
  void unlock_shared();

  // False: not before the deadline.
  template <typename Clock, typename Duration>
  [[nodiscard]] bool try_lock_until(const std::chrono::time_point<Clock, Duration>& deadline) {
    return TryWrite() || LockSlow(internal::DeadlineNs(internal::ToDeadline(deadline)));
  }
  template <typename Rep, typename Period>
  [[nodiscard]] bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) {
    return try_lock_until(DeadlineAfter(std::chrono::ceil<std::chrono::nanoseconds>(timeout)));
  }
  template <typename Clock, typename Duration>
  [[nodiscard]] bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration>& deadline) {
    return TryRead() || LockSharedSlow(internal::DeadlineNs(internal::ToDeadline(deadline)));
  }
  template <typename Rep, typename Period>
  [[nodiscard]] bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& timeout) {
    return try_lock_shared_until(DeadlineAfter(std::chrono::ceil<std::chrono::nanoseconds>(timeout)));
  }

  // The writer that holds it at this moment, and how many readers do. Any thread.
  LockOwner holder() const { return LockOwner(writer_.load(std::memory_order_relaxed)); }
  int64_t readers() const { return static_cast<int64_t>(word_.load(std::memory_order_relaxed) / kReader); }

  const WaitObject& wait_object() const { return object_; }

 private:
  // The word: bit 0 a writer holds it, bit 1 somebody waits, above that the number of readers that hold it. While bit 1
  // is set, it changes only under queue_lock_, so who waits and who holds can be weighed against each other there.
  static constexpr uint64_t kWriter = 1;
  static constexpr uint64_t kWaiters = 2;
  static constexpr uint64_t kReader = 4;

  RwMutex(const char* name, uintptr_t creation_pc) : object_(WaitObjectKind::kRwMutex, name, creation_pc) {}

  bool TryWrite();
  bool TryRead();
  bool LockSlow(int64_t deadline_ns);
  bool LockSharedSlow(int64_t deadline_ns);
  // Queue lock held. Sets kWaiters, unless `available` bits are all that keeps the caller out: then adds `take`. True:
  // taken.
  bool TakeOrAnnounce(uint64_t obstacles, uint64_t take);
  // Queue lock held, kWaiters set. Lets in whoever may hold it together with those who do; `after_writer`: waiting
  // readers first. Returns how long they have waited, all added up; 0 if nobody asks (contention.h).
  int64_t Admit(bool after_writer, internal::WakeList& admitted);
  // Lock released: wakes those who were let in.
  static void WakeAdmitted(internal::WakeList& admitted, int64_t waited_ns);
  bool Wait(internal::WaitQueue& queue, WaitReason reason, int64_t deadline_ns);

  std::atomic<uint64_t> word_{0};
  std::atomic<uint64_t> writer_{0};  // LockOwner::word() of the writer that holds it
  FutexLock queue_lock_;
  // Slots point at the time since when their owner waits, by the tick clock; 0 if nobody asks.
  internal::WaitQueue readers_waiting_;  // GUARDED_BY(queue_lock_)
  internal::WaitQueue writers_waiting_;  // GUARDED_BY(queue_lock_)
  WaitObject object_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_RW_MUTEX_H_
