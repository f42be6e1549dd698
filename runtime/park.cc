#include "runtime/park.h"

#include <sched.h>

#include <chrono>
#include <exception>
#include <mutex>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/fence.h"
#include "runtime/base/futex.h"
#include "runtime/contention_events.h"
#include "runtime/instant.h"
#include "runtime/thread_waiter.h"
#include "runtime/scheduler_core.h"
#include "runtime/trace_hooks.h"
#include "runtime/worker.h"

namespace fiberscope::internal {
namespace {

inline Worker& CurrentWorkerOnFiber() {
  Worker* const worker = Worker::Current();
  FIBERSCOPE_CHECK(worker != nullptr && worker->current() != nullptr, "this call must be made on a fiber");
  return *worker;
}

// Whether waits of `fiber` may be cancelled now. Destructors that run because of an exception must not throw another one.
bool IsCancellable(const ControlBlock& fiber) {
  return (fiber.cancellation.load(std::memory_order_relaxed) & kCancellable) != 0 && std::uncaught_exceptions() == 0;
}

// Whether a wait ends before it begins because the scheduler stops. A destructor that waits while its fiber is being unwound
// gets what it waits for if another fiber's unwinding brings it: it parks in earnest, until it is woken or the stopping
// thread has been round all fibers (SchedulerCore::UnwindFibers).
bool MustLeave(const SchedulerCore& core) { return core.unwinding() && std::uncaught_exceptions() == 0; }

void WakeThread(WaitRecord& record) {
  std::atomic<uint32_t>& woken = record.thread_woken;
  woken.store(1, std::memory_order_release);
  // The thread may have gone on already and be in another wait: then this wakes nobody, or somebody who looks and sleeps on,
  // as futex users do.
  FutexWake(woken, 1);
}

void SleepUntilWoken(WaitRecord& record) {
  // Acquire pairs with the release in WakeThread().
  while (record.thread_woken.load(std::memory_order_acquire) == 0) FutexWait(record.thread_woken, 0);
}

void Queue(WaitQueue& queue, Waiter& node, const WaitLimits& limits) {
  if (limits.at_front) {
    queue.PushFront(node);
  } else {
    queue.PushBack(node);
  }
}

WaitOutcome WaitPlainlyOnThread(WaitQueue& queue, FutexLock& lock, void* slot, const WaitLimits& limits) {
  ThreadWaiter& self = CurrentThreadWaiter();
  self.record.thread_woken.store(0, std::memory_order_relaxed);
  self.node.slot = slot;
  self.node.claimed_wait = false;
  Queue(queue, self.node, limits);
  lock.unlock();
  SleepUntilWoken(self.record);
  return self.record.outcome;
}

// Takes the node out if it is still queued. When it is not, its waker has let the lock go by now (C4, C5 of wait_claim.h).
void LeaveQueue(WaitQueue& queue, FutexLock& lock, Waiter& node) {
  std::lock_guard guard(lock);
  if (node.queue != nullptr) queue.Remove(node);
}

WaitOutcome WaitWithClaim(WaitQueue& queue, FutexLock& lock, const ParkInfo& info, void* slot, const WaitLimits& limits) {
  ClaimedWait wait(limits);
  Waiter& node = wait.node();
  node.slot = slot;
  Queue(queue, node, limits);
  lock.unlock();
  const WaitOutcome outcome = wait.Wait(info);
  if (outcome != WaitOutcome::kDone && outcome != WaitOutcome::kClosed) LeaveQueue(queue, lock, node);
  return outcome;
}

bool UnlockCommit(ControlBlock&, void* lock) {
  static_cast<FutexLock*>(lock)->unlock();
  return true;
}

}  // namespace

bool Park(const ParkInfo& info, ParkCommit commit, void* argument) {
  Worker& worker = CurrentWorkerOnFiber();
  SchedulerCore& core = worker.core();
  if (core.unwinding()) return false;
  Worker::Park(worker, info, commit, argument);
  return !core.unwinding();
}

bool ParkAndUnlock(const ParkInfo& info, FutexLock& lock) {
  Worker& worker = CurrentWorkerOnFiber();
  SchedulerCore& core = worker.core();
  if (MustLeave(core)) {
    lock.unlock();
    return false;
  }
  Worker::Park(worker, info, UnlockCommit, &lock);
  return !core.unwinding();
}

void Unpark(ControlBlock& fiber) {
  SchedulerCore& core = *fiber.scheduler;
  BeforeWake(fiber);
  if (TraceOn()) TraceUnpark(fiber);
  fiber.state.MakeRunnable();
  core.Enqueue(fiber);
}

void YieldFiber() {
  Worker& worker = CurrentWorkerOnFiber();
  SchedulerCore& core = worker.core();
  if (!core.unwinding()) Worker::Yield(worker);
  if (core.unwinding()) ThrowStopped();
}

WaitOutcome WaitIn(WaitQueue& queue, FutexLock& lock, const ParkInfo& info, void* slot, const WaitLimits& limits) {
  ControlBlock* const fiber = CurrentFiber();
  if (limits.deadline_ns != WaitLimits::kNoDeadline ||
      (limits.cancellable && fiber != nullptr && IsCancellable(*fiber))) {
    return WaitWithClaim(queue, lock, info, slot, limits);
  }
  const BlockMeasurement measurement(info.reason);
  if (fiber == nullptr) {
    const WaitOutcome outcome = WaitPlainlyOnThread(queue, lock, slot, limits);
    measurement.End();
    return outcome;
  }
  Waiter& waiter = fiber->waiter;
  waiter.slot = slot;
  waiter.claimed_wait = false;
  Queue(queue, waiter, limits);
  if (ParkAndUnlock(info, lock)) {
    measurement.End();
    return fiber->wait.outcome;
  }
  // Stopping: only this thread runs fibers now. The outcome is there if somebody woke us before.
  if (waiter.queue == nullptr) return fiber->wait.outcome;
  LeaveQueue(queue, lock, waiter);
  return WaitOutcome::kStopped;
}

void Wake(Waiter& waiter, WaitOutcome outcome) {
  WaitRecord& record = *waiter.record;
  if (waiter.claimed_wait) {
    waiter.ended_wait = true;
    EndClaimedWait(record, outcome);
    return;
  }
  record.outcome = outcome;
  if (record.is_thread) {
    WakeThread(record);
  } else {
    Unpark(FiberOf(record));
  }
}

void WakeAll(WakeList& waiters, WaitOutcome outcome) {
  while (Waiter* const waiter = waiters.PopFront()) Wake(*waiter, outcome);
}

// ---- Claimed waits

ClaimedWait::ClaimedWait(const WaitLimits& limits)
    : fiber_(CurrentFiber()),
      record_(fiber_ != nullptr ? fiber_->wait : CurrentThreadWaiter().record),
      node_(fiber_ != nullptr ? fiber_->waiter : CurrentThreadWaiter().node),
      deadline_ns_(limits.deadline_ns) {
  FIBERSCOPE_DCHECK(record_.claim.parked() == WaitClaim::Parked::kPlainly, "a wait begins within another one");
  cancellable_ = limits.cancellable && (fiber_ == nullptr || IsCancellable(*fiber_));
  record_.outcome = WaitOutcome::kPending;
  record_.thread_woken.store(0, std::memory_order_relaxed);
  node_.claimed_wait = true;
  node_.ended_wait = false;
  generation_ = record_.claim.Open(cancellable_);
}

ClaimedWait::~ClaimedWait() {
  if (!waited_) EndAs(WaitOutcome::kPending);
}

WaitOutcome ClaimedWait::Wait(const ParkInfo& info) {
  waited_ = true;
  const BlockMeasurement measurement(info.reason);
  if (fiber_ == nullptr) {
    const WaitOutcome outcome = BlockThread();
    measurement.End();
    return outcome;
  }
  Worker& worker = CurrentWorkerOnFiber();
  if (MustLeave(worker.core())) return EndAs(WaitOutcome::kStopped);
  if (cancellable_) {
    SeqCstFence();  // pairs with the one in CancelWait(); see the top of park.h
    if ((fiber_->cancellation.load(std::memory_order_relaxed) & kCancelPending) != 0) return EndAs(WaitOutcome::kCancelled);
  }
  if (deadline_ns_ != WaitLimits::kNoDeadline) {
    if (deadline_ns_ <= MonotonicNowNs()) return EndAs(WaitOutcome::kTimedOut);
    // Inside Blocking() there is none, and Park() names the mistake.
    if (worker.has_processor()) worker.processor().timers().Add(deadline_ns_, record_.timer);
  }
  const auto commit = [](ControlBlock& self, void*) { return !self.wait.claim.Arrive(); };
  Worker::Park(worker, info, commit, nullptr);
  if (deadline_ns_ != WaitLimits::kNoDeadline && record_.outcome != WaitOutcome::kTimedOut) {
    TimerQueue::Remove(record_.timer);
  }
  if (record_.outcome != WaitOutcome::kStopped) measurement.End();
  return record_.outcome;
}

// Without parking. If somebody else has won the claim, that is how the wait ends.
WaitOutcome ClaimedWait::EndAs(WaitOutcome outcome) {
  if (record_.claim.Claim()) {
    record_.outcome = outcome;
  } else if (fiber_ == nullptr) {
    SleepUntilWoken(record_);
  } else {
    // The winner is between two instructions, on another thread; or it is a waker under the lock of its object.
    while (!record_.claim.winner_arrived()) sched_yield();
  }
  record_.claim.Close();
  return record_.outcome;
}

WaitOutcome ClaimedWait::BlockThread() {
  if (deadline_ns_ == WaitLimits::kNoDeadline) {
    SleepUntilWoken(record_);
  } else {
    while (record_.thread_woken.load(std::memory_order_acquire) == 0) {
      const int64_t left_ns = deadline_ns_ - MonotonicNowNs();
      if (left_ns <= 0) return EndAs(WaitOutcome::kTimedOut);
      FutexWaitFor(record_.thread_woken, 0, std::chrono::nanoseconds(left_ns));
    }
  }
  record_.claim.Close();
  return record_.outcome;
}

void EndClaimedWait(WaitRecord& record, WaitOutcome outcome) {
  record.outcome = outcome;
  if (record.is_thread) {
    WakeThread(record);
  } else if (record.claim.Arrive()) {
    Unpark(FiberOf(record));
  }
}

bool ClaimWait(const WaitToken& token) { return token.record->claim.ClaimGeneration(token.generation); }

void* SlotOf(WaitRecord& record) { return record.is_thread ? ThreadWaiterOf(record).node.slot : FiberOf(record).waiter.slot; }

bool CancelWait(const WaitToken& token) {
  if (!ClaimWait(token)) return false;
  EndClaimedWait(*token.record, WaitOutcome::kCancelled);
  return true;
}

bool CancelWait(ControlBlock& fiber) {
  SeqCstFence();  // pairs with the one in ClaimedWait::Wait(); see the top of park.h
  if (!fiber.wait.claim.ClaimCancellable()) return false;
  EndClaimedWait(fiber.wait, WaitOutcome::kCancelled);
  return true;
}

bool TakeOverWait(ControlBlock& fiber) {
  switch (fiber.wait.claim.parked()) {
    case WaitClaim::Parked::kPlainly:
      return true;
    case WaitClaim::Parked::kClaimed:
      return false;
    case WaitClaim::Parked::kOpen:
      break;
  }
  if (!fiber.wait.claim.Claim()) return false;
  fiber.wait.outcome = WaitOutcome::kStopped;
  return fiber.wait.claim.Arrive();
}

void ThrowInterrupted(WaitOutcome outcome) {
  if (outcome != WaitOutcome::kStopped && outcome != WaitOutcome::kCancelled) return;
  if (std::uncaught_exceptions() != 0) return;
  if (outcome == WaitOutcome::kStopped) throw ForcedUnwind{};
  throw WaitCancelled();
}

}  // namespace fiberscope::internal
