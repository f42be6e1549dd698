#include "runtime/sync/wait_status.h"

#include "absl/strings/str_format.h"
#include "runtime/base/check.h"
#include "runtime/park.h"

namespace fiberscope::internal {

const char* NameOf(const WaitObject& object) { return object.name() != nullptr ? object.name() : "unnamed"; }

absl::Status WaitStatus(WaitOutcome outcome, const char* attempt, const WaitObject& object) {
  switch (outcome) {
    case WaitOutcome::kDone:
      return absl::OkStatus();
    case WaitOutcome::kTimedOut:
      return absl::DeadlineExceededError(absl::StrFormat("%s (%s): the deadline passed", attempt, NameOf(object)));
    case WaitOutcome::kClosed:
      return absl::FailedPreconditionError(absl::StrFormat("%s (%s): it is closed", attempt, NameOf(object)));
    case WaitOutcome::kStopped:
      ThrowStopped();
      [[fallthrough]];
    case WaitOutcome::kCancelled:
      return absl::CancelledError(absl::StrFormat("%s (%s): cancelled", attempt, NameOf(object)));
    case WaitOutcome::kPending:
      break;
  }
  FIBERSCOPE_CHECK(false, "%s (%s): a wait ended without an outcome", attempt, NameOf(object));
  __builtin_unreachable();
}

}  // namespace fiberscope::internal
