#include "runtime/suspend_fiber.h"

#include <future>

#include "absl/strings/str_cat.h"
#include "runtime/base/clock.h"
#include "runtime/context.h"
#include "runtime/park.h"

namespace fiberscope::internal {

absl::Status AwaitSuspended(OneShot& state, int64_t deadline_ns) {
  const ParkInfo info{.reason = WaitReason::kSuspend};
  const WaitOutcome outcome = state.Wait(info, {.deadline_ns = deadline_ns});
  if (outcome == WaitOutcome::kDone) return absl::OkStatus();
  // Whoever was faster with the claim is about to publish, and its result counts.
  if (!state.Claim() && state.Wait(info, {.cancellable = false}) == WaitOutcome::kDone) return absl::OkStatus();
  switch (outcome) {
    case WaitOutcome::kTimedOut:
      return absl::DeadlineExceededError("suspended: the deadline passed before the resume");
    case WaitOutcome::kCancelled:
      return absl::CancelledError(absl::StrCat("suspended: ", this_fiber::context().cause().message()));
    default:
      ThrowStopped();
      return absl::CancelledError("suspended: the scheduler has stopped");
  }
}

void ThrowSuspended(const absl::Status& status) {
  if (status.ok()) return;
  if (status.code() == absl::StatusCode::kCancelled) ThrowInterrupted(WaitOutcome::kCancelled);
  throw std::future_error(std::future_errc::broken_promise);
}

int64_t SuspendDeadlineNs(std::chrono::nanoseconds timeout) {
  int64_t deadline_ns;
  if (__builtin_add_overflow(MonotonicNowNs(), timeout.count(), &deadline_ns)) {
    return timeout.count() > 0 ? WaitLimits::kNoDeadline : 0;
  }
  return deadline_ns;
}

}  // namespace fiberscope::internal
