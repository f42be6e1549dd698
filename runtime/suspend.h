// Turns a callback into a parked fiber: whoever completes the Suspension first wakes the fiber, once.
//
//   Suspension suspension;                       // on the fiber
//   StartSomething([token = suspension.token()](int result) {
//     Suspension::Complete(token, [&](void* slot) { *static_cast<int*>(slot) = result; });   // on any thread
//   });
//   int result;
//   suspension.set_slot(&result);                // before the callback can run
//   WaitOutcome outcome = suspension.Wait({.reason = WaitReason::kIo});
//
// The completion may come before, while or after the waiter parks; on any thread; and may lose against the deadline, a
// cancellation or the scheduler's stop: then Complete returns false and has not touched the slot (wait_claim.h). A
// suspension that goes out of scope without having been waited for completes nothing any more.
//
// An operation that must not be abandoned half-way, such as a read that would lose its bytes, is cancelled at its
// source instead: wait with `cancellable` false, and let whoever cancels make the operation complete early.
//
// For fibers and plain threads; one at a time for each.
#ifndef FIBERSCOPE_RUNTIME_SUSPEND_H_
#define FIBERSCOPE_RUNTIME_SUSPEND_H_

#include "absl/functional/function_ref.h"
#include "runtime/park.h"

namespace fiberscope::internal {

class Suspension {
 public:
  // Copyable; may outlive the suspension and the fiber: it then completes nothing.
  using Token = WaitToken;

  explicit Suspension(const WaitLimits& limits = {}) : wait_(limits) {}

  Token token() const { return wait_.token(); }

  // Where the completer puts its result; set before the callback can run.
  void set_slot(void* slot) { wait_.node().slot = slot; }

  // Parks or blocks until completed; at once if it was. kDone: the result is in the slot. Otherwise it never will be.
  [[nodiscard]] WaitOutcome Wait(const ParkInfo& info) { return wait_.Wait(info); }

  // Any thread, any number of times: the first call of a suspension runs `write(slot)` and wakes the waiter, and
  // returns true.
  static bool Complete(const Token& token, absl::FunctionRef<void(void* slot)> write);

  // Ends the wait without a result. True: it was this call. Any thread.
  static bool Cancel(const Token& token) { return CancelWait(token); }

 private:
  ClaimedWait wait_;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SUSPEND_H_
