// Counts permits that fibers and plain threads take and give back; waiters are served in arrival order.
//
// Use it to bound concurrency ("at most 8 symbolizations"), or as a lock that one party takes and another releases. For
// mutual exclusion take Mutex, which knows its owner.
//
// Thread-safe. Parks the fiber (WaitReason::kSemaphore) or blocks the thread. Must outlive every use; the destructor
// CHECKs that none waits. Cost: one compare-and-swap without contention; nothing allocates.
#ifndef FIBERSCOPE_RUNTIME_SYNC_SEMAPHORE_H_
#define FIBERSCOPE_RUNTIME_SYNC_SEMAPHORE_H_

#include <atomic>
#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "runtime/base/futex_lock.h"
#include "runtime/deadline.h"
#include "runtime/park.h"
#include "runtime/wait_object.h"

namespace fiberscope {

class Semaphore {
 public:
  static constexpr uint64_t kMaxPermits = (uint64_t{1} << 62) - 1;

  // `name` must outlive the semaphore; it appears in dumps.
  __attribute__((always_inline)) explicit Semaphore(uint64_t permits, const char* name = nullptr)
      : Semaphore(permits, name, CurrentPc()) {}
  ~Semaphore();
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  // Takes `count` permits, or waits for them. Large requests cannot starve: later small ones queue behind them. Throws
  // WaitCancelled when the fiber is cancelled while it waits; then nothing was taken.
  void Acquire(uint64_t count = 1) {
    if (!TryAcquire(count)) internal::ThrowInterrupted(AcquireSlow(count, {}));
  }

  // False: fewer are there, or somebody waits already. Never parks.
  [[nodiscard]] bool TryAcquire(uint64_t count = 1) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while ((word & kWaiters) == 0 && word / kPermit >= count) {
      // Acquire pairs with the release in Release().
      if (word_.compare_exchange_weak(word, word - count * kPermit, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  // kDeadlineExceeded or kCancelled: nothing was taken.
  [[nodiscard]] absl::Status AcquireUntil(uint64_t count, Deadline deadline);
  [[nodiscard]] absl::Status AcquireFor(uint64_t count, std::chrono::nanoseconds timeout) {
    return AcquireUntil(count, DeadlineAfter(timeout));
  }

  // By whoever has them, or has made new ones. More than kMaxPermits in all are a CHECK failure.
  void Release(uint64_t count = 1);

  // Of some recent moment.
  uint64_t available() const { return word_.load(std::memory_order_relaxed) / kPermit; }
  const WaitObject& wait_object() const { return object_; }

 private:
  // The word: bit 0 somebody waits, above it the permits that are there. While somebody waits it changes only under
  // lock_.
  static constexpr uint64_t kWaiters = 1;
  static constexpr uint64_t kPermit = 2;

  Semaphore(uint64_t permits, const char* name, uintptr_t creation_pc);

  internal::WaitOutcome AcquireSlow(uint64_t count, const internal::WaitLimits& limits);
  void Grant(internal::WakeList& granted);  // lock held, kWaiters set

  std::atomic<uint64_t> word_;
  FutexLock lock_;
  internal::WaitQueue waiters_;  // GUARDED_BY(lock_): each waiter's slot is the number it wants
  WaitObject object_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_SEMAPHORE_H_
