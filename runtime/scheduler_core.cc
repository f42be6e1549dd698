#include "runtime/scheduler_core.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <system_error>

#include "absl/strings/str_format.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/fence.h"
#include "runtime/base/futex.h"
#include "runtime/base/tick_clock.h"
#include "runtime/fiber_pool.h"
#include "runtime/scheduler_list.h"
#include "runtime/trace_hooks.h"

namespace fiberscope::internal {
namespace {

// How often a stopping scheduler tells a fiber to unwind before it gives up on it.
constexpr uint32_t kStopRequestLimit = 100;

[[noreturn]] void ThrowNoThread(const std::system_error& error, const std::string& which) {
  throw std::system_error(error.code(), absl::StrFormat("starting %s (limits: RLIMIT_NPROC, cgroup pids.max)", which));
}

}  // namespace

SchedulerCore::SchedulerCore(const Options& options)
    : options_(options),
      reactor_work_(boost::asio::make_work_guard(reactor_)),
      wake_timer_(reactor_),
      idle_({.argument = this,
             .interrupt_reactor = [](void* core) { static_cast<SchedulerCore*>(core)->InterruptReactor(); },
             .make_worker = [](void* core) { static_cast<SchedulerCore*>(core)->monitor_->RequestWorker(); },
             .wake_monitor = [](void* core) { static_cast<SchedulerCore*>(core)->monitor_->Wake(); }}),
      wanted_(options.processors) {
  try {
    monitor_ = std::make_unique<Monitor>(*this, options.stall_after, options.on_stall);
  } catch (const std::system_error& error) {
    ThrowNoThread(error, "the scheduler's monitor thread");
  }
  {
    std::lock_guard lock(processors_mutex_);
    AdjustProcessors();
  }
  // All of them now rather than when first needed: a limit on threads shows here and not under load.
  for (uint32_t i = 0; i < options.processors; ++i) {
    if (TryStartWorker()) continue;
    Stop(std::chrono::nanoseconds(0));
    TraceProcessorCount(processor_count(), 0);
    for (Processor* const processor : processors()) delete processor;
    ThrowNoThread(std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again)),
                  absl::StrFormat("worker thread %d of %d", i + 1, options.processors));
  }
  ListScheduler(*this);
}

SchedulerCore::~SchedulerCore() {
  Stop(std::chrono::nanoseconds(0));
  AwaitForeignCalls();
  UnlistScheduler(*this);
  TraceProcessorCount(processor_count(), 0);
  for (Processor* const processor : processors()) delete processor;
}

void SchedulerCore::AwaitForeignCalls() const {
  while (foreign_calls_.load(std::memory_order_acquire) != 0) sched_yield();
}

// ---- Fibers

bool SchedulerCore::CallerIsForeign() const {
  Worker* const worker = Worker::Current();
  return worker == nullptr || &worker->core() != this;
}

absl::StatusOr<ControlBlock*> SchedulerCore::TakeBlock(StackClass stack_class) {
  // Announce the spawn, then look: Stop() says that it stops, then waits until no announced spawn is left. Spawns by our own
  // workers need no announcement, since Stop() joins those.
  const bool foreign = CallerIsForeign();
  if (foreign) foreign_calls_.fetch_add(1, std::memory_order_seq_cst);
  const auto refused = [&](absl::Status status) {
    if (foreign) foreign_calls_.fetch_sub(1, std::memory_order_release);
    return status;
  };
  if (stopping_.load(std::memory_order_seq_cst) || (foreign && draining_.load(std::memory_order_seq_cst))) {
    return refused(absl::FailedPreconditionError("spawn on a scheduler that was stopped"));
  }
  Worker* const worker = Worker::Current();
  absl::StatusOr<ControlBlock*> block = worker != nullptr && worker->has_processor()
                                            ? worker->processor().shard().Take(stack_class)
                                            : FiberPool::Instance().TakeShared(stack_class);
  if (!block.ok()) return refused(block.status());
  (*block)->scheduler = this;
  return block;
}

void SchedulerCore::GiveBack(ControlBlock& block) {
  FiberPool::Instance().GiveShared(block);
  if (CallerIsForeign()) foreign_calls_.fetch_sub(1, std::memory_order_release);
}

