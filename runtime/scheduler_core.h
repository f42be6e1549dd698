// What the workers of one scheduler share. Internal: users see scheduler.h.
//
// Three parts: where fibers enter (TakeBlock, Start, Enqueue), the reactor, and the fleet: how many processors and workers there
// are. Processor objects are made when first needed and live as long as the scheduler, so anyone may look at them; how many of
// them are in use is limit_ = the number set by the user + those lent in place of stalled ones. When there are more, idle ones are
// retired at once, and the others by their workers. Retired processors keep their timers, which every worker looks after.
#ifndef FIBERSCOPE_RUNTIME_SCHEDULER_CORE_H_
#define FIBERSCOPE_RUNTIME_SCHEDULER_CORE_H_

#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/control_block.h"
#include "runtime/idle_workers.h"
#include "runtime/inject_queue.h"
#include "runtime/metrics.h"
#include "runtime/monitor.h"
#include "runtime/processor.h"
#include "runtime/stall_report.h"
#include "runtime/worker.h"

namespace fiberscope::internal {

class SchedulerCore {
 public:
  static constexpr uint32_t kMaxProcessors = 128;
  // In place of stalled ones, at the same time. As many may stand for fibers that compute as the user set processors.
  static constexpr uint32_t kMaxLent = 16;
  static constexpr uint32_t kMaxProcessorObjects = kMaxProcessors + kMaxLent;

  struct Options {
    uint32_t processors = 1;
    uint32_t max_workers = 10'000;
    uint32_t run_queue_capacity = 256;
    std::string name;
    std::chrono::nanoseconds stall_after = std::chrono::milliseconds(10);
    StallHandler on_stall;
  };

  // Starts the monitor and a worker per processor. Throws std::system_error when a thread cannot be made.
  explicit SchedulerCore(const Options& options);
  ~SchedulerCore();
  SchedulerCore(const SchedulerCore&) = delete;
  SchedulerCore& operator=(const SchedulerCore&) = delete;

  const std::string& name() const { return options_.name; }

  // -- Fibers.

  // A block with a prepared stack, in state kDead, for one fiber of this scheduler. Any thread.
  absl::StatusOr<ControlBlock*> TakeBlock(StackClass stack_class);
  // Gives back a block that was taken and not started.
  void GiveBack(ControlBlock& block);
  // Counts the new fiber, makes it runnable, and wakes a worker for it. Any thread.
  void Start(ControlBlock& fiber);

  // Puts a runnable fiber where a worker will find it, and wakes one if need be. Any thread; on a worker of this scheduler that
  // has a processor the fiber runs next.
  void Enqueue(ControlBlock& fiber);
  // The same, into the inject queue.
  void Inject(ControlBlock& fiber);

  // Anything in any run queue or in the inject queue.
  bool has_queued() const;

  // -- Stopping.

  // Waits up to `drain` for the fibers to finish, while only they may spawn; then ends the workers and unwinds what is left.
  // Returns whether nothing was left. Later calls wait for the first one and return true.
  bool Stop(std::chrono::nanoseconds drain);
  // No new fibers, workers end.
  bool stopping() const { return stopping_.load(std::memory_order_acquire); }
  // The workers have ended; fibers that wait are being told to unwind.
  bool unwinding() const { return unwinding_.load(std::memory_order_relaxed); }
  // Stop() waits for the last fiber.
  bool draining() const { return draining_.load(std::memory_order_relaxed); }
  void OnFinishedWhileDraining();

  // -- Processors and workers.

  InjectQueue& inject() { return inject_; }
  IdleWorkers& idle() { return idle_; }
  // All that were ever made, by index. Any thread.
  std::span<Processor* const> processors() const {
    return {processors_.data(), processor_objects_.load(std::memory_order_acquire)};
  }
  // Those in use, at least 1. Of some recent moment.
  uint32_t processor_count() const { return processor_count_.load(std::memory_order_relaxed); }
  uint32_t processors_wanted() const;

  void SetProcessors(uint32_t processors);
  // One more, in place of a stalled one. False: enough are lent.
  bool Lend(StallReport::Kind kind);
  void EndLend(StallReport::Kind kind);

  // More processors are in use than should be.
  bool has_excess() const { return excess_.load(std::memory_order_relaxed); }
  // Takes the caller's processor out of use if that is still so.
  bool TryRetire(Processor& processor);

