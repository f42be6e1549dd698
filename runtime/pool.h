// A bounded number of fibers for work that arrives faster than it can be done: at most so many run, at most so many
// wait.
//
//   Pool pool(scheduler, {.fibers = 8, .queue_capacity = 100, .when_full = WhenPoolFull::kReject, .name =
//   "thumbnails"}); absl::StatusOr<PoolFuture<Image>> image = pool.Submit([=] { return Shrink(photo); }); if
//   (!image.ok()) return Busy(image.status()); Show(image->Get());
//
// Use it to protect what is behind it (a disk, a database, memory); to run things at the same time without a bound,
// spawn fibers, which are cheaper. A fiber of the pool is spawned when there is work for it and ends when there is
// none.
//
// Work runs in the order of submission, with the labels and in the context of its submitter (context.h): work whose
// context is cancelled before it starts does not run, and when it is cancelled later its waits end.
//
// Thread-safe; fibers and plain threads may submit, wait and stop. Resource: neither copied nor moved. The scheduler
// must outlive the pool. Cost: three allocations per task (task, context, the fiber's tie to it), a lock round trip at
// its submission, start and end.
#ifndef FIBERSCOPE_RUNTIME_POOL_H_
#define FIBERSCOPE_RUNTIME_POOL_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/futex_lock.h"
#include "runtime/context.h"
#include "runtime/fiber_group.h"
#include "runtime/labels.h"
#include "runtime/one_shot.h"
#include "runtime/park.h"
#include "runtime/scheduler.h"
#include "runtime/waiter.h"

namespace fiberscope {

enum class WhenPoolFull : uint8_t {
  kReject,      // Submit returns kResourceExhausted
  kBlock,       // Submit waits for room. Parks the fiber (WaitReason::kSuspend) or blocks the thread
  kCallerRuns,  // Submit runs the work itself, which slows down whoever submits too much
};

struct PoolOptions {
  // How many tasks run at the same time; at least 1.
  uint32_t fibers = 1;
  // How many tasks may wait for a fiber. 0: only what can run at once is accepted.
  size_t queue_capacity = 0;
  WhenPoolFull when_full = WhenPoolFull::kReject;
  // Of the pool's fibers in dumps.
  std::string name = "pool";
  size_t stack_bytes = 64 * 1024;
};

// What a pool has done. The figures are of one moment:
//   submitted == completed + cancelled + active + queued
struct PoolMetrics {
  // Element 0: waits under 1 ns; i: 2^(i-1) <= wait < 2^i ns; the last one: all longer ones, from 2^38 ns = 275 s on.
  static constexpr size_t kWaitBuckets = 40;

  uint64_t submitted = 0;    // accepted, including those that callers ran
  uint64_t completed = 0;    // returned or thrown
  uint64_t cancelled = 0;    // accepted, but never started
  uint64_t rejected = 0;     // not accepted: full, stopped, or given up while waiting for room
  uint64_t caller_runs = 0;  // run by their submitter, or being so
  uint64_t active = 0;       // running now
  uint64_t queued = 0;       // waiting for a fiber now
  uint64_t blocked = 0;      // submitters that wait for room now
  // From acceptance to start, of tasks that started.
  std::array<uint64_t, kWaitBuckets> wait_ns_buckets{};
  uint64_t wait_ns_sum = 0;

  // The element that a wait of that length counts in.
  static size_t WaitBucket(int64_t wait_ns);
};

enum class PoolStop : uint8_t {
  kDrain,   // all that was accepted is done
  kCancel,  // what has not started never will, what runs is cancelled
};

template <typename T>
class PoolFuture;

namespace internal {

// One piece of work: run or discarded, once.
struct PoolTask : OneShot {
  // Fibers that the task has spawned keep its context.
  ~PoolTask() override { std::ignore = std::move(source).Release(); }
  virtual void Run() = 0;
  // It will not be run, or not to its end; `why` is not OK.
  virtual void Discard(const absl::Status& why) = 0;

  // The pool's; guarded by its lock once the task was accepted.
  OneShotRef<PoolTask> next;  // in the queue
  PoolTask* next_active = nullptr;
  PoolTask* prev_active = nullptr;
  int64_t accepted_ns = 0;
  bool cancel_requested = false;
  // Set before it is accepted.
  Labels labels;
  CancelSource source;  // below the submitter's context
};

template <typename T>
struct PoolResult : PoolTask {
  using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

