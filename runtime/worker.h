// One operating-system thread's loop: find a runnable fiber, switch to it, and when it comes back find the next.
//
// A fiber that stops running switches straight to its successor when the processor has one, otherwise to the worker's own
// stack, where everything happens that may take time: timers, the inject queue, the reactor, stealing, sleeping. Either
// way the code that runs next calls FinishDeparture() to publish what became of the fiber that left; nobody else can know
// that its registers are saved.
//
// Worker-confined.
#ifndef FIBERSCOPE_RUNTIME_WORKER_H_
#define FIBERSCOPE_RUNTIME_WORKER_H_

#include <cstdint>

#include "runtime/control_block.h"
#include "runtime/idle_workers.h"
#include "runtime/park.h"
#include "runtime/processor.h"

namespace fiberscope::internal {

class SchedulerCore;

class Worker {
 public:
  Worker(SchedulerCore& core, Processor& processor) : core_(core), processor_(processor) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The thread's main function: until the scheduler stops.
  void Run();

  // Runs what is runnable here, and returns when there is nothing more. For the thread that stops the scheduler.
  void Attach();  // before, on that thread
  void Detach();  // after
  void RunOne(ControlBlock& fiber);

  // The worker of the calling thread; null on other threads. Not inlined, and not to be cached across a switch: the
  // compiler may keep the address of a thread_local in a register, and the code may come back on another thread.
  __attribute__((noinline, noipa)) static Worker* Current();

  ControlBlock* current() const { return current_; }
  Processor& processor() { return processor_; }
  SchedulerCore& core() { return core_; }
  Sleeper& sleeper() { return sleeper_; }

  // The three ways to stop running; called on the fiber that leaves. The first two return when it runs again.
  static void Yield(Worker& worker);
  static void Park(Worker& worker, const ParkInfo& info, ParkCommit commit, void* argument);
  [[noreturn]] static void Exit(Worker& worker);

  // First thing on any stack that was switched to.
  void FinishDeparture();

 private:
  struct Departure {
    enum class Kind : uint8_t { kYield, kPark, kExit };
    ControlBlock* fiber = nullptr;
    Kind kind = Kind::kYield;
    ParkCommit commit = nullptr;
    void* argument = nullptr;
  };

  static void SwitchAway(Worker& worker, const Departure& departure);
  void SwitchTo(ControlBlock& next);  // worker's own stack only
  // A successor, if the loop need not have its turn. Counts turns.
  ControlBlock* PickSuccessor();
  void Load(ControlBlock& next);

  ControlBlock* FindRunnable();
  ControlBlock* TakeInjected();
  ControlBlock* Steal();
  bool RunTimers(int64_t now_ns);
  void PollReactor(int64_t now_ns);
  void Sleep();
  ControlBlock* Found(ControlBlock* fiber);

  SchedulerCore& core_;
  Processor& processor_;
  ControlBlock* current_ = nullptr;
  SwitchTarget own_context_;
  StackBounds own_stack_;
  // This thread's, taken once on this thread: the fiber's code must not, see park.h.
  ExceptionState* exceptions_ = nullptr;
  int* errno_ = nullptr;
  Departure departure_;
  uint32_t turns_ = 0;
  bool spinning_ = false;
  int64_t last_poll_ns_ = 0;
  uint32_t steal_start_ = 0;
  Sleeper sleeper_;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_WORKER_H_
