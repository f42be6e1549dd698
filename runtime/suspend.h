// Turns a callback into a parked fiber: whoever completes the Suspension first wakes the fiber, once.
//
//   Suspension suspension;                       // on the fiber
//   StartSomething([token = suspension.token()](int result) {
//     Suspension::Complete(token, [&](void* slot) { *static_cast<int*>(slot) = result; });   // on any thread
//   });
//   int result;
//   suspension.Wait({.reason = WaitReason::kIo}, &result);
//
// One word in the control block decides: a generation that says which wait is meant, whether the right to complete it
// was claimed, and how many of the two parties, the parked fiber and the completer, have arrived.
//
//     bits 63..32  generation    counts this block's suspensions, so a token of an earlier one (or of an earlier fiber
//     on the
//                                same block) claims nothing
//     bit  2       claimed       by compare-and-swap; the winner may write the result, losers must not touch it
//     bits 1..0    arrivals      the second to arrive makes the fiber runnable
//
//     completer: claim; write the result; arrive.     fiber: park; arrive (in the commit of the park, park.h).
//     The second arrival finds 1 and knows that the other party is done: the result is written and the fiber is parked.
//
// So the completion may come before, while or after the fiber parks; on any thread; and may lose against the
// scheduler's stop.
#ifndef FIBERSCOPE_RUNTIME_SUSPEND_H_
#define FIBERSCOPE_RUNTIME_SUSPEND_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "runtime/control_block.h"
#include "runtime/park.h"

namespace fiberscope::internal {

// Fiber-only; one at a time per fiber.
class Suspension {
 public:
  // Copyable; may outlive the suspension and the fiber: it then completes nothing.
  struct Token {
    ControlBlock* fiber = nullptr;
    uint64_t generation = 0;
  };

  // Begins a generation.
  Suspension();
  // Without a Wait nothing can be completed from then on.
  ~Suspension();
  Suspension(const Suspension&) = delete;
  Suspension& operator=(const Suspension&) = delete;

  Token token() const { return {&fiber_, generation_}; }

  // Where the completer puts its result; set before the callback can run.
  void set_slot(void* slot) { fiber_.waiter.slot = slot; }

  // Parks until completed; at once if it was. False: the scheduler stops, the result will never be written.
  [[nodiscard]] bool Wait(const ParkInfo& info);

  // The same for an operation that uses the fiber's stack, which must not be unwound under it: parks until completed,
  // whatever happens. When the scheduler stops, calls `cancel` once, which must make the operation complete soon, on
  // the stopping thread. A fiber whose operation does not complete is never unwound. True: completed as usual. False:
  // the scheduler stops.
  [[nodiscard]] bool WaitThroughStop(const ParkInfo& info, absl::FunctionRef<void()> cancel);

  // Any thread, any number of times: the first call of a generation runs `write(slot)` and wakes the fiber, and returns
  // true.
  static bool Complete(const Token& token, absl::FunctionRef<void(void* slot)> write);

 private:
  ControlBlock& fiber_;
  uint64_t generation_;
  bool waited_ = false;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SUSPEND_H_
