#include "runtime/park.h"

#include <exception>

#include "runtime/base/check.h"
#include "runtime/base/futex.h"
#include "runtime/scheduler_core.h"
#include "runtime/worker.h"

namespace fiberscope::internal {
namespace {

inline Worker& CurrentWorkerOnFiber() {
  Worker* const worker = Worker::Current();
  FIBERSCOPE_CHECK(worker != nullptr && worker->current() != nullptr, "this call must be made on a fiber");
  return *worker;
}

bool UnlockCommit(ControlBlock&, void* lock) {
  static_cast<FutexLock*>(lock)->unlock();
  return true;
}

}  // namespace

ControlBlock* CurrentFiber() {
  Worker* const worker = Worker::Current();
  return worker == nullptr ? nullptr : worker->current();
}

bool Park(const ParkInfo& info, ParkCommit commit, void* argument) {
  Worker& worker = CurrentWorkerOnFiber();
  SchedulerCore& core = worker.core();
  if (core.unwinding()) return false;
  Worker::Park(worker, info, commit, argument);
  return !core.unwinding();
}

void ParkInEarnest(const ParkInfo& info, ParkCommit commit, void* argument) {
  Worker::Park(CurrentWorkerOnFiber(), info, commit, argument);
}

bool ParkAndUnlock(const ParkInfo& info, FutexLock& lock) {
  Worker& worker = CurrentWorkerOnFiber();
  SchedulerCore& core = worker.core();
  // A destructor that waits while its fiber is being unwound gets what it waits for if another fiber's unwinding brings it: it
  // parks in earnest, until it is woken or the stopping thread has been round all fibers (SchedulerCore::UnwindFibers).
  if (core.unwinding() && std::uncaught_exceptions() == 0) {
    lock.unlock();
    return false;
  }
  Worker::Park(worker, info, UnlockCommit, &lock);
  return !core.unwinding();
}

void Unpark(ControlBlock& fiber) {
  SchedulerCore& core = *fiber.scheduler;
  fiber.state.MakeRunnable();
  core.Enqueue(fiber);
}

void YieldFiber() {
  Worker& worker = CurrentWorkerOnFiber();
  SchedulerCore& core = worker.core();
  if (!core.unwinding()) Worker::Yield(worker);
  if (core.unwinding()) ThrowStopped();
}

WaitOutcome WaitIn(WaitQueue& queue, FutexLock& lock, const ParkInfo& info, void* slot) {
  ControlBlock* const fiber = CurrentFiber();
  if (fiber == nullptr) {
    Waiter waiter;
    waiter.slot = slot;
    queue.PushBack(waiter);
    lock.unlock();
    // Acquire pairs with the release in Wake().
    while (waiter.thread_woken.load(std::memory_order_acquire) == 0) FutexWait(waiter.thread_woken, 0);
    return waiter.outcome;
  }
  Waiter& waiter = fiber->waiter;
  waiter.slot = slot;
  waiter.outcome = WaitOutcome::kPending;
  queue.PushBack(waiter);
  if (ParkAndUnlock(info, lock)) return waiter.outcome;
  // Stopping: only this thread runs fibers now. The outcome is there if somebody woke us before.
  if (waiter.queue == nullptr) return waiter.outcome;
  lock.lock();
  queue.Remove(waiter);
  lock.unlock();
  return WaitOutcome::kStopped;
}

void Wake(Waiter& waiter, WaitOutcome outcome) {
  waiter.outcome = outcome;
  if (waiter.fiber != nullptr) {
    Unpark(*waiter.fiber);
    return;
  }
  std::atomic<uint32_t>& woken = waiter.thread_woken;
  woken.store(1, std::memory_order_release);
  // The thread may have gone on already and its stack word be something else: then this wakes nobody, or somebody who
  // looks and sleeps on, as futex users do.
  FutexWake(woken, 1);
}

void ThrowStopped() {
  if (std::uncaught_exceptions() == 0) throw ForcedUnwind{};
}

}  // namespace fiberscope::internal
