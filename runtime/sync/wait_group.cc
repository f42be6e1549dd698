#include "runtime/sync/wait_group.h"

#include <mutex>

#include "runtime/base/check.h"
#include "runtime/sync/wait_status.h"

namespace fiberscope {

WaitGroup::~WaitGroup() {
  // The last Done may still be between its unlock and its return; taking the lock lets it leave.
  std::lock_guard lock(lock_);
  FIBERSCOPE_CHECK(waiters_.empty(), "wait group (%s) destroyed while somebody waits for it",
                   internal::NameOf(object_));
}

void WaitGroup::Add(int64_t count) {
  lock_.lock();
  count_ += count;
  FIBERSCOPE_CHECK(count_ >= 0, "wait group (%s) has a counter of %d after Add(%d)",
                   internal::NameOf(object_), count_, count);
  internal::WakeList released;
  if (count_ == 0) waiters_.ClaimAll(released);
  lock_.unlock();
  // From here on the group may be gone: somebody who found the counter at zero may have destroyed it.
  internal::WakeAll(released, internal::WaitOutcome::kDone);
}

void WaitGroup::Wait() { internal::ThrowInterrupted(WaitWith({})); }

absl::Status WaitGroup::WaitUntil(Deadline deadline) {
  return internal::WaitStatus(WaitWith({.deadline_ns = internal::DeadlineNs(deadline)}), "wait for wait group", object_);
}

internal::WaitOutcome WaitGroup::WaitWith(const internal::WaitLimits& limits) {
  lock_.lock();
  if (count_ == 0) {
    lock_.unlock();
    return internal::WaitOutcome::kDone;
  }
  const internal::ParkInfo info{.reason = WaitReason::kWaitGroup, .object_id = object_.EnsureId(), .owner_id = 0};
  return internal::WaitIn(waiters_, lock_, info, nullptr, limits);
}

int64_t WaitGroup::count() const {
  std::lock_guard lock(lock_);
  return count_;
}

}  // namespace fiberscope
