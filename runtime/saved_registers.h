// Where a walk of a stack begins: the registers of a fiber that does not run.
//
// Thread-safe. Async-signal-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_SAVED_REGISTERS_H_
#define FIBERSCOPE_RUNTIME_SAVED_REGISTERS_H_

#include <optional>

#include "runtime/control_block.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::internal {

// What the switch, or Blocking() if `state` is kBlocking, left behind. The caller has read `state` before and checks
// afterwards that the word is unchanged (fiber_state.h); nothing where that cannot be: the pointers lie outside the
// fiber's stack.
std::optional<Registers> SavedRegisters(const ControlBlock& fiber, FiberState state);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SAVED_REGISTERS_H_
