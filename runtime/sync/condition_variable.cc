#include "runtime/sync/condition_variable.h"

#include "runtime/base/check.h"
#include "runtime/sync/lock_owner.h"
#include "runtime/sync/wait_status.h"

namespace fiberscope {

using internal::WaitOutcome;

ConditionVariable::~ConditionVariable() {
  // The last notifier may still be between its unlock and its return; taking the lock lets it leave.
  std::lock_guard lock(lock_);
  FIBERSCOPE_CHECK(waiters_.empty(), "condition variable (%s) destroyed while somebody waits for it",
                   internal::NameOf(object_));
}

void ConditionVariable::notify_one() {
  if (!any_waiter_.load(std::memory_order_relaxed)) return;
  lock_.lock();
  internal::Waiter* const first = waiters_.ClaimFront();
  any_waiter_.store(!waiters_.empty(), std::memory_order_relaxed);
  lock_.unlock();
  if (first != nullptr) internal::Wake(*first, WaitOutcome::kDone);
}

void ConditionVariable::notify_all() {
  if (!any_waiter_.load(std::memory_order_relaxed)) return;
  internal::WakeList all;
  lock_.lock();
  waiters_.ClaimAll(all);
  any_waiter_.store(false, std::memory_order_relaxed);
  lock_.unlock();
  internal::WakeAll(all, WaitOutcome::kDone);
}

bool ConditionVariable::WaitWith(std::unique_lock<Mutex>& lock, int64_t deadline_ns) {
  Mutex& mutex = *lock.mutex();
  FIBERSCOPE_CHECK(mutex.holder().word() == internal::SelfOwnerWord(),
                   "wait for condition variable (%s) without the mutex, which %s holds", internal::NameOf(object_),
                   mutex.holder().ToString());
  // Nobody can notify between the unlock of the mutex and the entry into the queue: notifying takes our lock.
  lock_.lock();
  any_waiter_.store(true, std::memory_order_relaxed);
  const internal::ParkInfo info{.reason = WaitReason::kCondition, .object_id = object_.EnsureId()};
  mutex.unlock();
  const WaitOutcome outcome = internal::WaitIn(waiters_, lock_, info, nullptr, {.deadline_ns = deadline_ns});
  mutex.lock();
  internal::ThrowInterrupted(outcome);
  return outcome != WaitOutcome::kTimedOut;
}

}  // namespace fiberscope
