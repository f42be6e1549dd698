#include "runtime/sync/barrier.h"

#include <mutex>

#include "runtime/base/check.h"
#include "runtime/sync/wait_status.h"

namespace fiberscope {

using internal::NameOf;
using internal::WaitOutcome;

Barrier::Barrier(int64_t parties, const char* name, uintptr_t creation_pc)
    : parties_(parties), object_(WaitObjectKind::kBarrier, name, creation_pc) {
  FIBERSCOPE_CHECK(parties > 0, "a barrier (%s) for %d parties", NameOf(object_), parties);
}

Barrier::~Barrier() {
  std::lock_guard lock(lock_);
  FIBERSCOPE_CHECK(waiters_.empty(), "barrier (%s) destroyed while somebody waits for it", NameOf(object_));
}

bool Barrier::ArriveAndWait() {
  const WaitOutcome outcome = Arrive({});
  internal::ThrowInterrupted(outcome);
  return outcome == WaitOutcome::kPending;
}

absl::StatusOr<bool> Barrier::ArriveAndWaitUntil(Deadline deadline) {
  const WaitOutcome outcome = Arrive({.deadline_ns = internal::DeadlineNs(deadline)});
  if (outcome == WaitOutcome::kPending) return true;
  if (outcome == WaitOutcome::kDone) return false;
  return internal::WaitStatus(outcome, "wait at barrier", object_);
}

WaitOutcome Barrier::Arrive(const internal::WaitLimits& limits) {
  lock_.lock();
  FIBERSCOPE_CHECK(arrived_ < parties_, "barrier (%s) is used by more than its %d parties", NameOf(object_), parties_);
  if (++arrived_ == parties_) {
    EndRoundAndUnlock();
    return WaitOutcome::kPending;
  }
  const uint64_t round = round_;
  const internal::ParkInfo info{.reason = WaitReason::kBarrier, .object_id = object_.EnsureId()};
  const WaitOutcome outcome = internal::WaitIn(waiters_, lock_, info, nullptr, limits);
  if (outcome == WaitOutcome::kDone) return outcome;
  std::lock_guard lock(lock_);
  // The last party may have counted us while we were leaving.
  if (round != round_) return outcome == WaitOutcome::kStopped ? outcome : WaitOutcome::kDone;
  --arrived_;
  return outcome;
}

void Barrier::ArriveAndDrop() {
  lock_.lock();
  FIBERSCOPE_CHECK(parties_ > arrived_, "barrier (%s) is used by more than its %d parties", NameOf(object_), parties_);
  if (--parties_ == arrived_ && arrived_ > 0) {
    EndRoundAndUnlock();
  } else {
    lock_.unlock();
  }
}

void Barrier::EndRoundAndUnlock() {
  internal::WakeList all;
  arrived_ = 0;
  ++round_;
  waiters_.ClaimAll(all);
  lock_.unlock();
  internal::WakeAll(all, WaitOutcome::kDone);
}

}  // namespace fiberscope
