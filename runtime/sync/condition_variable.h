// Waits, with a Mutex released meanwhile, until another party says that something has changed.
//
//   std::unique_lock lock(mutex);
//   changed.wait(lock, [&] { return !queue.empty(); });
//
// Spelled as std::condition_variable, which it replaces between fibers. Unlike that one it never wakes without a
// notification; but what was true at the notification need not be any more when the waiter has the mutex again, so test
// it in a loop, or give wait() the predicate. Where a channel will do, it is simpler.
//
// Thread-safe; for fibers and plain threads. Parks the fiber (WaitReason::kCondition, then perhaps kMutexLock) or
// blocks the thread. All waits throw WaitCancelled when the fiber is cancelled while it waits; the mutex is held again
// then, as after every return. The caller of wait must own the mutex (a CHECK failure otherwise). Must outlive every
// use; the destructor CHECKs that none waits. Cost: notify without waiters is one load.
#ifndef FIBERSCOPE_RUNTIME_SYNC_CONDITION_VARIABLE_H_
#define FIBERSCOPE_RUNTIME_SYNC_CONDITION_VARIABLE_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "runtime/base/futex_lock.h"
#include "runtime/deadline.h"
#include "runtime/park.h"
#include "runtime/sync/mutex.h"
#include "runtime/wait_object.h"

namespace fiberscope {

class ConditionVariable {
 public:
  // `name` must outlive the object; it appears in dumps.
  __attribute__((always_inline)) explicit ConditionVariable(const char* name = nullptr)
      : ConditionVariable(name, CurrentPc()) {}
  ~ConditionVariable();
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;

  // The one that has waited longest; all that wait now. With or without the mutex held.
  void notify_one();
  void notify_all();

  void wait(std::unique_lock<Mutex>& lock) { WaitWith(lock, internal::WaitLimits::kNoDeadline); }
  template <typename Predicate>
  void wait(std::unique_lock<Mutex>& lock, Predicate predicate) {
    while (!predicate()) wait(lock);
  }

  template <typename Clock, typename Duration>
  std::cv_status wait_until(std::unique_lock<Mutex>& lock, const std::chrono::time_point<Clock, Duration>& deadline) {
    return WaitWith(lock, internal::DeadlineNs(internal::ToDeadline(deadline))) ? std::cv_status::no_timeout
                                                                                : std::cv_status::timeout;
  }
  // What the predicate says at the end.
  template <typename Clock, typename Duration, typename Predicate>
  bool wait_until(std::unique_lock<Mutex>& lock, const std::chrono::time_point<Clock, Duration>& deadline,
                  Predicate predicate) {
    while (!predicate()) {
      if (wait_until(lock, deadline) == std::cv_status::timeout) return predicate();
    }
    return true;
  }
  template <typename Rep, typename Period>
  std::cv_status wait_for(std::unique_lock<Mutex>& lock, const std::chrono::duration<Rep, Period>& timeout) {
    return wait_until(lock, DeadlineAfter(std::chrono::ceil<std::chrono::nanoseconds>(timeout)));
  }
  template <typename Rep, typename Period, typename Predicate>
  bool wait_for(std::unique_lock<Mutex>& lock, const std::chrono::duration<Rep, Period>& timeout, Predicate predicate) {
    return wait_until(lock, DeadlineAfter(std::chrono::ceil<std::chrono::nanoseconds>(timeout)), std::move(predicate));
  }

  const WaitObject& wait_object() const { return object_; }

 private:
  ConditionVariable(const char* name, uintptr_t creation_pc) : object_(WaitObjectKind::kCondition, name, creation_pc) {}

  bool WaitWith(std::unique_lock<Mutex>& lock, int64_t deadline_ns);  // false: the deadline passed

  FutexLock lock_;
  internal::WaitQueue waiters_;  // GUARDED_BY(lock_)
  // Whether waiters_ may be other than empty; written under lock_. A waiter sets it before it releases the mutex, so
  // whoever has changed something under the mutex since then sees it.
  std::atomic<bool> any_waiter_{false};
  WaitObject object_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_CONDITION_VARIABLE_H_
