// What runs on the calling thread, at the price of two loads: the fast paths of locks and channels begin with the question.
//
// The thread's pointer is not read as C++ reads a thread_local: a compiler may keep such a variable's address in a register, and
// after a switch the code may be on another thread, with another variable. The instructions below form no address that could be
// kept, and "volatile" and "memory" keep them on their side of any call.
//
// Thread-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_CURRENT_FIBER_H_
#define FIBERSCOPE_RUNTIME_CURRENT_FIBER_H_

#include <atomic>
#include <cstdint>

namespace fiberscope::internal {

struct ControlBlock;

// The part of a Worker that is known outside the scheduler.
struct RunningFiber {
  // Null on the worker's own stack. One writer: the worker.
  std::atomic<ControlBlock*> fiber{nullptr};
  // The number of its processor in traces; UINT64_MAX: it has none. One writer: the worker.
  std::atomic<uint64_t> processor_number{UINT64_MAX};
};

#if defined(__x86_64__)
// The calling thread's; null on threads that are no workers. ELF TLS, initial-exec model (Ulrich Drepper, "ELF Handling For
// Thread-Local Storage", section 4.3.6): right in executables and in shared objects; the linker simplifies it where it can.
inline RunningFiber* CurrentRunningFiber() {
  RunningFiber* running;
  asm volatile(
      "movq fiberscope_running_fiber@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(running)
      :
      : "memory");
  return running;
}
#else
__attribute__((noinline, noipa)) RunningFiber* CurrentRunningFiber();
#endif

// The calling thread becomes a worker, or (null) is none any more.
void SetCurrentRunningFiber(RunningFiber* running);

// The fiber that is running; null on a plain thread and on a worker's own stack.
inline ControlBlock* CurrentFiber() {
  const RunningFiber* const running = CurrentRunningFiber();
  return running == nullptr ? nullptr : running->fiber.load(std::memory_order_relaxed);
}

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_CURRENT_FIBER_H_
