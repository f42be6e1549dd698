#include "runtime/pool.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "absl/strings/str_format.h"
#include "runtime/base/clock.h"
#include "runtime/process_pools.h"
#include "runtime/spawn.h"
#include "runtime/this_fiber.h"

// A fiber of the pool takes one task after the other and ends when there is none. So while a task waits in the queue,
// all fibers that the pool may have are alive, and a submitter that finds fewer needs not look at the queue.
//
// A task is at each moment in one place, and counted there: with its submitter, in the queue, or active, that is, given
// to a fiber or run by its submitter. Only the lock moves it on.

namespace fiberscope {
namespace internal {

// The function of a fiber of the pool. If the scheduler stops before the fiber runs, or while it does, what is left is
// discarded.
class PoolFiber {
 public:
  PoolFiber(Pool& pool, OneShotRef<PoolTask> task) : pool_(&pool), task_(std::move(task)) { pool.fibers_.Add(); }
  PoolFiber(PoolFiber&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), task_(std::move(other.task_)) {}
  PoolFiber& operator=(PoolFiber&&) = delete;
  ~PoolFiber() {
    if (pool_ == nullptr) return;
    if (!finished_) Abandon();
    pool_->fibers_.Done();  // the pool may be gone from here on
  }

  void operator()() {
    pool_->RunTasks(std::exchange(task_, {}));
    finished_ = true;
  }
  // Of a fiber that could not be spawned.
  OneShotRef<PoolTask> TakeBack() {
    finished_ = true;
    return std::exchange(task_, {});
  }

 private:
  void Abandon() {
    if (task_) task_->Discard(absl::CancelledError("the scheduler stopped before the task was started"));
    {
      std::lock_guard guard(pool_->lock_);
      --pool_->fiber_count_;
      if (task_) {
        pool_->End(*task_);
        ++pool_->metrics_.cancelled;
      }
    }
    pool_->DiscardQueue();
  }