  std::optional<Value> value;
  std::exception_ptr exception;
  absl::Status status;  // of a task that never ran
};

// Calls `function`; what it returns or throws goes to `value` or `exception`. A stop goes on unwinding the fiber.
template <typename Value, typename F>
void CallForPool(F& function, std::optional<Value>& value, std::exception_ptr& exception) {
  try {
    if constexpr (std::is_same_v<Value, std::monostate>) {
      function();
      value.emplace();
    } else {
      value.emplace(function());
    }
  } catch (const ForcedUnwind&) {
    throw;
  } catch (...) {
    exception = std::current_exception();
  }
}

template <typename T, typename F>
struct FutureTask final : PoolResult<T> {
  template <typename Function>
  explicit FutureTask(Function&& f) : function(std::in_place, std::forward<Function>(f)) {}

  void Run() override {
    CallForPool(*function, this->value, this->exception);
    function.reset();  // what it holds is not kept by the future
    this->Publish();
  }
  void Discard(const absl::Status& why) override {
    function.reset();
    this->status = why;
    this->Publish();
  }

  std::optional<F> function;
};

std::exception_ptr PoolStatusException(const absl::Status& status);

template <typename T, typename F, typename Done>
struct CallbackTask final : PoolTask {
  using Value = typename PoolResult<T>::Value;

  template <typename Function, typename Callback>
  CallbackTask(Function&& f, Callback&& d)
      : function(std::in_place, std::forward<Function>(f)), done(std::forward<Callback>(d)) {}

  void Run() override {
    std::optional<Value> value;
    std::exception_ptr exception;
    CallForPool(*function, value, exception);
    function.reset();
    Finish(std::move(exception), std::move(value));
  }
  void Discard(const absl::Status& why) override {
    function.reset();
    Finish(PoolStatusException(why), std::nullopt);
  }
  void Finish(std::exception_ptr exception, std::optional<Value> value) {
    if constexpr (std::is_void_v<T>) {
      done(std::move(exception));
    } else {
      done(std::move(exception), std::move(value));
    }
  }

  std::optional<F> function;
  Done done;
};

class PoolFiber;

[[noreturn]] void ThrowPoolStatus(const absl::Status& status);
int64_t PoolDeadlineNs(std::chrono::nanoseconds timeout);
absl::Status PoolWaitStatus(WaitOutcome outcome);

}  // namespace internal

// The result of a task, to be had once. Movable. Dropping it does not stop the task.
template <typename T>
class PoolFuture {
 public:
  bool ready() const { return result_->published(); }

  // Waits for the task. Returns its result or throws what it threw; absl::BadStatusOrAccess if it never ran
  // (kCancelled). Throws WaitCancelled when the calling fiber is cancelled first. Parks the fiber
  // (WaitReason::kSuspend) or blocks the thread.
  T Get() {
    internal::ThrowInterrupted(Wait(internal::WaitLimits::kNoDeadline));
    return Take();
  }

  // Waits no longer than `timeout`, and not beyond a cancellation of the calling fiber: kDeadlineExceeded or
  // kCancelled, and the future can be asked again. OK: Get() returns at once.
  absl::Status WaitFor(std::chrono::nanoseconds timeout) {
    return internal::PoolWaitStatus(Wait(internal::PoolDeadlineNs(timeout)));
  }

 private:
  friend class Pool;
  explicit PoolFuture(internal::OneShotRef<internal::PoolResult<T>> result) : result_(std::move(result)) {}

  internal::WaitOutcome Wait(int64_t deadline_ns) {
    return result_->Wait({.reason = WaitReason::kSuspend}, {.deadline_ns = deadline_ns});
  }
  T Take() {
    if (!result_->published()) internal::ThrowPoolStatus(absl::CancelledError("the scheduler has stopped"));
    if (result_->exception) std::rethrow_exception(result_->exception);
    if (!result_->status.ok()) internal::ThrowPoolStatus(result_->status);
    if constexpr (!std::is_void_v<T>) return *std::move(result_->value);
  }

