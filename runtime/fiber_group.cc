#include "runtime/fiber_group.h"

#include <mutex>

#include "runtime/base/check.h"
#include "runtime/park.h"
#include "runtime/worker.h"

namespace fiberscope::internal {
namespace {

bool UnlockCommit(ControlBlock&, void* lock) {
  static_cast<FutexLock*>(lock)->unlock();
  return true;
}

// Park() refuses when the scheduler is stopping.
void ParkInSpiteOfStop(const ParkInfo& info, FutexLock& lock) { Worker::Park(*Worker::Current(), info, UnlockCommit, &lock); }

}  // namespace

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
    if (!stopped) {
      stopped = WaitIn(waiters_, lock_, info, nullptr, {.cancellable = false}) == WaitOutcome::kStopped;
    } else {
      // Only the thread that unwinds the fibers is left, and it comes back to us after it has told the others.
      Waiter& waiter = CurrentFiber()->waiter;
      waiter.claimed_wait = false;
      waiters_.PushBack(waiter);
      ParkInSpiteOfStop(info, lock_);
    }
    lock_.lock();
    if (stopped && CurrentFiber()->waiter.queue != nullptr) waiters_.Remove(CurrentFiber()->waiter);
  }
  lock_.unlock();
  return !stopped;
}

}  // namespace fiberscope::internal
