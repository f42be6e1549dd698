#include "runtime/wait_through_stop.h"

#include "runtime/worker.h"

namespace fiberscope::internal {

void ParkThroughStop(WaitQueue& queue, FutexLock& lock, const ParkInfo& info) {
  Waiter& waiter = CurrentFiber()->waiter;
  waiter.claimed_wait = false;
  queue.PushBack(waiter);
  // Not Park(), which refuses.
  const auto unlock = [](ControlBlock&, void* argument) {
    static_cast<FutexLock*>(argument)->unlock();
    return true;
  };
  Worker::Park(*Worker::Current(), info, unlock, &lock);
  lock.lock();
  if (waiter.queue != nullptr) queue.Remove(waiter);
}

}  // namespace fiberscope::internal