  internal::OneShotRef<internal::PoolResult<T>> result_;
};

class Pool {
 public:
  // Runs its fibers on `scheduler`. Throws std::invalid_argument for options out of range.
  Pool(Scheduler& scheduler, PoolOptions options);
  // The same on the scheduler of the calling fiber. Fiber-only.
  explicit Pool(PoolOptions options);
  ~Pool();  // Stop(kDrain); Stop(kCancel) if the block is being left by an exception
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Accepts `function()` as one task; its result or exception goes to the future. Errors: kResourceExhausted when the
  // pool is full (kReject), kFailedPrecondition when it was stopped, kCancelled when the submitter is cancelled, before
  // or while it waits for room. After an error the function has not run and is destroyed. A task of this pool that
  // submits to it with kBlock may wait for itself.
  template <typename F>
  auto Submit(F&& function) -> absl::StatusOr<PoolFuture<std::invoke_result_t<std::decay_t<F>&>>> {
    using T = std::invoke_result_t<std::decay_t<F>&>;
    internal::OneShotRef<internal::PoolResult<T>> task(
        new internal::FutureTask<T, std::decay_t<F>>(std::forward<F>(function)));
    if (absl::Status status = Accept(internal::OneShotRef<internal::PoolTask>(task.get())); !status.ok()) return status;
    return PoolFuture<T>(std::move(task));
  }

  // The same, and calls `done(exception)` or `done(exception, result)`, with Asio's signature of a coroutine's
  // completion, on the fiber that ran the task; result is an std::optional, empty after an exception. `done` is called
  // exactly once after OK: of a task that never ran, with BadStatusOrAccess, on whatever fiber or thread stops the
  // pool. It must not throw.
  template <typename F, typename Done>
  absl::Status Submit(F&& function, Done&& done) {
    using T = std::invoke_result_t<std::decay_t<F>&>;
    return Accept(
        internal::OneShotRef<internal::PoolTask>(new internal::CallbackTask<T, std::decay_t<F>, std::decay_t<Done>>(
            std::forward<F>(function), std::forward<Done>(done))));
  }

  // Accepts nothing more, and waits until all tasks have ended. Submitters that wait for room get kFailedPrecondition.
  // Any number of times; kCancel after or during kDrain cancels what is left. Not from a task of this pool. Parks the
  // fiber or blocks the thread; not cancellable.
  void Stop(PoolStop how);

  // Never blocks for longer than a few instructions.
  PoolMetrics metrics() const;
  const PoolOptions& options() const { return options_; }

 private:
  friend class internal::PoolFiber;
  using TaskRef = internal::OneShotRef<internal::PoolTask>;

  Pool(internal::SchedulerCore& core, PoolOptions options);

  // `task` stays the caller's on error.
  absl::Status Accept(TaskRef task);
  absl::Status AcceptWhenFull(TaskRef& task);  // the lock is held on entry and released
  void Close(PoolStop how);
  bool WaitForFibers();
  void DiscardQueue();
  void CancelActive();

  // On the fiber or thread that does the work: the task is active. Returns when there is none left.
  void RunTasks(TaskRef task);
  void RunTask(internal::PoolTask& task);
  // The next task for a fiber that has ended `done`, made active; null: the fiber must end.
  TaskRef NextTask();
  absl::Status SpawnFor(TaskRef task);

  // All with lock_ held.
  void CountAccepted(internal::PoolTask& task);
  void Enqueue(TaskRef task);
  TaskRef PopQueue();
  void Begin(internal::PoolTask& task);
  void End(internal::PoolTask& task);

  const PoolOptions options_;
  internal::SchedulerCore& core_;
  const int uncaught_exceptions_;
  internal::FiberGroup fibers_;  // and callers while they run a task
  mutable FutexLock lock_;
  // GUARDED_BY(lock_), all that follow.
  uint32_t fiber_count_ = 0;
  internal::OneShotRef<internal::PoolTask> first_;  // the queue
  internal::PoolTask* last_ = nullptr;
  internal::PoolTask* first_active_ = nullptr;
  internal::WaitQueue submitters_;  // each waiter's slot points at its OneShotRef<PoolTask>
  bool stopped_ = false;
  PoolMetrics metrics_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_POOL_H_