void SchedulerCore::Start(ControlBlock& fiber) {
  Worker* const worker = Worker::Current();
  const bool foreign = worker == nullptr || &worker->core() != this;
  if (!foreign && worker->has_processor()) {
    worker->processor().shard().CountSpawned();
  } else {
    foreign_started_.fetch_add(1, std::memory_order_relaxed);
    FiberPool::Instance().CountSpawnedShared();
  }
  fiber.first_sequence.store(fiber.state.Load().sequence(), std::memory_order_relaxed);
  fiber.run_ns.store(0, std::memory_order_relaxed);
  fiber.runnable_ns.store(0, std::memory_order_relaxed);
  fiber.parks.store(0, std::memory_order_relaxed);
  fiber.runnable_stamp = {};
  fiber.state.MakeRunnable();
  Enqueue(fiber);
  // Release: the fiber is in a queue for whoever sees that no spawn is left.
  if (foreign) foreign_calls_.fetch_sub(1, std::memory_order_release);
}

void SchedulerCore::Enqueue(ControlBlock& fiber) {
  Worker* const worker = Worker::Current();
  if (worker == nullptr || &worker->core() != this) {
    fiber.runnable_stamp = {TickNowNs(), 1};  // next to a lock and perhaps a futex the clock costs little
    // The fiber may end, and somebody who waited for that destroy this scheduler, while we still look for a worker to wake.
    // Whoever sees the fiber end sees that we are here.
    foreign_calls_.fetch_add(1, std::memory_order_relaxed);
    Inject(fiber);
    foreign_calls_.fetch_sub(1, std::memory_order_release);  // pairs with AwaitForeignCalls()
    return;
  }
  worker->StampRunnable(fiber);
  if (worker->has_processor()) {
    worker->processor().PushNext(fiber);
    // On its own stack the worker looks at its queue next and wakes others then (Worker::Found): one wake-up for all that a
    // turn of the reactor made runnable.
    if (processor_count() > 1 && worker->current() != nullptr) idle_.WakeOne();
  } else if (worker->current() == nullptr) {
    worker->Collect(fiber);  // in the reactor
  } else {
    Inject(fiber);  // in a blocking call
  }
}

void SchedulerCore::Inject(ControlBlock& fiber) {
  inject_.Push(fiber);
  idle_.WakeOne();
}

bool SchedulerCore::has_queued() const {
  if (!inject_.empty()) return true;
  for (const Processor* const processor : processors()) {
    if (processor->has_queued()) return true;
  }
  return false;
}

int64_t SchedulerCore::LiveFibers() const {
  // Finished first: a fiber that is spawned and ends in between must not make the difference negative.
  uint64_t finished = 0;
  for (const Processor* const processor : processors()) finished += processor->finished();
  uint64_t spawned = foreign_started_.load(std::memory_order_relaxed);
  for (const Processor* const processor : processors()) spawned += processor->spawned();
  return static_cast<int64_t>(spawned - finished);
}