  // A processor that the caller has goes to whoever needs it, or idle.
  void HandOff(Processor& processor);
  void CountHandOff() { handoffs_.fetch_add(1, std::memory_order_relaxed); }

  // False when there are as many as allowed, or no thread can be made (counted).
  bool TryStartWorker();

  // -- For the monitor.
  bool nothing_to_watch();
  void NoteLiveFibers();

  SchedulerMetrics Metrics();

  // -- The reactor.

  boost::asio::io_context& reactor() { return reactor_; }
  // The role of the one worker that runs the reactor at the moment, asleep in it or in passing. Only the owner runs
  // handlers: otherwise a worker in passing could run the empty handler that was to wake the sleeper.
  bool reactor_owned() const { return reactor_owned_.load(std::memory_order_relaxed); }
  bool TryOwnReactor() { return !reactor_owned() && !reactor_owned_.exchange(true, std::memory_order_acquire); }
  void DisownReactor() { reactor_owned_.store(false, std::memory_order_release); }
  // Sleeps in the reactor until that has made a fiber runnable, the earliest timer of any processor is due, or the worker is
  // woken. Owner only, without a processor.
  void SleepInReactor(Worker& worker);
  // Called when a processor becomes idle or retires: whoever sleeps in the reactor must not sleep past its timers.
  void CoverTimers(Processor& processor);

 private:
  void AwaitForeignCalls() const;  // a few instructions each
  bool CallerIsForeign() const;  // not a worker of this scheduler
  int64_t EarliestDeadline() const;
  void InterruptReactor();
  void JoinWorkers();
  void UnwindFibers();
  int64_t LiveFibers() const;

  // processors_mutex_ held.
  Processor* UnusedProcessor();
  void AdjustProcessors();
  void SetProcessorCount(uint32_t count);

  const Options options_;
  boost::asio::io_context reactor_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> reactor_work_;
  std::atomic<bool> reactor_owned_{false};
  // Owned by whoever owns the reactor.
  boost::asio::steady_timer wake_timer_;
  int64_t armed_deadline_ns_ = TimerQueue::kNever;
  // Until when the owner sleeps; kNever while nobody does. See CoverTimers.
  std::atomic<int64_t> sleeping_until_ns_{TimerQueue::kNever};

  InjectQueue inject_;
  IdleWorkers idle_;

  mutable std::mutex processors_mutex_;
  std::array<Processor*, kMaxProcessorObjects> processors_{};  // entries are written once, before the count
  std::atomic<uint32_t> processor_objects_{0};                 // written under processors_mutex_
  std::atomic<uint32_t> processor_count_{0};                   // written under processors_mutex_
  std::atomic<bool> excess_{false};                            // written under processors_mutex_
  uint32_t wanted_ = 0;          // GUARDED_BY(processors_mutex_): by the user
  uint32_t lent_ = 0;            // GUARDED_BY(processors_mutex_)
  uint32_t lent_computing_ = 0;  // GUARDED_BY(processors_mutex_): of lent_
  std::vector<Processor*> retired_;  // GUARDED_BY(processors_mutex_)

  mutable std::mutex workers_mutex_;
  std::vector<std::unique_ptr<Worker>> workers_;  // GUARDED_BY(workers_mutex_)
  std::atomic<uint64_t> worker_failures_{0};

  std::atomic<uint64_t> handoffs_{0};
  std::atomic<uint64_t> foreign_started_{0};  // fibers spawned without a processor of ours
  std::atomic<int64_t> live_peak_{0};

  // Read at every switch, and written almost never: away from what is written.
  alignas(64) std::atomic<bool> stopping_{false};
  std::atomic<bool> draining_{false};
  std::atomic<bool> unwinding_{false};
  alignas(64) std::atomic<uint32_t> drained_{0};  // a futex: the last fiber has finished
  // Calls by threads that are no workers of ours: between TakeBlock and Start or GiveBack, and in Enqueue.
  std::atomic<uint32_t> foreign_calls_{0};
  std::mutex stop_mutex_;
  bool stopped_ = false;  // GUARDED_BY(stop_mutex_)

  std::unique_ptr<Monitor> monitor_;  // last: it uses all of the above
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SCHEDULER_CORE_H_
