// The machine-level jump between stacks.
//
// A SwitchTarget is something that can be switched to: a parked fiber, or a worker's own stack. SwitchTo saves the
// caller's callee-saved registers on the caller's stack, leaves the stack pointer in `from`, and continues `to` where
// it left off. One .S file per CPU, where every instruction carries CFI, so a signal at any point of it unwinds, and calls and
// returns stay in balance, so that the processor predicts the returns behind a switch: switches that shall be fast into each
// other must be left by the same call (a function of the caller's, not inlined into several).
//
// Not switched, deliberately: mxcsr and the x87 control word (a fiber must not park with a changed floating-point
// mode), the signal mask, errno and the C++ exception state (the scheduler carries the last two, park.h).
//
// After a switch the code may be on another thread. So a function that switches must not touch thread_local on both
// sides of it; that is why SwitchTo hands over a pointer: the one who switches back passes what the code needs to know
// about the thread it is on now.
//
// Sanitizers are told of every switch in here; callers need no #ifdef.
//
// Thread-compatible: the caller must own both targets. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_STACK_CONTEXT_SWITCH_H_
#define FIBERSCOPE_RUNTIME_STACK_CONTEXT_SWITCH_H_

#include <cstdint>

#include "runtime/stack/sanitizer_fiber.h"
#include "runtime/stack/saved_frame.h"
#include "runtime/stack/stack_bounds.h"

namespace fiberscope {

struct SwitchTarget {
  void* saved_sp = nullptr;                        // points at a SavedFrame while the target is not running
  [[no_unique_address]] SanitizerFiber sanitizer;  // empty without a sanitizer
};

// Prepares `target`, new or dead, to start `entry` on an unused stack at its first switch. `entry` receives the pointer
// that SwitchTo was given, and returns what SwitchForGood gave it. An exception that leaves `entry` finds no handler (the root
// frame has no unwind information beyond it) and std::terminate runs with the throwing frames intact. The two highest words of
// the stack stay unused and zero: no pointer to one stack equals a bound of its neighbour.
struct [[nodiscard]] LastSwitch {
  void* to_sp;
  void* argument;
};
using EntryFunction = LastSwitch (*)(void* argument);
void PrepareTarget(SwitchTarget& target, StackBounds stack, EntryFunction entry);

// Must be called once on a thread for the target that stands for the thread's own stack, before the first switch away.
void AdoptThreadStack(SwitchTarget& target);

// Saves into `from`, continues `to`, and returns when somebody switches back to `from`: with the `argument` that they
// passed. `to_stack` is the stack that `to` runs on (only the sanitizers want to know).
void* SwitchTo(SwitchTarget& from, SwitchTarget& to, StackBounds to_stack, void* argument);

// As SwitchTo, but `from` will never be switched to again: its stack may be used for another fiber as soon as the code
// in `to` runs. The last thing that `entry` does is to return the result (under a sanitizer the switch happens in here).
LastSwitch SwitchForGood(SwitchTarget& from, SwitchTarget& to, StackBounds to_stack, void* argument);

// Must be the first thing that `entry` does.
void FinishFirstSwitch(SwitchTarget& self);

// Gives back what a sanitizer keeps for a dead target, one that has left for good. PrepareTarget does so too; call this
// where a dead target may stay unused for long, since gcc 12's ThreadSanitizer ends at 8,128 contexts. Never call it on
// the dead target's own stack.
void ReleaseTarget(SwitchTarget& target);

// -- Implementation. In the header because a call more would cost as much as the switch.

namespace internal {
// Pushes a SavedFrame, stores the stack pointer in *save_sp, loads to_sp, and returns `argument` from the SavedFrame
// there.
extern "C" void* fiberscope_switch_context(void** save_sp, void* to_sp, void* argument);
}  // namespace internal

inline void* SwitchTo(SwitchTarget& from, SwitchTarget& to, StackBounds to_stack, void* argument) {
  void* const to_sp = to.saved_sp;  // before StartSwitch: after it, a sanitizer believes that `to` runs
  from.sanitizer.StartSwitch(to.sanitizer, to_stack);
  void* const received = internal::fiberscope_switch_context(&from.saved_sp, to_sp, argument);
  from.sanitizer.FinishSwitch();
  return received;
}

[[gnu::always_inline]] inline LastSwitch SwitchForGood(SwitchTarget& from, SwitchTarget& to, StackBounds to_stack,
                                                      void* argument) {
  void* const to_sp = to.saved_sp;
  from.sanitizer.StartLastSwitch(to.sanitizer, to_stack);
  // No instrumented function may return on this stack any more.
  if constexpr (SanitizerFiber::kWatches) internal::fiberscope_switch_context(&from.saved_sp, to_sp, argument);
  return {to_sp, argument};
}

inline void AdoptThreadStack(SwitchTarget& target) { target.sanitizer.AdoptThread(); }
inline void FinishFirstSwitch(SwitchTarget& self) { self.sanitizer.FinishSwitch(); }
inline void ReleaseTarget(SwitchTarget& target) { target.sanitizer.Release(); }

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STACK_CONTEXT_SWITCH_H_
