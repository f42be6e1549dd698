// What a wait with a deadline returns, in one spelling for all objects.
#ifndef FIBERSCOPE_RUNTIME_SYNC_WAIT_STATUS_H_
#define FIBERSCOPE_RUNTIME_SYNC_WAIT_STATUS_H_

#include "absl/status/status.h"
#include "runtime/wait_object.h"
#include "runtime/waiter.h"

namespace fiberscope::internal {

// kDone is OK. kTimedOut is kDeadlineExceeded, kCancelled is kCancelled, kClosed is kFailedPrecondition; the message says what was
// attempted ("receive from channel") and the object's name. kStopped unwinds the fiber; in a destructor that runs because of an
// exception it is kCancelled.
absl::Status WaitStatus(WaitOutcome outcome, const char* attempt, const WaitObject& object);

// "unnamed" for objects without a name.
const char* NameOf(const WaitObject& object);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SYNC_WAIT_STATUS_H_
