#include "runtime/worker.h"

#include <cxxabi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/tick_clock.h"
#include "runtime/fatal_report.h"
#include "runtime/instant.h"
#include "runtime/running_fibers.h"
#include "runtime/scheduler_core.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/trace_hooks.h"

namespace fiberscope::internal {
namespace {

// Every so many switches the worker's loop has its turn, so that timers, injected fibers and the reactor are looked at
// even when the processor's own fibers never run out. A prime, as in Go, so that it does not beat with regular patterns.
constexpr uint32_t kLoopEvery = 61;

// A busy worker spends up to 1 % of its time on looking at the reactor: a look that finds nothing is an epoll_wait, 0.5 us on
// bare metal and several in some virtual machines. It looks at least every millisecond.
constexpr int64_t kPollIntervals = 100;
constexpr int64_t kShortestPollIntervalNs = 50'000;
constexpr int64_t kLongestPollIntervalNs = 1'000'000;

// How late the timers of a processor may be before a busy worker of another one looks after them: then its fiber computes.
constexpr int64_t kOthersTimersGraceNs = 1'000'000;

// Rounds over all victims before a spinner gives up; in the last one it takes the run-next slots too.
constexpr int kStealRounds = 4;

// Not inlined for the reason that current_fiber.h gives.
__attribute__((noinline, noipa)) ExceptionState* ThreadExceptionState() {
  return reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
}
__attribute__((noinline, noipa)) int* ThreadErrno() { return &errno; }

}  // namespace

void Worker::Attach() {
  SetCurrentRunningFiber(this);
  thread_id_.store(static_cast<int>(syscall(SYS_gettid)), std::memory_order_relaxed);
  own_stack_ = ThreadStackBounds();
  exceptions_ = ThreadExceptionState();
  errno_ = ThreadErrno();
  AdoptThreadStack(own_context_);
  PrepareThreadForFatalReports();
  trace_thread_ = TraceThread::Current();
  AddFiberThread(*this, own_stack_);
}

void Worker::Detach() {
  if (processor_ != nullptr && TraceOn()) TraceProcessorStop();
  RemoveFiberThread(*this);
  SetCurrentRunningFiber(nullptr);
}

void Worker::Adopt(Processor& processor) {
  Take(processor);
  if (TraceOn()) TraceProcessorStart(*this);
}

void Worker::SetProcessor(Processor* processor) {
  processor_ = processor;
  processor_number.store(processor == nullptr ? UINT64_MAX : processor->traced().number, std::memory_order_relaxed);
}

void Worker::Take(Processor& processor) {
  SetProcessor(&processor);
  processor.set_worker(this);
  processor.status().Run();
}

void Worker::Run() {
  Attach();
  // A processor first, if one is idle: until we have it nobody else need be made for it.
  if (IdleNode* const processor = core_.idle().TakeProcessor()) Adopt(static_cast<Processor&>(*processor));
  core_.idle().WorkerHasStarted();
  while (ControlBlock* const fiber = FindRunnable()) SwitchTo(*fiber);
  Detach();
}

void Worker::RunOne(ControlBlock& fiber) { SwitchTo(fiber); }

// ---- Switching
//
// Inlined into one function per way to leave: each call level that a switch leaves and another fiber returns through costs a
// mispredicted return.

inline ControlBlock* Worker::PickSuccessor() {
  if (++turns_ >= kLoopEvery || locked_fiber_ != nullptr || processor_ == nullptr || core_.stopping()) return nullptr;
  ControlBlock* const next = processor_->Pop();
  if (next != nullptr && __builtin_expect(next->locked_to_thread.load(std::memory_order_relaxed), false)) {
    set_aside_ = next;
    return nullptr;
  }
  return next;
}

// One writer: plain load, add, store.
inline void Add(std::atomic<int64_t>& total, int64_t more) {
  total.store(total.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

inline void Worker::EndSlice(ControlBlock& self) {
  const bool is_long = processor_ != nullptr && processor_->in_long_slice();
  if (__builtin_expect(slice_clock_.measuring() || is_long, false)) EndMeasuredSlice(self);
}

__attribute__((noinline, cold)) void Worker::EndMeasuredSlice(ControlBlock& self) {
  const int64_t now_ns = TickNowNs();
  uint32_t weight = slice_clock_.weight();
  const bool measured = slice_clock_.measuring();
  const bool is_long = processor_ != nullptr && processor_->in_long_slice();
  int64_t slice_ns = measured ? slice_clock_.End(now_ns) : 0;
  if (is_long) {
    // Exact, and for itself only.
    if (!measured) slice_ns = std::max<int64_t>(0, now_ns - processor_->long_since_ns());
    processor_->ForgetLongSlice();
    weight = 1;
  }
  Add(self.run_ns, slice_ns * weight);
  if (processor_ != nullptr) processor_->counters().run_slice.Record(slice_ns, weight);
}

__attribute__((noinline, cold)) void Worker::BeginMeasuredSlice(ControlBlock& next, bool measure) {
  const int64_t now_ns = TickNowNs();
  if (const RunnableStamp stamp = std::exchange(next.runnable_stamp, RunnableStamp{}); stamp.at_ns != 0) {
    const int64_t latency_ns = std::max<int64_t>(0, now_ns - stamp.at_ns);
    Add(next.runnable_ns, latency_ns * stamp.weight);
    processor_->counters().scheduling_latency.Record(latency_ns, stamp.weight);
  }
  if (measure) slice_clock_.Begin(now_ns);
}

void Worker::StampRunnable(ControlBlock& fiber) {
  // On the worker's own stack no slice is being measured; but what happens there is rare.
  if (slice_clock_.measuring()) {
    fiber.runnable_stamp = {TickNowNs(), slice_clock_.weight()};
  } else if (current() == nullptr) {
    fiber.runnable_stamp = {TickNowNs(), 1};
  }
}

void Worker::FinishDeparture() {
  if (departure_.fiber == nullptr) return;
  const Departure departure = departure_;
  departure_.fiber = nullptr;
  ControlBlock& fiber = *departure.fiber;
  switch (departure.kind) {
    case Departure::Kind::kYield:
      if (slice_clock_.measuring()) StampRunnable(fiber);
      fiber.state.PublishRunnable();
      if (processor_ != nullptr) {
        processor_->PushBack(fiber);
      } else {
        core_.Inject(fiber);  // came back from a blocking call and found no processor
      }
      return;
    case Departure::Kind::kPark:
      fiber.state.PublishWaiting();
      // The moment the commit has run, the fiber may be running elsewhere: nothing of it may be touched after true.
      if (!departure.commit(fiber, departure.argument)) {
        if (TraceOn()) TraceUnparkAtOnce(fiber);
        fiber.state.MakeRunnable();
        core_.Enqueue(fiber);
      }
      return;
    case Departure::Kind::kExit:
      if (!fiber.stack_guarded) CheckUnguardedStack(fiber);
      fiber.state.PublishDead();
      ReleaseTarget(fiber.context);
      processor_->shard().CountFinished();
      processor_->shard().Give(fiber);
      if (core_.draining()) core_.OnFinishedWhileDraining();
      return;
  }
}

inline void Worker::Load(ControlBlock& next, bool follows) {
  next.state.Resume();
  fiber.store(&next, std::memory_order_release);  // the monitor follows the pointer: current_for_others()
  if (TraceOn()) TraceStart(*this, next, follows);
  BeforeRun(next, FiberState::kRunnable);
  exceptions_->caught_exceptions = next.caught_exceptions;
  exceptions_->uncaught_exceptions = next.uncaught_exceptions;
  const bool measure = slice_clock_.Next();
  if (__builtin_expect(measure || next.runnable_stamp.at_ns != 0, false)) BeginMeasuredSlice(next, measure);
  Processor::Increment(processor_->counters().switches);
}

void Worker::SwitchTo(ControlBlock& next) {
  const ExceptionState own = *exceptions_;  // of the thread that stops the scheduler, perhaps within a catch block
  Load(next, /*follows=*/false);
  fiberscope::SwitchTo(own_context_, next.context, next.stack(), this);
  // Back on our own stack and, as always, our own thread. `fiber` was cleared by the fiber that left.
  *exceptions_ = own;
  FinishDeparture();
}

__attribute__((always_inline)) inline void Worker::SwitchAway(Worker& worker, const Departure& departure) {
  ControlBlock& self = *departure.fiber;
  ControlBlock* const next = worker.PickSuccessor();
  worker.EndSlice(self);
  worker.departure_ = departure;
  self.caught_exceptions = worker.exceptions_->caught_exceptions;
  self.uncaught_exceptions = worker.exceptions_->uncaught_exceptions;
  const int saved_errno = *worker.errno_;
  SwitchTarget* target = &worker.own_context_;
  StackBounds stack = worker.own_stack_;
  if (next != nullptr) {
    worker.Load(*next, /*follows=*/true);
    target = &next->context;
    stack = next->stack();
  } else {
    worker.fiber.store(nullptr, std::memory_order_relaxed);
  }
  // One call for both: where a fiber was left to must not tell one stack trace from another.
  void* const argument = fiberscope::SwitchTo(self.context, *target, stack, &worker);
  // From here on perhaps on another thread: `worker` above is somebody else's. Whoever switched here says which it is.
  Worker& here = *static_cast<Worker*>(argument);
  *here.errno_ = saved_errno;
  here.FinishDeparture();
}

// Apart, because the formatting of a message would give its callers, which switch, a large frame.
__attribute__((noinline, cold)) static void FailInsideBlocking(const ControlBlock& self, WaitReason reason) {
  FIBERSCOPE_CHECK(reason == WaitReason::kNone, "fiber %d waits (%s) inside Blocking()", self.fiber_id().value,
                   WaitReasonName(reason));
  FIBERSCOPE_CHECK(false, "fiber %d yields inside Blocking()", self.fiber_id().value);
}

void Worker::Yield(Worker& worker) {
  if (__builtin_expect(worker.processor_ == nullptr, false)) FailInsideBlocking(*worker.current(), WaitReason::kNone);
  // Alone here: going through the loop every kLoopEvery-th time is enough.
  if (!worker.processor_->has_queued() && worker.core_.inject().empty() && worker.turns_ + 1 < kLoopEvery &&
      !worker.core_.stopping()) {
    ++worker.turns_;
    Processor::Increment(worker.processor_->counters().idle_yields);
    return;
  }
  if (TraceOn()) TraceYield(worker);
  SwitchAway(worker, {worker.current(), Departure::Kind::kYield, nullptr, nullptr});
}

void Worker::Park(Worker& worker, const ParkInfo& info, ParkCommit commit, void* argument) {
  ControlBlock& self = *worker.current();
  if (__builtin_expect(worker.processor_ == nullptr, false)) FailInsideBlocking(self, info.reason);
  // Before the word says "waiting": its release store publishes them.
  self.wait_reason.store(info.reason, std::memory_order_relaxed);
  self.wait_object_id.store(info.object_id, std::memory_order_relaxed);
  self.wait_owner_id.store(info.owner_id, std::memory_order_relaxed);
  self.since_ns.store(CoarseNowNs(), std::memory_order_relaxed);
  self.parks.store(self.parks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  if (TraceOn()) TracePark(worker, info.reason);
  SwitchAway(worker, {&self, Departure::Kind::kPark, commit, argument});
}

LastSwitch Worker::Exit(Worker& worker) {
  ControlBlock& self = *worker.current();
  if (TraceOn()) TraceExit(worker);
  ControlBlock* const next = worker.PickSuccessor();
  worker.EndSlice(self);
  worker.departure_ = {&self, Departure::Kind::kExit, nullptr, nullptr};
  if (next != nullptr) {
    worker.Load(*next, /*follows=*/true);
    return SwitchForGood(self.context, next->context, next->stack(), &worker);
  }
  worker.fiber.store(nullptr, std::memory_order_relaxed);
  return SwitchForGood(self.context, worker.own_context_, worker.own_stack_, &worker);
}

// ---- Blocking calls

bool Worker::EnterBlocking(Worker& worker, const Registers& here, bool expect_long) {
  if (worker.current() == nullptr || worker.processor_ == nullptr || worker.core_.unwinding()) return false;
  ControlBlock& self = *worker.current();
  Processor& processor = *worker.processor_;
  worker.EndSlice(self);
  self.since_ns.store(CoarseNowNs(), std::memory_order_relaxed);
  Processor::Increment(processor.counters().blocking_calls);
  self.context.saved_sp = const_cast<Registers*>(&here);  // the next switch away overwrites it
  if (TraceOn()) TraceBlockingBegin(worker, here);
  self.state.EnterBlocking();
  worker.blocking_processor_ = &processor;
  worker.SetProcessor(nullptr);
  // From here on the processor may be gone at any moment.
  worker.blocking_ticket_ = processor.status().EnterBlocking();
  if (expect_long && processor.status().Retake(worker.blocking_ticket_)) {
    if (TraceOn()) TraceBlockingHandOff(processor);
    worker.core_.CountHandOff();
    worker.core_.HandOff(processor);
  }
  return true;
}

void Worker::LeaveBlocking(Worker& worker) {
  ControlBlock& self = *worker.current();
  Processor& before = *worker.blocking_processor_;
  const bool kept = before.status().LeaveBlocking(worker.blocking_ticket_);
  if (kept) {
    worker.SetProcessor(&before);
  } else if (IdleNode* const idle = worker.core_.idle().TakeProcessor()) {
    worker.Take(static_cast<Processor&>(*idle));
  }
  // Here, and in one: in a trace the call ends first, then another processor is taken.
  if (TraceOn()) TraceBlockingEnd(worker, kept);
  self.state.LeaveBlocking();
  BeforeRun(self, FiberState::kBlocking);
  if (worker.processor_ == nullptr) {
    SwitchAway(worker, {&self, Departure::Kind::kYield, nullptr, nullptr});
  } else if (worker.slice_clock_.Next()) {
    worker.slice_clock_.Begin(TickNowNs());  // what follows the call is a slice as well
  }
}

// ---- Fibers that are locked to their thread

bool Worker::LockCurrent() {
  ControlBlock& self = *current();
  if (self.locked_to_thread.load(std::memory_order_relaxed)) return false;
  locked_fiber_ = &self;
  self.locked_worker = this;
  self.locked_to_thread.store(true, std::memory_order_relaxed);
  return true;
}

void Worker::UnlockCurrent() {
  ControlBlock& self = *current();
  self.locked_to_thread.store(false, std::memory_order_relaxed);
  // While the scheduler stops, `this` is the stopping thread's.
  self.locked_worker->locked_fiber_ = nullptr;
}

// On the worker of a fiber that has locked it: gives the processor away and sleeps until somebody who found the fiber in a
// queue brings one. Null when the scheduler stops.
ControlBlock* Worker::WaitForTurn() {
  if (processor_ != nullptr) core_.HandOff(GiveUpProcessor());
  // Perhaps the fiber was made runnable, found, and our turn has come already; then we do not sleep.
  IdleNode* const processor = sleeper_.SleepOnFutex();
  if (processor == nullptr) return nullptr;
  Adopt(static_cast<Processor&>(*processor));
  return locked_fiber_;
}

// The processor goes with the fiber to the worker that must run it.
void Worker::HandOver(ControlBlock& fiber) {
  Processor& processor = GiveUpProcessor();
  processor.set_worker(fiber.locked_worker);
  fiber.locked_worker->sleeper_.Grant(processor);
}

// ---- Finding work

ControlBlock* Worker::FindRunnable() {
  for (;;) {
    ControlBlock* const fiber = set_aside_ != nullptr ? std::exchange(set_aside_, nullptr) : Search();
    if (fiber == nullptr) return nullptr;
    if (!fiber->locked_to_thread.load(std::memory_order_relaxed) || fiber == locked_fiber_) return fiber;
    if (core_.stopping()) {
      core_.inject().Push(*fiber);
      return nullptr;
    }
    HandOver(*fiber);
  }
}

ControlBlock* Worker::Search() {
  for (;;) {
    if (core_.stopping()) {
      if (std::exchange(spinning_, false)) core_.idle().StopSpinning();
      DeliverCollected();
      return nullptr;
    }
    if (locked_fiber_ != nullptr) {
      if (ControlBlock* const fiber = WaitForTurn()) return fiber;
      continue;
    }
    if (processor_ == nullptr && !AcquireProcessor()) continue;
    const int64_t now_ns = MonotonicNowNs();
    RunTimers(now_ns, kOthersTimersGraceNs);
    if (now_ns - last_poll_ns_ >= poll_interval_ns_) PollReactor(now_ns);
    const bool loop_turn = turns_ >= kLoopEvery;
    // Only then: a fiber that yields alone comes here each time, and its turns must add up.
    if (loop_turn) turns_ = 0;
    if (core_.has_excess() && core_.TryRetire(*processor_)) {
      if (std::exchange(spinning_, false)) core_.idle().StopSpinning();
      SetProcessor(nullptr);
      continue;
    }
    ControlBlock* fiber = loop_turn ? TakeInjected(/*oldest=*/true) : nullptr;
    if (fiber == nullptr) fiber = processor_->Pop();
    if (fiber == nullptr) fiber = TakeInjected(/*oldest=*/false);
    if (fiber == nullptr) {
      PollReactor(now_ns);
      fiber = processor_->Pop();
    }
    if (fiber == nullptr && core_.processors().size() > 1) {
      if (!spinning_) spinning_ = core_.idle().StartSpinning(core_.processor_count());
      if (spinning_) fiber = Steal();
    }
    if (fiber != nullptr) {
      Found();
      return fiber;
    }
    Sleep();
  }
}

void Worker::Found() {
  // The last spinner to find work passes the torch: there may be more work, and somebody should sleep in the reactor.
  if (std::exchange(spinning_, false)) {
    if (core_.idle().StopSpinning()) core_.idle().WakeOne();
  } else if (core_.processor_count() > 1 && processor_->has_queued()) {
    core_.idle().WakeOne();
  }
}

// For a worker without one. False: the scheduler stops.
bool Worker::AcquireProcessor() {
  DeliverCollected();
  sleeper_.in_reactor = false;
  IdleNode* processor = core_.idle().TakeOrAnnounce(sleeper_);
  if (processor == nullptr) {
    processor = sleeper_.SleepOnFutex();
    if (processor == nullptr) return false;
    spinning_ = true;  // the waker has counted us
  }
  Adopt(static_cast<Processor&>(*processor));
  return true;
}

Processor& Worker::GiveUpProcessor() {
  if (TraceOn()) TraceProcessorStop();
  Processor& processor = *processor_;
  SetProcessor(nullptr);
  return processor;
}

void Worker::Collect(ControlBlock& fiber) {
  fiber.next = collected_;
  collected_ = &fiber;
}

void Worker::DeliverCollected() {
  if (collected_ == nullptr) return;
  // To the processor, if there is one, else where any will find them; in order of arrival.
  ControlBlock* oldest_first = nullptr;
  ControlBlock* const last = collected_;
  uint32_t count = 0;
  for (ControlBlock* at = std::exchange(collected_, nullptr); at != nullptr; ++count) {
    ControlBlock* const fiber = std::exchange(at, at->next);
    fiber->next = oldest_first;
    oldest_first = fiber;
  }
  if (processor_ != nullptr) {
    for (ControlBlock* at = oldest_first; at != nullptr;) processor_->PushBack(*std::exchange(at, at->next));
    return;
  }
  core_.inject().PushChain(*oldest_first, *last, count);
  core_.idle().WakeOne();
}

ControlBlock* Worker::TakeInjected(bool oldest) {
  InjectQueue& inject = core_.inject();
  if (inject.empty()) return nullptr;
  // A fair share, so that one worker does not take what others were woken for.
  const uint32_t share = std::min(inject.size() / core_.processor_count() + 1, 128u);
  ControlBlock* const first = oldest ? inject.PopOldest(share) : inject.PopChain(share);
  if (first == nullptr) return nullptr;
  if (TraceOn()) TraceArrived(*this, *first);
  for (ControlBlock* at = std::exchange(first->next, nullptr); at != nullptr;) {
    processor_->PushBack(*std::exchange(at, at->next));
  }
  return first;
}

ControlBlock* Worker::Steal() {
  const auto processors = core_.processors();
  for (int round = 0; round < kStealRounds; ++round) {
    ++steal_start_;
    Processor::Increment(processor_->counters().steals_tried);
    for (size_t i = 0; i < processors.size(); ++i) {
      Processor& victim = *processors[(steal_start_ + i) % processors.size()];
      if (&victim == processor_) continue;
      if (ControlBlock* const fiber = processor_->StealFrom(victim)) {
        Processor::Increment(processor_->counters().steals);
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
      if (ControlBlock* const fiber = processor_->StealNextFrom(victim)) {
        Processor::Increment(processor_->counters().steals);
        return fiber;
      }
    }
    if (!core_.inject().empty()) return TakeInjected(/*oldest=*/false);
  }
  // Processors whose workers compute without end have nobody else to look after their timers.
  return RunTimers(MonotonicNowNs(), 0) ? processor_->Pop() : nullptr;
}

// Those of all processors. The timers of one that somebody runs are his business, until they are late by `grace_ns`.
bool Worker::RunTimers(int64_t now_ns, int64_t grace_ns) {
  bool any = false;
  for (Processor* const processor : core_.processors()) {
    const int64_t deadline_ns = processor->timers().next_deadline_ns();
    if (deadline_ns > now_ns) continue;
    const bool is_watched = processor != processor_ && processor->status().state() == ProcessorState::kRunning;
    if (is_watched && deadline_ns > now_ns - grace_ns) continue;
    while (ControlBlock* at = processor->timers().PopExpired(now_ns)) {
      while (at != nullptr) {
        ControlBlock& fiber = *std::exchange(at, at->next);
        // It runs soon, and its stack has been cold for as long as it slept.
        for (int line = 0; line < 4; ++line) __builtin_prefetch(static_cast<char*>(fiber.context.saved_sp) + 64 * line);
        BeforeWake(fiber);
        if (TraceOn()) TraceTimer(fiber);
        fiber.state.MakeRunnable();
        StampRunnable(fiber);
        processor_->PushBack(fiber);
      }
      any = true;
    }
  }
  return any;
}

void Worker::PollReactor(int64_t now_ns) {
  last_poll_ns_ = now_ns;
  if (!core_.TryOwnReactor()) return;
  Processor::Increment(processor_->counters().polls);
  if (core_.reactor().poll() == 0) {
    poll_interval_ns_ = std::clamp((MonotonicNowNs() - now_ns) * kPollIntervals, kShortestPollIntervalNs, kLongestPollIntervalNs);
  }
  core_.DisownReactor();
  // A worker that went to sleep meanwhile took a futex because of us; it belongs in the reactor.
  if (core_.processor_count() > 1) core_.idle().WakeOne();
}

void Worker::Sleep() {
  IdleWorkers& idle = core_.idle();
  const bool in_reactor = core_.TryOwnReactor();
  sleeper_.in_reactor = in_reactor;
  if (std::exchange(spinning_, false)) idle.StopSpinning();  // W1 of idle_workers.h
  Processor& left = GiveUpProcessor();
  left.status().Idle();
  idle.Announce(sleeper_, left);  // W2, W3
  // W4. The owner of the reactor may have left it just before we were announced: then it did not see us, and somebody
  // must take its place.
  if (!core_.stopping() && !core_.has_queued() && (in_reactor || core_.reactor_owned())) {  // W5
    if (!in_reactor) {
      core_.CoverTimers(left);
      if (IdleNode* const processor = sleeper_.SleepOnFutex()) {
        Adopt(static_cast<Processor&>(*processor));
        spinning_ = true;
      }
      return;
    }
    core_.SleepInReactor(*this);
  }
  if (in_reactor) core_.DisownReactor();
  // Whether a waker chose us or the reactor did: from here on we are a spinner, so that what we find makes us wake the
  // next one (Found).
  const IdleWorkers::Withdrawal withdrawal = idle.Withdraw(sleeper_);
  // None: others have all of them, and look after what there is to do.
  if (withdrawal.processor == nullptr) return;
  if (!withdrawal.spinner) idle.CountSpinner();
  spinning_ = true;
  Adopt(static_cast<Processor&>(*withdrawal.processor));
  DeliverCollected();
}

}  // namespace fiberscope::internal
