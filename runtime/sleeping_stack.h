// The stack of a thread that sleeps in the kernel, walked from outside, without a signal: into memory that is there already.
//
// Exact, because the thread has slept from the first look at its system call to the last one; otherwise there is no result. How
// far the walk gets is said in running_stack.h.
//
// Thread-safe. Async-signal-safe, but for errno. Blocks the thread for five reads of files that are not on a disk.
#ifndef FIBERSCOPE_RUNTIME_SLEEPING_STACK_H_
#define FIBERSCOPE_RUNTIME_SLEEPING_STACK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "runtime/control_block.h"
#include "runtime/fiber_state.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/thread_status.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::internal {

// What a walk is done with. Not owned.
struct SleepingWalkMemory {
  std::span<char> file;  // ThreadFileBuffer
  // For a stack whose bounds are not known, which is walked in a copy. Aligned to 16 bytes; no more of it is touched than the stack
  // needs. Empty: of such a stack there is the pc alone.
  std::span<std::byte> copy;
  std::span<uintptr_t> pcs;  // the result
};

struct SleepingStack {
  SystemCall call;
  uint64_t sleeps = 0;  // SleepCount()
  ControlBlock* fiber = nullptr;  // on whose stack the thread stands; none: its own
  StateWord word;                       // the fiber's
  UnwindResult walk;
};

// `own_stack`: the thread's, which must stay mapped; empty when not known. Nothing: the thread runs, or did in between.
std::optional<SleepingStack> WalkSleeping(const UnwindTable& table, int thread_id, StackBounds own_stack,
                                          const SleepingWalkMemory& memory);

// It has slept ever since `walked` began.
bool SleepsStill(int thread_id, const SleepingStack& walked, std::span<char> file = ThreadFileBuffer());

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SLEEPING_STACK_H_