  Pool* pool_;
  OneShotRef<PoolTask> task_;
  bool finished_ = false;
};

std::exception_ptr PoolStatusException(const absl::Status& status) {
  return std::make_exception_ptr(absl::BadStatusOrAccess(status));
}

void ThrowPoolStatus(const absl::Status& status) { throw absl::BadStatusOrAccess(status); }

int64_t PoolDeadlineNs(std::chrono::nanoseconds timeout) {
  int64_t deadline_ns;
  if (__builtin_add_overflow(MonotonicNowNs(), timeout.count(), &deadline_ns)) {
    return timeout.count() > 0 ? WaitLimits::kNoDeadline : 0;
  }
  return deadline_ns;
}

absl::Status PoolWaitStatus(WaitOutcome outcome) {
  switch (outcome) {
    case WaitOutcome::kDone:
      return absl::OkStatus();
    case WaitOutcome::kTimedOut:
      return absl::DeadlineExceededError("the task is not done yet");
    case WaitOutcome::kCancelled:
      return absl::CancelledError("cancelled while waiting for a task");
    default:
      ThrowStopped();
      return absl::CancelledError("the scheduler has stopped");
  }
}

}  // namespace internal

namespace {

PoolOptions Checked(PoolOptions options) {
  if (options.fibers == 0) throw std::invalid_argument("PoolOptions::fibers is 0; a pool needs at least one");
  return options;
}

}  // namespace

size_t PoolMetrics::WaitBucket(int64_t wait_ns) {
  if (wait_ns <= 0) return 0;
  return std::min<size_t>(std::bit_width(static_cast<uint64_t>(wait_ns)), kWaitBuckets - 1);
}

Pool::Pool(internal::SchedulerCore& core, PoolOptions options)
    : options_(Checked(std::move(options))), core_(core), uncaught_exceptions_(std::uncaught_exceptions()) {
  internal::ListPool(*this);
}

Pool::Pool(Scheduler& scheduler, PoolOptions options) : Pool(scheduler.get_executor().core(), std::move(options)) {}

Pool::Pool(PoolOptions options) : Pool(internal::CurrentCore(), std::move(options)) {}

Pool::~Pool() {
  Close(std::uncaught_exceptions() > uncaught_exceptions_ ? PoolStop::kCancel : PoolStop::kDrain);
  std::ignore = WaitForFibers();
  internal::UnlistPool(*this);
}

// ---- Submitting

absl::Status Pool::Accept(TaskRef task) {
  const Context context = this_fiber::context();
  task->labels = this_fiber::labels();
  task->source = context.WithCancel();
  const bool cancelled = context.cancelled();
  lock_.lock();
  if (stopped_ || cancelled) {
    ++metrics_.rejected;
    lock_.unlock();
    return cancelled ? absl::CancelledError(context.cause().message())
                     : absl::FailedPreconditionError(absl::StrFormat("pool %s was stopped", options_.name));
  }
  if (fiber_count_ < options_.fibers) {
    ++fiber_count_;
    CountAccepted(*task);
    Begin(*task);
    lock_.unlock();
    return SpawnFor(std::move(task));
  }
  if (metrics_.queued < options_.queue_capacity) {
    CountAccepted(*task);
    Enqueue(std::move(task));
    lock_.unlock();
    return absl::OkStatus();
  }
  return AcceptWhenFull(task);
}

absl::Status Pool::AcceptWhenFull(TaskRef& task) {
  switch (options_.when_full) {
    case WhenPoolFull::kReject:
      ++metrics_.rejected;
      lock_.unlock();
      return absl::ResourceExhaustedError(absl::StrFormat("pool %s is full: %d fibers, %d tasks queued", options_.name,
                                                          options_.fibers, options_.queue_capacity));
    case WhenPoolFull::kCallerRuns: {
      CountAccepted(*task);
      Begin(*task);
      ++metrics_.caller_runs;
      lock_.unlock();
      fibers_.Add();
      const std::unique_ptr<internal::FiberGroup, void (*)(internal::FiberGroup*)> done(
          &fibers_, [](internal::FiberGroup* group) { group->Done(); });
      RunTask(*task);
      return absl::OkStatus();
    }
    case WhenPoolFull::kBlock:
      break;
  }
  ++metrics_.blocked;
  const internal::WaitOutcome outcome = internal::WaitIn(submitters_, lock_, {.reason = WaitReason::kSuspend}, &task);
  if (outcome == internal::WaitOutcome::kDone) return absl::OkStatus();
  // The pool may be gone.
  if (outcome == internal::WaitOutcome::kClosed) return absl::FailedPreconditionError("the pool was stopped");
  {
    std::lock_guard guard(lock_);
    --metrics_.blocked;
    ++metrics_.rejected;
  }
  if (outcome == internal::WaitOutcome::kStopped) internal::ThrowStopped();
  return absl::CancelledError(absl::StrFormat("cancelled while waiting for room in pool %s", options_.name));
}

absl::Status Pool::SpawnFor(TaskRef task) {
  const Context background;
  const Labels no_labels;
  internal::PoolFiber function(*this, std::move(task));
  const absl::StatusOr<Fiber> fiber = internal::SpawnFunction(
      core_, std::move(function),
      {.name = options_.name, .stack_bytes = options_.stack_bytes, .labels = &no_labels, .context = &background});
  if (fiber.ok()) return absl::OkStatus();
  // The function is untouched.
  const TaskRef refused = function.TakeBack();
  std::lock_guard guard(lock_);
  End(*refused);
  --fiber_count_;
  --metrics_.submitted;
  ++metrics_.rejected;
  return fiber.status();
}

// ---- Running

void Pool::RunTasks(TaskRef task) {
  for (; task; task = NextTask()) {
    this_fiber::SetLabels(task->labels);
    RunTask(*task);
    this_fiber::SetLabels({});
  }
}

void Pool::RunTask(internal::PoolTask& task) {
  struct Ending {
    Pool& pool;
    internal::PoolTask& task;
    bool started = false;
    ~Ending() {
      std::lock_guard guard(pool.lock_);
      pool.End(task);
      ++(started ? pool.metrics_.completed : pool.metrics_.cancelled);
    }
  };
  const Context& context = task.source.context();
  if (context.cancelled()) {
    const Ending ending{*this, task};
    task.Discard(absl::CancelledError(context.cause().message()));
    return;
  }
  const int64_t wait_ns = MonotonicNowNs() - task.accepted_ns;
  {
    std::lock_guard guard(lock_);
    ++metrics_.wait_ns_buckets[PoolMetrics::WaitBucket(wait_ns)];
    metrics_.wait_ns_sum += static_cast<uint64_t>(std::max<int64_t>(wait_ns, 0));
  }
  const Ending ending{*this, task, true};
  std::optional<ContextScope> scope;
  if (this_fiber::id()) scope.emplace(context);  // a plain thread that runs the task itself has none to set
  try {
    task.Run();
  } catch (const internal::ForcedUnwind&) {
    task.Discard(absl::CancelledError("the scheduler stopped while the task was running"));
    throw;
  }
}

Pool::TaskRef Pool::NextTask() {
  internal::WakeList admitted;
  TaskRef task;
  {
    std::lock_guard guard(lock_);
    const auto take_from_submitter = [&]() -> TaskRef {
      internal::Waiter* const submitter = submitters_.ClaimFront();
      if (submitter == nullptr) return {};
      TaskRef taken = std::move(*static_cast<TaskRef*>(submitter->slot));
      --metrics_.blocked;
      CountAccepted(*taken);
      admitted.PushBack(*submitter);
      return taken;
    };
    task = PopQueue();
    if (!task) task = take_from_submitter();
    while (metrics_.queued < options_.queue_capacity) {
      TaskRef next = take_from_submitter();
      if (!next) break;
      Enqueue(std::move(next));
    }
    if (task) {
      Begin(*task);
    } else {
      --fiber_count_;
    }
  }
  internal::WakeAll(admitted, internal::WaitOutcome::kDone);
  return task;
}

// ---- With the lock held

void Pool::CountAccepted(internal::PoolTask& task) {
  task.accepted_ns = MonotonicNowNs();
  ++metrics_.submitted;
}

void Pool::Enqueue(TaskRef task) {
  internal::PoolTask* const last = task.get();
  (last_ != nullptr ? last_->next : first_) = std::move(task);
  last_ = last;
  ++metrics_.queued;
}

Pool::TaskRef Pool::PopQueue() {
  TaskRef task = std::move(first_);
  if (!task) return task;
  first_ = std::move(task->next);
  if (!first_) last_ = nullptr;
  --metrics_.queued;
  return task;
}

void Pool::Begin(internal::PoolTask& task) {
  task.next_active = first_active_;
  if (first_active_ != nullptr) first_active_->prev_active = &task;
  first_active_ = &task;
  ++metrics_.active;
}

void Pool::End(internal::PoolTask& task) {
  (task.prev_active != nullptr ? task.prev_active->next_active : first_active_) = task.next_active;
  if (task.next_active != nullptr) task.next_active->prev_active = task.prev_active;
  --metrics_.active;
}

// ---- Stopping

void Pool::Stop(PoolStop how) {
  Close(how);
  if (!WaitForFibers()) internal::ThrowStopped();
}

void Pool::Close(PoolStop how) {
  internal::WakeList submitters;
  {
    std::lock_guard guard(lock_);
    stopped_ = true;
    while (internal::Waiter* const submitter = submitters_.ClaimFront()) {
      submitters.PushBack(*submitter);
      --metrics_.blocked;
      ++metrics_.rejected;
    }
  }
  internal::WakeAll(submitters, internal::WaitOutcome::kClosed);
  if (how != PoolStop::kCancel) return;
  DiscardQueue();
  CancelActive();
}

bool Pool::WaitForFibers() {
  const bool drained = fibers_.Wait();
  DiscardQueue();  // of a scheduler that has stopped
  return drained;
}

void Pool::DiscardQueue() {
  for (;;) {
    TaskRef task;
    {
      std::lock_guard guard(lock_);
      task = PopQueue();
      if (!task) return;
      ++metrics_.cancelled;
    }
    task->Discard(absl::CancelledError(absl::StrFormat("pool %s was stopped", options_.name)));
  }
}

void Pool::CancelActive() {
  for (;;) {
    TaskRef task;
    {
      std::lock_guard guard(lock_);
      internal::PoolTask* at = first_active_;
      while (at != nullptr && at->cancel_requested) at = at->next_active;
      if (at == nullptr) return;
      at->cancel_requested = true;
      task = TaskRef(at);
    }
    task->source.Cancel(absl::CancelledError(absl::StrFormat("pool %s was stopped", options_.name)));
  }
}

PoolMetrics Pool::metrics() const {
  std::lock_guard guard(lock_);
  return metrics_;
}

}  // namespace fiberscope
