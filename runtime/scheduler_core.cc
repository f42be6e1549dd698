#include "runtime/scheduler_core.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cstdio>
#include <system_error>

#include "absl/strings/str_format.h"
#include "runtime/base/check.h"
#include "runtime/base/fence.h"
#include "runtime/fiber_pool.h"

namespace fiberscope::internal {
namespace {

// How often a stopping scheduler tells a fiber to unwind before it gives up on it.
constexpr uint32_t kStopRequestLimit = 100;

}  // namespace

SchedulerCore::SchedulerCore(const Options& options)
    : reactor_work_(boost::asio::make_work_guard(reactor_)),
      wake_timer_(reactor_),
      idle_([](void* core) { static_cast<SchedulerCore*>(core)->InterruptReactor(); }, this) {
  for (uint32_t i = 0; i < options.processors; ++i) {
    processors_.push_back(std::make_unique<Processor>(i, options.run_queue_capacity, inject_));
    workers_.push_back(std::make_unique<Worker>(*this, *processors_.back()));
  }
  try {
    for (uint32_t i = 0; i < options.processors; ++i) {
      threads_.emplace_back([worker = workers_[i].get()] { worker->Run(); });
      // 15 characters is what the kernel keeps.
      pthread_setname_np(threads_.back().native_handle(), absl::StrFormat("%.9s-w%d", options.name, i).c_str());
    }
  } catch (const std::system_error& error) {
    stopping_.store(true, std::memory_order_release);
    idle_.WakeAll();
    for (std::thread& thread : threads_) thread.join();
    throw std::system_error(error.code(),
                            absl::StrFormat("starting worker thread %d of %d (limits: RLIMIT_NPROC, cgroup pids.max)",
                                            threads_.size() + 1, options.processors));
  }
}

SchedulerCore::~SchedulerCore() { Stop(); }

bool SchedulerCore::CallerIsForeign() const {
  Worker* const worker = Worker::Current();
  return worker == nullptr || &worker->core() != this;
}

absl::StatusOr<ControlBlock*> SchedulerCore::TakeBlock(StackClass stack_class) {
  // Announce the spawn, then look: Stop() says that it stops, then waits until no announced spawn is left. Spawns by our own
  // workers need no announcement, since Stop() joins those.
  const bool foreign = CallerIsForeign();
  if (foreign) foreign_spawns_.fetch_add(1, std::memory_order_seq_cst);
  absl::StatusOr<ControlBlock*> block = absl::FailedPreconditionError("spawn on a scheduler that was stopped");
  if (!stopping_.load(std::memory_order_seq_cst)) {
    Worker* const worker = Worker::Current();
    block = worker != nullptr ? worker->processor().shard().Take(stack_class)
                              : FiberPool::Instance().TakeShared(stack_class);
  }
  if (block.ok()) {
    (*block)->scheduler = this;
  } else if (foreign) {
    foreign_spawns_.fetch_sub(1, std::memory_order_release);
  }
  return block;
}

void SchedulerCore::GiveBack(ControlBlock& block) {
  FiberPool::Instance().GiveShared(block);
  if (CallerIsForeign()) foreign_spawns_.fetch_sub(1, std::memory_order_release);
}

void SchedulerCore::Start(ControlBlock& fiber) {
  if (Worker* const worker = Worker::Current()) {
    worker->processor().shard().CountSpawned();
  } else {
    FiberPool::Instance().CountSpawnedShared();
  }
  fiber.state.MakeRunnable();
  Enqueue(fiber);
  // Release: the fiber is in a queue for whoever sees that no spawn is left.
  if (CallerIsForeign()) foreign_spawns_.fetch_sub(1, std::memory_order_release);
}

void SchedulerCore::Enqueue(ControlBlock& fiber) {
  Worker* const worker = Worker::Current();
  if (worker == nullptr || &worker->core() != this) {
    inject_.Push(fiber);
    idle_.WakeOne();
    return;
  }
  worker->processor().PushNext(fiber);
  // On its own stack the worker looks at its queue next and wakes others then (Worker::Found): one wake-up for all that a
  // turn of the reactor made runnable.
  if (processors_.size() > 1 && worker->current() != nullptr) idle_.WakeOne();
}

// ---- Reactor

int64_t SchedulerCore::EarliestDeadline() const {
  int64_t earliest = TimerQueue::kNever;
  for (const auto& processor : processors_) earliest = std::min(earliest, processor->timers().next_deadline_ns());
  return earliest;
}

void SchedulerCore::SleepInReactor(const Processor& processor, const Sleeper& sleeper) {
  // Say until when we sleep, then look again: a worker that went to sleep in between either sees our word in CoverTimers()
  // and interrupts us, or we see its timer here.
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
  // The poll may have run a handler that made a fiber runnable, or the timer's own, or swallowed an interrupt; the reasons for
  // the interrupt are visible then.
  if (!processor.has_queued() && armed_deadline_ns_ == deadline_ns &&
      sleeper.woken.load(std::memory_order_acquire) == 0 && EarliestDeadline() >= deadline_ns) {
    reactor_.run_one();
  }
  reactor_.poll();
  sleeping_until_ns_.store(TimerQueue::kNever, std::memory_order_relaxed);
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

void SchedulerCore::Stop() {
  std::lock_guard lock(stop_mutex_);
  if (std::exchange(stopped_, true)) return;
  Worker* const worker = Worker::Current();
  FIBERSCOPE_CHECK(worker == nullptr || &worker->core() != this, "a scheduler cannot be stopped by one of its fibers");
  stopping_.store(true, std::memory_order_seq_cst);
  while (foreign_spawns_.load(std::memory_order_acquire) != 0) sched_yield();
  idle_.WakeAll();
  for (std::thread& thread : threads_) thread.join();
  UnwindFibers();
  reactor_work_.reset();
  reactor_.poll();  // completions of what the fibers' destructors cancelled
}

void SchedulerCore::UnwindFibers() {
  unwinding_.store(true, std::memory_order_relaxed);
  Processor& processor = *processors_[0];
  for (const auto& each : processors_) each->timers().Clear();
  Worker worker(*this, processor);
  worker.Attach();
  const auto run_queued = [&] {
    for (const auto& each : processors_) {
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
      if (fiber.stop_requests >= kStopRequestLimit) return true;
      any = true;
      if (!TakeOverWait(fiber)) return true;
      if (++fiber.stop_requests == kStopRequestLimit) {
        std::fprintf(stderr, "fiberscope: fiber %llu catches every exception and waits again; its stack is abandoned\n",
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
