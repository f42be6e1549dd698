// One operating-system thread's loop: get a processor, find a runnable fiber, switch to it, and when it comes back find the
// next.
//
// A fiber that stops running switches straight to its successor when the processor has one, otherwise to the worker's own
// stack, where everything happens that may take time: timers, the inject queue, the reactor, stealing, sleeping. Either
// way the code that runs next calls FinishDeparture() to publish what became of the fiber that left; nobody else can know
// that its registers are saved.
//
// A worker is without a processor while it sleeps, while its fiber is in a blocking call, and after such a call when none was
// left. Then it must not touch any processor, and what it makes runnable goes to the inject queue.
//
// Worker-confined, except where the members say otherwise.
#ifndef FIBERSCOPE_RUNTIME_WORKER_H_
#define FIBERSCOPE_RUNTIME_WORKER_H_

#include <atomic>
#include <cstdint>
#include <thread>

#include "runtime/control_block.h"
#include "runtime/current_fiber.h"
#include "runtime/idle_workers.h"
#include "runtime/park.h"
#include "runtime/processor.h"
#include "runtime/slice_clock.h"
#include "runtime/trace/trace_writer.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::internal {

class SchedulerCore;

class Worker : public RunningFiber {
 public:
  Worker(SchedulerCore& core, uint32_t number) : core_(core), slice_clock_(number * 2654435761u) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The thread's main function: until the scheduler stops.
  void Run();

  // For the thread that stops the scheduler: runs fibers one by one, with `processor`.
  void Attach();  // before, on that thread
  void Detach();  // after
  void Adopt(Processor& processor);
  void RunOne(ControlBlock& fiber);

  // The worker of the calling thread; null on other threads. Not to be kept across a switch.
  static Worker* Current() { return static_cast<Worker*>(CurrentRunningFiber()); }

  // The fiber that runs. Anyone may ask.
  ControlBlock* current() const { return fiber.load(std::memory_order_relaxed); }
  // For other threads. Acquire pairs with the release in Load(): the block may be new. It may be another fiber's by now.
  ControlBlock* current_for_others() const { return fiber.load(std::memory_order_acquire); }
  // 0 until it runs. Anyone may ask.
  int thread_id() const { return thread_id_.load(std::memory_order_relaxed); }

  // It must have one: true for all code that parks, and for the commit of a park.
  Processor& processor() { return *processor_; }
  bool has_processor() const { return processor_ != nullptr; }
  SchedulerCore& core() const { return core_; }
  Sleeper& sleeper() { return sleeper_; }
  TraceThread* trace_thread() const { return trace_thread_; }

  // The three ways to stop running; called on the fiber that leaves. The first two return when it runs again, the last one what its
  // entry function must return.
  static void Yield(Worker& worker);
  static void Park(Worker& worker, const ParkInfo& info, ParkCommit commit, void* argument);
  static LastSwitch Exit(Worker& worker);

  // First thing on any stack that was switched to.
  void FinishDeparture();

  // blocking.h. False: nothing was given up, so nothing must be taken back. LeaveBlocking may return on another thread.
  static bool EnterBlocking(Worker& worker, const Registers& here, bool expect_long);
  static void LeaveBlocking(Worker& worker);

  // thread_lock.h. False: it was locked before.
  bool LockCurrent();
  void UnlockCurrent();

  // Notes when the fiber was made runnable, if that is to be measured.
  void StampRunnable(ControlBlock& fiber);

  // A fiber that was made runnable while the worker, without a processor, ran the reactor.
  void Collect(ControlBlock& fiber);
  bool has_collected() const { return collected_ != nullptr; }

  std::thread& thread() { return thread_; }

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
  // `follows`: on a fiber that has just left.
  void Load(ControlBlock& next, bool follows);
  // Accounting; the slow halves are taken for slices and waits that are measured.
  void EndSlice(ControlBlock& self);
  void EndMeasuredSlice(ControlBlock& self);
  void BeginMeasuredSlice(ControlBlock& next, bool measure);

  // What to run next; null when the scheduler stops.
  ControlBlock* FindRunnable();
  ControlBlock* Search();
  ControlBlock* WaitForTurn();
  void HandOver(ControlBlock& fiber);
  bool AcquireProcessor();
  void Take(Processor& processor);  // Adopt(), which a trace does not see
  void SetProcessor(Processor* processor);
  Processor& GiveUpProcessor();
  ControlBlock* TakeInjected(bool oldest);
  ControlBlock* Steal();
  bool RunTimers(int64_t now_ns, int64_t grace_ns);
  void PollReactor(int64_t now_ns);
  void Sleep();
  void DeliverCollected();
  void Found();

  SchedulerCore& core_;
  Processor* processor_ = nullptr;
  SwitchTarget own_context_;
  StackBounds own_stack_;
  // This thread's, taken once on this thread: the fiber's code must not, see park.h.
  ExceptionState* exceptions_ = nullptr;
  int* errno_ = nullptr;
  Departure departure_;
  uint32_t turns_ = 0;
  SliceClock slice_clock_;
  bool spinning_ = false;
  // The only fiber that this worker runs, once it has locked the thread.
  ControlBlock* locked_fiber_ = nullptr;
  // Was picked as a successor, but another worker must run it.
  ControlBlock* set_aside_ = nullptr;
  // While the fiber is in a blocking call: the processor it had, and may get back.
  Processor* blocking_processor_ = nullptr;
  BlockingTicket blocking_ticket_;

  int64_t last_poll_ns_ = 0;
  int64_t poll_interval_ns_ = 0;
  uint32_t steal_start_ = 0;
  ControlBlock* collected_ = nullptr;  // chain through ControlBlock::next, newest first
  std::atomic<int> thread_id_{0};
  TraceThread* trace_thread_ = nullptr;  // of its thread; set once, before others see the worker
  Sleeper sleeper_;
  std::thread thread_;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_WORKER_H_