void SchedulerCore::NoteLiveFibers() {
  const int64_t live = LiveFibers();
  int64_t peak = live_peak_.load(std::memory_order_relaxed);
  while (live > peak && !live_peak_.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
}

// ---- Processors and workers

uint32_t SchedulerCore::processors_wanted() const {
  std::lock_guard lock(processors_mutex_);
  return wanted_;
}

Processor* SchedulerCore::UnusedProcessor() {
  if (!retired_.empty()) {
    Processor* const processor = retired_.back();
    retired_.pop_back();
    return processor;
  }
  const uint32_t index = processor_objects_.load(std::memory_order_relaxed);
  if (index == kMaxProcessorObjects) return nullptr;
  processors_[index] = new Processor(index, options_.run_queue_capacity, inject_);
  // Release pairs with the acquire in processors().
  processor_objects_.store(index + 1, std::memory_order_release);
  return processors_[index];
}

void SchedulerCore::SetProcessorCount(uint32_t count) {
  TraceProcessorCount(processor_count(), count);
  processor_count_.store(count, std::memory_order_relaxed);
  excess_.store(count > wanted_ + lent_, std::memory_order_relaxed);
}

void SchedulerCore::AdjustProcessors() {
  const uint32_t limit = wanted_ + lent_;
  uint32_t count = processor_count();
  while (count < limit) {
    Processor* const processor = UnusedProcessor();
    if (processor == nullptr) break;
    processor->status().Idle();
    SetProcessorCount(++count);  // before others see it idle
    idle_.AddProcessor(*processor);
    if (has_queued()) idle_.WakeOne();
  }
  while (count > limit) {
    IdleNode* const idle = idle_.TakeProcessor();
    if (idle == nullptr) break;  // their workers will retire them
    Processor& processor = static_cast<Processor&>(*idle);
    processor.status().Retire();
    retired_.push_back(&processor);
    SetProcessorCount(--count);
    // It may have been given away with fibers in it.
    if (processor.MoveQueuedToInject()) idle_.WakeOne();
  }
  SetProcessorCount(count);
}

bool SchedulerCore::TryRetire(Processor& processor) {
  {
    std::lock_guard lock(processors_mutex_);
    if (processor_count() <= wanted_ + lent_) return false;
    // While it is ours: once in retired_ it may be put to use again.
    processor.MoveQueuedToInject();
    processor.status().Retire();
    if (TraceOn()) TraceProcessorStop();
    retired_.push_back(&processor);
    SetProcessorCount(processor_count() - 1);
  }
  if (!inject_.empty()) idle_.WakeOne();
  CoverTimers(processor);
  return true;
}

void SchedulerCore::SetProcessors(uint32_t processors) {
  std::lock_guard lock(processors_mutex_);
  wanted_ = processors;
  AdjustProcessors();
}

bool SchedulerCore::Lend(StallReport::Kind kind) {
  std::lock_guard lock(processors_mutex_);
  if (lent_ == kMaxLent) return false;
  if (kind == StallReport::Kind::kComputing) {
    if (lent_computing_ == wanted_) return false;
    ++lent_computing_;
  }
  ++lent_;
  AdjustProcessors();
  // The stalled worker may be the one that looked after the reactor and the timers: somebody must, whatever is queued.
  idle_.WakeOne();
  return true;
}

void SchedulerCore::EndLend(StallReport::Kind kind) {
  std::lock_guard lock(processors_mutex_);
  --lent_;
  if (kind == StallReport::Kind::kComputing) --lent_computing_;
  AdjustProcessors();
}

void SchedulerCore::HandOff(Processor& processor) {
  processor.status().Idle();
  idle_.AddProcessor(processor);
  if (has_queued() || !reactor_owned()) {
    idle_.WakeOne();
  } else {
    CoverTimers(processor);
  }
}

bool SchedulerCore::TryStartWorker() {
  std::lock_guard lock(workers_mutex_);
  if (stopping() || workers_.size() >= options_.max_workers) return false;
  auto worker = std::make_unique<Worker>(*this, static_cast<uint32_t>(workers_.size()) + 1);
  idle_.WorkerIsStarting();
  try {
    worker->thread() = std::thread([worker = worker.get()] { worker->Run(); });
  } catch (const std::system_error&) {
    idle_.WorkerHasStarted();
    worker_failures_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  // 15 characters is what the kernel keeps.
  pthread_setname_np(worker->thread().native_handle(),
                     absl::StrFormat("%.9s-w%d", options_.name, workers_.size()).c_str());
  workers_.push_back(std::move(worker));
  return true;
}

bool SchedulerCore::nothing_to_watch() {
  // First say that we want to hear of it, then look: as a worker that goes to sleep (idle_workers.h).
  return idle_.WatchForWork(processor_count()) && !has_queued();
}

SchedulerMetrics SchedulerCore::Metrics() {
  NoteLiveFibers();
  SchedulerMetrics sum;
  for (const Processor* const processor : processors()) {
    sum.processors.push_back(processor->Metrics());
    const ProcessorMetrics& each = sum.processors.back();
    sum.switches += each.switches;
    sum.idle_yields += each.idle_yields;
    sum.steals_tried += each.steals_tried;
    sum.steals += each.steals;
    sum.overflows += each.overflows;
    sum.reactor_polls += each.reactor_polls;
    sum.blocking_calls += each.blocking_calls;
    sum.scheduling_latency += each.scheduling_latency;
    sum.run_slice += each.run_slice;
    sum.queued += each.queued;
    sum.finished += processor->finished();
    sum.spawned += processor->spawned();
  }
  sum.spawned += foreign_started_.load(std::memory_order_relaxed);
  sum.shared_queued = inject_.size();
  sum.queued += sum.shared_queued;
  sum.live_peak = static_cast<uint64_t>(live_peak_.load(std::memory_order_relaxed));
  const auto read = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  sum.futex_sleeps = read(idle_.counts().futex_sleeps);
  sum.reactor_sleeps = read(idle_.counts().reactor_sleeps);
  sum.sleeps = sum.futex_sleeps + sum.reactor_sleeps;
  sum.futex_wakes = read(idle_.counts().futex_wakes);
  sum.reactor_wakes = read(idle_.counts().reactor_wakes);
  sum.injections = inject_.pushed();
  sum.handoffs = read(handoffs_);
  sum.retakes = read(monitor_->counts().retakes);
  sum.stalls_blocked = read(monitor_->counts().stalls_blocked);
  sum.stalls_computing = read(monitor_->counts().stalls_computing);
  sum.monitor_ticks = read(monitor_->counts().ticks);
  sum.monitor_asleep = monitor_->asleep();
  sum.worker_failures = read(worker_failures_);
  {
    std::lock_guard lock(processors_mutex_);
    sum.lent_processors = lent_;
  }
  std::lock_guard lock(workers_mutex_);
  sum.workers = workers_.size();
  return sum;
}

// ---- Reactor

int64_t SchedulerCore::EarliestDeadline() const {
  int64_t earliest = TimerQueue::kNever;
  for (Processor* const processor : processors()) {
    earliest = std::min(earliest, processor->timers().next_deadline_ns());
  }
  return earliest;
}

void SchedulerCore::SleepInReactor(Worker& worker) {
  const auto must_leave = [&] {
    if (worker.has_collected() || worker.sleeper().woken.load(std::memory_order_acquire) != 0) return true;
    const int64_t deadline_ns = EarliestDeadline();
    return deadline_ns != TimerQueue::kNever && deadline_ns <= MonotonicNowNs();
  };
  do {
    // Say until when we sleep, then look again: a processor that became idle in between either sees our word in
    // CoverTimers() and interrupts us, or we see its timer here.
    int64_t deadline_ns = EarliestDeadline();
    for (;;) {
      sleeping_until_ns_.store(deadline_ns, std::memory_order_relaxed);
      SeqCstFence();  // pairs with the one in CoverTimers()
      const int64_t again_ns = EarliestDeadline();
      if (again_ns >= deadline_ns) break;
      deadline_ns = again_ns;
    }
    if (deadline_ns != armed_deadline_ns_) {
      armed_deadline_ns_ = deadline_ns;
      if (deadline_ns == TimerQueue::kNever) {
        wake_timer_.cancel();
      } else {
        wake_timer_.expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_ns)));
        wake_timer_.async_wait([this](const boost::system::error_code& error) {
          // Whoever owned the reactor then, asleep in it or in passing, has to arm it again.
          if (!error) armed_deadline_ns_ = TimerQueue::kNever;
        });
      }
      reactor_.poll();  // the wait that was cancelled completes now, not as a false wake-up
    }
    // The poll may have run a handler that made a fiber runnable, or the timer's own, or swallowed an interrupt; the reasons
    // for the interrupt are visible then.
    if (!must_leave() && armed_deadline_ns_ == deadline_ns && EarliestDeadline() >= deadline_ns) reactor_.run_one();
    reactor_.poll();
    sleeping_until_ns_.store(TimerQueue::kNever, std::memory_order_relaxed);
  } while (!must_leave());
}

