// What the workers of one scheduler share. Internal: users see scheduler.h.
#ifndef FIBERSCOPE_RUNTIME_SCHEDULER_CORE_H_
#define FIBERSCOPE_RUNTIME_SCHEDULER_CORE_H_

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/control_block.h"
#include "runtime/idle_workers.h"
#include "runtime/inject_queue.h"
#include "runtime/processor.h"
#include "runtime/worker.h"

namespace fiberscope::internal {

class SchedulerCore {
 public:
  struct Options {
    uint32_t processors = 1;
    uint32_t run_queue_capacity = 256;
    std::string name;
  };

  // Starts the workers. Throws std::system_error when a thread cannot be made.
  explicit SchedulerCore(const Options& options);
  ~SchedulerCore();
  SchedulerCore(const SchedulerCore&) = delete;
  SchedulerCore& operator=(const SchedulerCore&) = delete;

  // A block with a prepared stack, in state kDead, for one fiber of this scheduler. Any thread.
  absl::StatusOr<ControlBlock*> TakeBlock(StackClass stack_class);
  // Gives back a block that was taken and not started.
  void GiveBack(ControlBlock& block);
  // Counts the new fiber, makes it runnable, and wakes a worker for it. Any thread.
  void Start(ControlBlock& fiber);

  // Puts a runnable fiber where a worker will find it, and wakes one if need be. Any thread; on a worker of this scheduler the
  // fiber runs next.
  void Enqueue(ControlBlock& fiber);

  void Stop();
  // No new fibers, workers end.
  bool stopping() const { return stopping_.load(std::memory_order_acquire); }
  // The workers have ended; fibers that wait are being told to unwind.
  bool unwinding() const { return unwinding_.load(std::memory_order_relaxed); }

  boost::asio::io_context& reactor() { return reactor_; }
  InjectQueue& inject() { return inject_; }
  IdleWorkers& idle() { return idle_; }
  const std::vector<std::unique_ptr<Processor>>& processors() const { return processors_; }

  // The role of the one worker that runs the reactor at the moment, asleep in it or in passing. Only the owner runs
  // handlers: otherwise a worker in passing could run the empty handler that was to wake the sleeper.
  bool reactor_owned() const { return reactor_owned_.load(std::memory_order_relaxed); }
  bool TryOwnReactor() { return !reactor_owned() && !reactor_owned_.exchange(true, std::memory_order_acquire); }
  void DisownReactor() { reactor_owned_.store(false, std::memory_order_release); }
  // Sleeps in the reactor until something happens there, the earliest timer of any processor is due, or `sleeper` is
  // woken. Owner only; the two belong to the calling worker.
  void SleepInReactor(const Processor& processor, const Sleeper& sleeper);
  // Called when a processor goes to sleep on a futex: whoever sleeps in the reactor must not sleep past its timers.
  void CoverTimers(Processor& processor);

 private:
  bool CallerIsForeign() const;  // not a worker of this scheduler
  int64_t EarliestDeadline() const;
  void InterruptReactor();
  void UnwindFibers();

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
  std::vector<std::unique_ptr<Processor>> processors_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint32_t> foreign_spawns_{0};  // between TakeBlock and Start or GiveBack
  std::atomic<bool> unwinding_{false};
  std::mutex stop_mutex_;
  bool stopped_ = false;  // GUARDED_BY(stop_mutex_)
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SCHEDULER_CORE_H_
