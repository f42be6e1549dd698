// The stacks of threads that run fibers, at this moment, without changing what they do.
//
//   const std::vector<RunningStack> stacks = CaptureRunningStacks(threads, {.timeout = std::chrono::milliseconds(10)});
//
// A thread that runs, or waits for a CPU, is interrupted by a signal and walks its own stack: exact. All of them are signalled at
// once. A thread that sleeps in the kernel is not interrupted unless that cannot be noticed:
// 1. Its stack is walked from outside, from the pc and sp that the kernel tells, which is exact while it sleeps. The walk is thrown
//    away when the thread has run in between, and tried again.
// 2. That may end early, because the registers of a sleeping thread are not to be had: code with frame pointers needs rbp
//    to get to its caller, and the C library's wrapper of the call may not have saved it. If the call outlives a signal
//    (restartable_call.h) the thread is then signalled after all.
// 3. Otherwise the stack ends there, with UnwindEnd::kUnknownRegister. All frames up to it are right: with glibc the
//    function that made the call is always among them.
//
// Guaranteed: a thread found asleep in a system call that a signal would cut short (sleep, poll, epoll_wait, select, a wait with a
// deadline, a write ...) is not sent one. Not guaranteed, because no kernel offers it: a thread that was running when it was looked
// at, and that enters such a call in the microseconds until the signal reaches it, sees EINTR, as from any handler in the process.
//
// A thread whose own stack is not known (RunningThread::copy_stack) is walked in a copy of what lies above its stack pointer;
// from outside 4 MiB of it if need be, by itself 64 KiB. No thread that ends meanwhile, and takes its stack along, can make that
// fault.
//
// A thread is a hole, Outcome says which, when it does not answer in time; nothing is made up.
//
// Thread-safe. Not on a fiber: blocks the thread, for `timeout` at most where nobody answers, and allocates.
// Cost: 24 us for one thread that runs, 50 us for one that sleeps.
#ifndef FIBERSCOPE_RUNTIME_RUNNING_STACK_H_
#define FIBERSCOPE_RUNTIME_RUNNING_STACK_H_

#include <chrono>
#include <span>
#include <vector>

#include "runtime/stack_signal.h"

namespace fiberscope {

struct CaptureOptions {
  std::chrono::nanoseconds timeout = std::chrono::milliseconds(10);  // for the answers, once all have been asked
  // For what is walked from outside, before. A thread whose turn has not come by then is a hole.
  std::chrono::nanoseconds walk_timeout = std::chrono::nanoseconds::max();
  // Raised: all threads record what they run there, and it is declared (instant.h).
  internal::Instant* instant = nullptr;
};

// One per thread, in the same order.
std::vector<RunningStack> CaptureRunningStacks(std::span<const RunningThread> threads, const CaptureOptions& options);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_RUNNING_STACK_H_
