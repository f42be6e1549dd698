#include "runtime/worker.h"

#include <cxxabi.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/fatal_report.h"
#include "runtime/scheduler_core.h"
#include "runtime/stack/stack_bounds.h"

namespace fiberscope::internal {
namespace {

// Every so many switches the worker's loop has its turn, so that timers, injected fibers and the reactor are looked at
// even when the processor's own fibers never run out. A prime, as in Go, so that it does not beat with regular patterns.
constexpr uint32_t kLoopEvery = 61;

// A busy worker looks at the reactor this often: an epoll_wait costs ~0.5 us, so 1 % of its time.
constexpr int64_t kPollIntervalNs = 50'000;

// Rounds over all victims before a spinner gives up; in the last one it takes the run-next slots too.
constexpr int kStealRounds = 4;

constinit thread_local Worker* t_worker = nullptr;

// Not inlined for the same reason as Worker::Current(): see park.h on what the compiler may cache.
__attribute__((noinline, noipa)) ExceptionState* ThreadExceptionState() {
  return reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
}
__attribute__((noinline, noipa)) int* ThreadErrno() { return &errno; }

}  // namespace

Worker* Worker::Current() { return t_worker; }

void Worker::Attach() {
  t_worker = this;
  own_stack_ = ThreadStackBounds();
  exceptions_ = ThreadExceptionState();
  errno_ = ThreadErrno();
  AdoptThreadStack(own_context_);
  PrepareThreadForFatalReports();
}

void Worker::Detach() { t_worker = nullptr; }

void Worker::Run() {
  Attach();
  while (ControlBlock* const fiber = FindRunnable()) SwitchTo(*fiber);
  Detach();
}

void Worker::RunOne(ControlBlock& fiber) { SwitchTo(fiber); }

// ---- Switching
//
// Inlined into one function per way to leave: each call level that a switch leaves and another fiber returns through costs a
// mispredicted return.

inline ControlBlock* Worker::PickSuccessor() {
  if (++turns_ >= kLoopEvery || core_.stopping()) return nullptr;
  return processor_.Pop();
}

void Worker::FinishDeparture() {
  if (departure_.fiber == nullptr) return;
  const Departure departure = departure_;
  departure_.fiber = nullptr;
  ControlBlock& fiber = *departure.fiber;
  switch (departure.kind) {
    case Departure::Kind::kYield:
      fiber.state.PublishRunnable();
      processor_.PushBack(fiber);
      return;
    case Departure::Kind::kPark:
      fiber.state.PublishWaiting();
      // The moment the commit has run, the fiber may be running elsewhere: nothing of it may be touched after true.
      if (!departure.commit(fiber, departure.argument)) {
        fiber.state.MakeRunnable();
        core_.Enqueue(fiber);
      }
      return;
    case Departure::Kind::kExit:
      if (!fiber.stack_guarded) CheckUnguardedStack(fiber);
      fiber.state.PublishDead();
      ReleaseTarget(fiber.context);
      processor_.shard().CountFinished();
      processor_.shard().Give(fiber);
      return;
  }
}

inline void Worker::Load(ControlBlock& next) {
  next.state.Resume();
  current_ = &next;
  *exceptions_ = next.exceptions;
  Processor::Increment(processor_.counters().switches);
}

void Worker::SwitchTo(ControlBlock& next) {
  const ExceptionState own = *exceptions_;  // of the thread that stops the scheduler, perhaps within a catch block
  Load(next);
  fiberscope::SwitchTo(own_context_, next.context, next.stack(), this);
  // Back on our own stack and, as always, our own thread. current_ was cleared by the fiber that left.
  *exceptions_ = own;
  FinishDeparture();
}

__attribute__((always_inline)) inline void Worker::SwitchAway(Worker& worker, const Departure& departure) {
  ControlBlock& self = *departure.fiber;
  ControlBlock* const next = worker.PickSuccessor();
  worker.departure_ = departure;
  self.exceptions = *worker.exceptions_;
  const int saved_errno = *worker.errno_;
  SwitchTarget* target = &worker.own_context_;
  StackBounds stack = worker.own_stack_;
  if (next != nullptr) {
    worker.Load(*next);
    target = &next->context;
    stack = next->stack();
  } else {
    worker.current_ = nullptr;
  }
  // One call for both: where a fiber was left to must not tell one stack trace from another.
  void* const argument = fiberscope::SwitchTo(self.context, *target, stack, &worker);
  // From here on perhaps on another thread: `worker` above is somebody else's. Whoever switched here says which it is.
  Worker& here = *static_cast<Worker*>(argument);
  *here.errno_ = saved_errno;
  here.FinishDeparture();
}

void Worker::Yield(Worker& worker) {
  // Alone here: going through the loop every kLoopEvery-th time is enough.
  if (!worker.processor_.has_queued() && worker.core_.inject().empty() && worker.turns_ + 1 < kLoopEvery &&
      !worker.core_.stopping()) {
    ++worker.turns_;
    return;
  }
  SwitchAway(worker, {worker.current_, Departure::Kind::kYield, nullptr, nullptr});
}

void Worker::Park(Worker& worker, const ParkInfo& info, ParkCommit commit, void* argument) {
  ControlBlock& self = *worker.current_;
  // Before the word says "waiting": its release store publishes them.
  self.wait_reason.store(info.reason, std::memory_order_relaxed);
  self.wait_object_id.store(info.object_id, std::memory_order_relaxed);
  self.wait_owner_id.store(info.owner_id, std::memory_order_relaxed);
  self.wait_start_ns.store(CoarseNowNs(), std::memory_order_relaxed);
  SwitchAway(worker, {&self, Departure::Kind::kPark, commit, argument});
}

void Worker::Exit(Worker& worker) {
  ControlBlock& self = *worker.current_;
  ControlBlock* const next = worker.PickSuccessor();
  worker.departure_ = {&self, Departure::Kind::kExit, nullptr, nullptr};
  if (next != nullptr) {
    worker.Load(*next);
    SwitchToForGood(self.context, next->context, next->stack(), &worker);
  }
  worker.current_ = nullptr;
  SwitchToForGood(self.context, worker.own_context_, worker.own_stack_, &worker);
}

// ---- Finding work

ControlBlock* Worker::FindRunnable() {
  for (;;) {
    if (core_.stopping()) {
      if (std::exchange(spinning_, false)) core_.idle().StopSpinning();
      return nullptr;
    }
    const int64_t now_ns = MonotonicNowNs();
    RunTimers(now_ns);
    if (now_ns - last_poll_ns_ >= kPollIntervalNs) PollReactor(now_ns);
    const bool loop_turn = turns_ >= kLoopEvery;
    turns_ = 0;
    if (loop_turn) {
      if (ControlBlock* const fiber = TakeInjected()) return Found(fiber);
    }
    if (ControlBlock* const fiber = processor_.Pop()) return Found(fiber);
    if (ControlBlock* const fiber = TakeInjected()) return Found(fiber);
    PollReactor(now_ns);
    if (ControlBlock* const fiber = processor_.Pop()) return Found(fiber);
    if (core_.processors().size() > 1) {
      if (!spinning_) spinning_ = core_.idle().StartSpinning(static_cast<uint32_t>(core_.processors().size()));
      if (spinning_) {
        if (ControlBlock* const fiber = Steal()) return Found(fiber);
      }
    }
    Sleep();
  }
}

ControlBlock* Worker::Found(ControlBlock* fiber) {
  if (core_.processors().size() == 1) return fiber;
  // The last spinner to find work passes the torch: there may be more work, and somebody should sleep in the reactor.
  if (std::exchange(spinning_, false)) {
    if (core_.idle().StopSpinning()) core_.idle().WakeOne();
  } else if (processor_.has_queued()) {
    core_.idle().WakeOne();
  }
  return fiber;
}

ControlBlock* Worker::TakeInjected() {
  InjectQueue& inject = core_.inject();
  if (inject.empty()) return nullptr;
  // A fair share, so that one worker does not take what others were woken for.
  const uint32_t share = inject.size() / static_cast<uint32_t>(core_.processors().size()) + 1;
  ControlBlock* const first = inject.PopChain(std::min(share, 128u));
  if (first == nullptr) return nullptr;
  for (ControlBlock* at = std::exchange(first->next, nullptr); at != nullptr;) {
    processor_.PushBack(*std::exchange(at, at->next));
  }
  return first;
}

ControlBlock* Worker::Steal() {
  const auto& processors = core_.processors();
  for (int round = 0; round < kStealRounds; ++round) {
    ++steal_start_;
    for (size_t i = 0; i < processors.size(); ++i) {
      Processor& victim = *processors[(steal_start_ + i) % processors.size()];
      if (&victim == &processor_) continue;
      if (ControlBlock* const fiber = processor_.StealFrom(victim)) {
        Processor::Increment(processor_.counters().steals);
        return fiber;
      }
      if (round + 1 < kStealRounds) continue;
      // The run-next slot usually empties by itself within the time a fiber takes to park; moving the fiber to another
      // processor then would cost both caches. Take it only if it stays.
      ControlBlock* const waiting = victim.run_next();
      if (waiting == nullptr) continue;
      for (int pause = 0; pause < 100 && victim.run_next() == waiting; ++pause) {
#if defined(__x86_64__)
        __builtin_ia32_pause();  // ~45 ns: 100 of them are ~4.5 us
#endif
      }
      if (victim.run_next() != waiting) continue;
      if (ControlBlock* const fiber = processor_.StealNextFrom(victim)) {
        Processor::Increment(processor_.counters().steals);
        return fiber;
      }
    }
    if (!core_.inject().empty()) return TakeInjected();
  }
  // Processors whose workers compute without end have nobody else to look after their timers.
  return RunTimers(MonotonicNowNs()) ? processor_.Pop() : nullptr;
}

bool Worker::RunTimers(int64_t now_ns) {
  bool any = false;
  for (const auto& processor : core_.processors()) {
    if (processor->timers().next_deadline_ns() > now_ns) continue;
    for (ControlBlock* at = processor->timers().PopExpired(now_ns); at != nullptr;) {
      ControlBlock& fiber = *std::exchange(at, at->next);
      fiber.state.MakeRunnable();
      processor_.PushBack(fiber);
      any = true;
    }
  }
  return any;
}

void Worker::PollReactor(int64_t now_ns) {
  last_poll_ns_ = now_ns;
  if (!core_.TryOwnReactor()) return;
  Processor::Increment(processor_.counters().polls);
  core_.reactor().poll();
  core_.DisownReactor();
  // A worker that went to sleep meanwhile took a futex because of us; it belongs in the reactor.
  if (core_.processors().size() > 1) core_.idle().WakeOne();
}

void Worker::Sleep() {
  IdleWorkers& idle = core_.idle();
  const bool in_reactor = core_.TryOwnReactor();
  sleeper_.in_reactor = in_reactor;
  if (std::exchange(spinning_, false)) idle.StopSpinning();  // W1 of idle_workers.h
  idle.Announce(sleeper_);                                   // W2, W3
  // W4. The owner of the reactor may have left it just before we were announced: then it did not see us, and somebody
  // must take its place.
  bool more_to_do = core_.stopping() || !core_.inject().empty() || (!in_reactor && !core_.reactor_owned());
  for (const auto& processor : core_.processors()) more_to_do = more_to_do || processor->has_queued();
  if (!more_to_do) {  // W5
    Processor::Increment(processor_.counters().sleeps);
    if (!in_reactor) {
      core_.CoverTimers(processor_);
      IdleWorkers::SleepOnFutex(sleeper_);
      spinning_ = true;
      return;
    }
    core_.SleepInReactor(processor_, sleeper_);
  }
  if (in_reactor) core_.DisownReactor();
  // Whether a waker chose us or the reactor did: from here on we are a spinner, so that what we find makes us wake the
  // next one (Found).
  if (idle.Withdraw(sleeper_)) idle.CountSpinner();
  spinning_ = true;
}

}  // namespace fiberscope::internal