void SchedulerCore::CoverTimers(Processor& processor) {
  SeqCstFence();  // pairs with the one in SleepInReactor()
  const int64_t deadline_ns = processor.timers().next_deadline_ns();
  if (deadline_ns != TimerQueue::kNever && deadline_ns < sleeping_until_ns_.load(std::memory_order_relaxed)) {
    InterruptReactor();
  }
}

void SchedulerCore::InterruptReactor() {
  boost::asio::post(reactor_, [] {});
}

// ---- Stopping

bool SchedulerCore::Stop(std::chrono::nanoseconds drain) {
  std::lock_guard lock(stop_mutex_);
  if (std::exchange(stopped_, true)) return true;
  Worker* const worker = Worker::Current();
  FIBERSCOPE_CHECK(worker == nullptr || &worker->core() != this, "a scheduler cannot be stopped by one of its fibers");
  draining_.store(true, std::memory_order_seq_cst);
  AwaitForeignCalls();
  if (drain.count() > 0) {
    int64_t deadline_ns;
    if (__builtin_add_overflow(MonotonicNowNs(), drain.count(), &deadline_ns)) deadline_ns = TimerQueue::kNever;
    OnFinishedWhileDraining();  // perhaps there is none
    for (int64_t now_ns; drained_.load(std::memory_order_acquire) == 0 && (now_ns = MonotonicNowNs()) < deadline_ns;) {
      FutexWaitFor(drained_, 0, std::chrono::nanoseconds(deadline_ns - now_ns));
    }
  }
  stopping_.store(true, std::memory_order_seq_cst);
  monitor_->Stop();
  JoinWorkers();
  const bool finished = LiveFibers() == 0;
  UnwindFibers();
  reactor_work_.reset();
  reactor_.poll();  // completions of what the fibers' destructors cancelled
  return finished;
}

