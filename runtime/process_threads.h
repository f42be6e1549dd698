// All threads of the process, those of libraries and of the application included: name, state and stack of each at this moment.
//
//   for (const ThreadSnapshot& thread : CaptureThreads({})) ...
//
// Fibers are in runtime/registry.h. A thread that runs one stands on the fiber's stack: then that is the stack told, and the
// fiber is named. How a stack is had, and what that costs the thread, is said in running_stack.h: threads that sleep are walked
// from outside, the others interrupted by a signal; no system call is cut short. Each stack is exact for one moment, and so is
// each name with its state; the moments differ.
//
// Stack bounds are not known of arbitrary threads, and any of them may end at any time and unmap its stack. That cannot make this
// fault, because no stack of a plain thread is read in place: stack_memory.h copies it, and the copy is walked. Fibers' stacks
// are never unmapped.
//
// Threads that end meanwhile are left out, and those that begin meanwhile may be. Whose stack cannot be had is listed all the
// same, and says why. In a process that is not dumpable (prctl(2), PR_SET_DUMPABLE), or without /proc, the kernel tells no more
// than the names and states of threads, or nothing.
//
// Thread-safe. Not on a fiber: blocks the thread and allocates. A listing ends when `timeout` is over, save what reading names
// and states takes; a quarter of it is for the answers of threads that are asked, so one that does not answer
// costs that. Cost: 0.8 ms for 10 threads, 80 ms for 1000, half of which sleep in a pipe and half in a futex
// (tests/runtime/process_threads_test.cc).
#ifndef FIBERSCOPE_RUNTIME_PROCESS_THREADS_H_
#define FIBERSCOPE_RUNTIME_PROCESS_THREADS_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/fiber_id.h"
#include "runtime/running_stack.h"

namespace fiberscope {

struct ThreadSnapshot {
  int thread_id = 0;  // of the kernel
  std::string name = {};   // 15 bytes at most, arbitrary but for NUL
  char state = '?';   // the kernel's letter (proc_pid_stat(5)): R runs or could, S sleeps, D sleeps for a disk, T stopped, Z ended

  enum class Outcome : uint8_t {
    kCaptured,
    kBlocksSignal,  // it runs, or slept in a way that tells too little, and does not take the signal that asks for its stack
    kNoAnswer,      // the time was up
    kEnded,         // listed while the process lives on without its first thread
    kRefused,       // RunningStack::Outcome
    kNoSignal,      // RunningStack::Outcome
    kRestless,      // RunningStack::Outcome
    kNoTime,        // the time was up before its turn came
  };
  Outcome outcome = Outcome::kNoAnswer;

  // The rest: when captured.
  FiberId fiber = {};  // whose stack this is; none: the thread's own
  // Innermost first. The first one of an interrupted or sleeping thread is the address behind the instruction's first byte, so
  // that all can be looked up like return addresses.
  std::vector<uintptr_t> stack = {};
  UnwindEnd end = UnwindEnd::kRoot;  // kRoot: all frames are there; else outer ones are missing
};

struct ThreadOptions {
  std::chrono::nanoseconds timeout = std::chrono::milliseconds(200);  // for all threads together
};

// In the order of their ids. The calling thread is among them.
std::vector<ThreadSnapshot> CaptureThreads(const ThreadOptions& options);

// Their kernel ids, in ascending order. Empty without /proc. Cost: ~0.5 us per thread.
std::vector<int> ThreadIds();

// How many there are. 0 without /proc. Cost: one system call.
int64_t ThreadCount();

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_PROCESS_THREADS_H_
