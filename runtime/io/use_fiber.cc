#include "runtime/io/use_fiber.h"

#include <boost/asio/post.hpp>
#include <mutex>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/control_block.h"
#include "runtime/scheduler_core.h"
#include "runtime/spawn.h"

namespace fiberscope::internal {
namespace {

using boost::asio::cancellation_type;

constexpr cancellation_type kStop = cancellation_type::total | cancellation_type::partial | cancellation_type::terminal;

int64_t DeadlineNs(std::chrono::nanoseconds timeout) {
  int64_t deadline_ns;
  if (timeout == std::chrono::nanoseconds::max() ||
      __builtin_add_overflow(MonotonicNowNs(), timeout.count(), &deadline_ns)) {
    return timeout.count() > 0 ? WaitLimits::kNoDeadline : 0;
  }
  return deadline_ns;
}

}  // namespace

boost::asio::io_context& CurrentReactor() {
  FIBERSCOPE_CHECK(CurrentFiber() != nullptr, "use_fiber can be used on fibers only");
  return CurrentCore().reactor();
}

bool FiberIsCancelled() {
  const ControlBlock* const fiber = CurrentFiber();
  return fiber != nullptr && std::uncaught_exceptions() == 0 &&
         (fiber->cancellation.load(std::memory_order_relaxed) & kCancelPending) != 0;
}

void FiberOperation::RequestCancel(cancellation_type type) {
  // Posting under the lock keeps the reactor alive: the fiber, which the scheduler outlives, cannot leave meanwhile.
  std::lock_guard guard(phase_lock_);
  if (phase_ == Phase::kStarting) wanted_ = wanted_ | type;
  if (phase_ == Phase::kStarted) PostEmission(type);
}

void FiberOperation::SetStarted() {
  std::lock_guard guard(phase_lock_);
  phase_ = Phase::kStarted;
  if (wanted_ != cancellation_type::none) PostEmission(wanted_);
}

void FiberOperation::SetOver() {
  std::lock_guard guard(phase_lock_);
  phase_ = Phase::kOver;
}

void FiberOperation::PostEmission(cancellation_type type) {
  boost::asio::post(reactor_, [self = OneShotRef<FiberOperation>(this), type] {
    if (!self->completed_) self->signal_.emit(type);
  });
}

FiberOperation::Ended FiberOperation::AwaitCompletion(std::chrono::nanoseconds timeout) {
  const ParkInfo info{.reason = WaitReason::kIo};
  Ended ended = Ended::kNormally;
  WaitOutcome outcome = Wait(info, {.deadline_ns = DeadlineNs(timeout)});
  if (outcome == WaitOutcome::kTimedOut || outcome == WaitOutcome::kCancelled) {
    ended = outcome == WaitOutcome::kTimedOut ? Ended::kAfterTimeout : Ended::kAfterCancel;
    RequestCancel(kStop);
    outcome = Wait(info, {.cancellable = false});
  }
  if (outcome == WaitOutcome::kDone) return ended;
  // The one thread that is left runs fibers and reactor in turn, so this is in the reactor's strand.
  if (!completed_) signal_.emit(kStop);
  WaitThroughStop(info);
  return Ended::kStopped;
}

}  // namespace fiberscope::internal
