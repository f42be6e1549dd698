#include "runtime/fiber_group.h"

#include <mutex>

#include "runtime/base/check.h"
#include "runtime/park.h"
#include "runtime/wait_through_stop.h"

namespace fiberscope::internal {
FiberGroup::~FiberGroup() {
  // The last Done may still be between its unlock and its return.
  std::lock_guard guard(lock_);
  FIBERSCOPE_CHECK(count_ == 0, "a group of fibers goes away while %d of them live", count_);
}

void FiberGroup::Add() {
  std::lock_guard guard(lock_);
  ++count_;
}

void FiberGroup::Done() {
  WakeList waiting;
  {
    std::lock_guard guard(lock_);
    if (--count_ == 0) waiters_.ClaimAll(waiting);
  }
  WakeAll(waiting, WaitOutcome::kDone);
}

size_t FiberGroup::count() const {
  std::lock_guard guard(lock_);
  return count_;
}

bool FiberGroup::Wait() {
  const ParkInfo info{.reason = WaitReason::kWaitGroup};
  bool stopped = false;
  lock_.lock();
  while (count_ != 0) {
    if (stopped) {
      ParkThroughStop(waiters_, lock_, info);
    } else {
      stopped = WaitIn(waiters_, lock_, info, nullptr, {.cancellable = false}) == WaitOutcome::kStopped;
      lock_.lock();
    }
  }
  lock_.unlock();
  return !stopped;
}

}  // namespace fiberscope::internal