void SchedulerCore::OnFinishedWhileDraining() {
  // Two last fibers that finish at the same time: after the fence at least one of them sees the other's count.
  SeqCstFence();
  if (LiveFibers() != 0) return;
  drained_.store(1, std::memory_order_release);
  FutexWake(drained_, 1);
}

void SchedulerCore::JoinWorkers() {
  // Nobody adds workers any more: the monitor has ended.
  std::lock_guard lock(workers_mutex_);
  for (const auto& worker : workers_) worker->sleeper().End();
  InterruptReactor();
  for (const auto& worker : workers_) worker->thread().join();
}

void SchedulerCore::UnwindFibers() {
  unwinding_.store(true, std::memory_order_relaxed);
  for (Processor* const each : processors()) each->timers().Clear();
  Worker worker(*this, 0);
  worker.Attach();
  worker.Adopt(*processors_[0]);
  const auto run_queued = [&] {
    for (Processor* const each : processors()) {
      while (ControlBlock* const fiber = each->Pop()) worker.RunOne(*fiber);
    }
    for (ControlBlock* at = inject_.PopChain(UINT32_MAX); at != nullptr;) worker.RunOne(*std::exchange(at, at->next));
  };
  for (bool any = true; any;) {
    run_queued();
    reactor_.poll();
    run_queued();
    any = false;
    FiberPool::Instance().ForEachBlock([&](ControlBlock& fiber) {
      if (fiber.scheduler != this || fiber.state.Load().state() != FiberState::kWaiting) return true;
      run_queued();
      // What other fibers' destructors have closed completes first: a fiber that cancels its operation must not do so
      // when the operation has completed and its socket is gone (io/use_fiber.cc).
      const WaitReason reason = fiber.wait_reason.load(std::memory_order_relaxed);
      if (reason == WaitReason::kIo || reason == WaitReason::kSuspend) {
        while (reactor_.poll() != 0) run_queued();
      }
      if (fiber.scheduler != this || fiber.state.Load().state() != FiberState::kWaiting) return true;
      if (fiber.stop_requests >= kStopRequestLimit) return true;
      any = true;
      if (!TakeOverWait(fiber)) return true;
      if (++fiber.stop_requests == kStopRequestLimit) {
        std::fprintf(stderr, "fiberscope: fiber %llu waits again whenever it is told to end, or for an operation that cannot be "
                     "cancelled; its stack is abandoned\n",
                     static_cast<unsigned long long>(fiber.fiber_id().value));
        return true;
      }
      fiber.state.MakeRunnable();
      worker.RunOne(fiber);
      run_queued();
      return true;
    });
  }
  worker.Detach();
}

}  // namespace fiberscope::internal
