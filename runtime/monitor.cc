#include "runtime/monitor.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/base/clock.h"
#include "runtime/base/futex.h"
#include "runtime/base/tick_clock.h"
#include "runtime/control_block.h"
#include "runtime/flight_triggers.h"
#include "runtime/pause_log.h"
#include "runtime/processor.h"
#include "runtime/running_stack.h"
#include "runtime/scheduler_core.h"
#include "runtime/thread_status.h"
#include "runtime/trace_hooks.h"
#include "runtime/worker.h"

namespace fiberscope::internal {
namespace {

uint64_t ProgressOf(Processor& processor) {
  const Processor::Counters& counters = processor.counters();
  return counters.switches.load(std::memory_order_relaxed) + counters.idle_yields.load(std::memory_order_relaxed) +
         counters.blocking_calls.load(std::memory_order_relaxed);
}

const char* WhyNoStack(RunningStack::Outcome outcome) {
  switch (outcome) {
    case RunningStack::Outcome::kCaptured: return "the fiber let go while it was looked at";
    case RunningStack::Outcome::kNoAnswer: return "the thread did not answer in time: it blocks signals, or gets no CPU";
    case RunningStack::Outcome::kNoThread: return "the thread has ended";
    case RunningStack::Outcome::kRefused: return "no signal could be sent (RLIMIT_SIGPENDING)";
    case RunningStack::Outcome::kNoSignal: return "the application uses all real-time signals";
    case RunningStack::Outcome::kRestless: return "the thread slept and woke all the time while it was looked at";
    case RunningStack::Outcome::kNoTime: return "the time was over before the thread was looked at";
  }
  return "?";
}

void PrintStall(const StallReport& report) {
  const std::string text = "fiberscope: " + FormatStall(report);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace

Monitor::Monitor(SchedulerCore& core, std::chrono::nanoseconds stall_after, StallHandler on_stall)
    : core_(core),
      stall_after_ns_(stall_after.count()),
      on_stall_(on_stall ? std::move(on_stall) : StallHandler(PrintStall)),
      last_report_ns_(MonotonicNowNs() - kReportIntervalNs) {
  watched_.resize(SchedulerCore::kMaxProcessorObjects);
  thread_ = std::thread([this] { Run(); });
  // 15 characters is what the kernel keeps.
  pthread_setname_np(thread_.native_handle(), absl::StrFormat("%.9s-mon", core.name()).c_str());
}

Monitor::~Monitor() { Stop(); }

void Monitor::Stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_release);
  Wake();
  thread_.join();
}

void Monitor::Wake() {
  wake_word_.fetch_add(1, std::memory_order_release);
  FutexWake(wake_word_, 1);
}

void Monitor::RequestWorker() {
  if (!worker_wanted_.exchange(true, std::memory_order_seq_cst)) Wake();
}

void Monitor::Run() {
  // Otherwise the kernel adds up to 50 us to each sleep.
  prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);
  int64_t delay_ns = kShortestNs;
  for (;;) {
    const uint32_t seen = wake_word_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    if (worker_wanted_.exchange(false, std::memory_order_seq_cst)) core_.TryStartWorker();
    // A stall that has ended must be seen to have, or what was lent for it stays, and it is logged as longer than it was.
    if (lent_ == 0 && open_stalls_ == 0 && core_.nothing_to_watch()) {
      asleep_.store(true, std::memory_order_relaxed);
      while (wake_word_.load(std::memory_order_acquire) == seen) FutexWait(wake_word_, seen);
      asleep_.store(false, std::memory_order_relaxed);
    } else {
      FutexWaitFor(wake_word_, seen, std::chrono::nanoseconds(delay_ns));
    }
    delay_ns = Tick(MonotonicNowNs()) ? kShortestNs : std::min(2 * delay_ns, kLongestNs);
  }
}

// True: it was worth looking.
bool Monitor::Tick(int64_t now_ns) {
  counts_.ticks.fetch_add(1, std::memory_order_relaxed);
  bool useful = false;
  for (Processor* const processor : core_.processors()) {
    useful |= LookAt(*processor, watched_[processor->index()], now_ns);
  }
  core_.NoteLiveFibers();
  // Work for which no worker could be found or made when it came.
  if (core_.idle().idle_processors() != 0 && core_.has_queued()) core_.idle().WakeOne();
  return useful;
}

bool Monitor::LookAt(Processor& processor, Watched& watched, int64_t now_ns) {
  ProcessorWatch& watch = watched.watch;
  switch (processor.status().state()) {
    case ProcessorState::kBlocking: {
      if (watch.Forget()) EndStall(watched, now_ns);
      BlockingTicket ticket;
      if (!processor.status().LookAtBlocking(ticket)) return false;
      const bool others = core_.idle().idle_processors() != 0 || core_.idle().spinners() != 0;
      if (!watch.ShouldRetake(ticket, processor.has_queued() || !others, now_ns)) return false;
      // Asked after the look at the ticket: a call that the trace has seen begin is seen to lose its processor.
      if (!(TraceOn() ? TraceRetake(processor, ticket) : processor.status().Retake(ticket))) return false;
      counts_.retakes.fetch_add(1, std::memory_order_relaxed);
      core_.HandOff(processor);
      return true;
    }
    case ProcessorState::kRunning: {
      const uint64_t progress = ProgressOf(processor);
      const uint64_t switches = processor.counters().switches.load(std::memory_order_relaxed);
      const Worker* const worker = processor.worker();
      const bool on_fiber = worker != nullptr && worker->current_for_others() != nullptr;
      switch (watch.LookAtSlice(progress, on_fiber, stall_after_ns_, now_ns)) {
        case ProcessorWatch::Finding::kNothing:
          if (watch.slice_age_ns(now_ns) > 0 && on_fiber) {
            processor.NoteLongSlice(switches, TickNowNs() - watch.slice_age_ns(now_ns));
          }
          if (watch.stalled()) LendInPlaceOf(watched);
          return false;
        case ProcessorWatch::Finding::kStalled: OnStall(processor, watched, progress, now_ns); return false;
        case ProcessorWatch::Finding::kStallEnded: EndStall(watched, now_ns); return false;
      }
      return false;
    }
    case ProcessorState::kIdle:
    case ProcessorState::kRetired:
      if (watch.Forget()) EndStall(watched, now_ns);
      return false;
  }
  return false;
}

void Monitor::OnStall(Processor& processor, Watched& watched, uint64_t progress, int64_t now_ns) {
  const Worker* const worker = processor.worker();
  ControlBlock* const fiber = worker->current_for_others();
  if (fiber == nullptr) return;
  StallReport report;
  report.fiber = fiber->fiber_id();
  report.duration = std::chrono::nanoseconds(watched.watch.slice_age_ns(now_ns));
  report.thread_id = worker->thread_id();
  report.kind = SleepsInKernel(report.thread_id) ? StallReport::Kind::kBlocked : StallReport::Kind::kComputing;
  report.parent = {fiber->parent_id.load(std::memory_order_relaxed)};
  report.entry_pc = fiber->entry_pc.load(std::memory_order_relaxed);
  report.creator_pc = fiber->creator_pc.load(std::memory_order_relaxed);
  std::array<char, AtomicName::kBytes> name;
  report.name = fiber->name.Load(name);
  // It let go after all while we looked: what we have read may be of two fibers.
  if (ProgressOf(processor) != progress || worker->current_for_others() != fiber || !report.fiber) return;
  (report.kind == StallReport::Kind::kBlocked ? counts_.stalls_blocked : counts_.stalls_computing)
      .fetch_add(1, std::memory_order_relaxed);
  watched.kind = report.kind;
  watched.stalled_since_ns = now_ns - report.duration.count();
  ++open_stalls_;
  LendInPlaceOf(watched);
  if (now_ns - last_report_ns_ < kReportIntervalNs) {
    ++suppressed_;
    return;
  }
  last_report_ns_ = now_ns;
  report.suppressed = std::exchange(suppressed_, 0);
  AddStack(processor, progress, report);
  const auto trigger = g_flight_trigger.load(std::memory_order_acquire);
  if (trigger != nullptr && g_stalls_wanted.load(std::memory_order_relaxed)) {
    trigger(absl::StrFormat("stall of fiber %d", report.fiber.value));
  }
  on_stall_(report);
}

void Monitor::AddStack(Processor& processor, uint64_t progress, StallReport& report) {
  const RunningThread thread{.thread_id = report.thread_id, .own_stack = {}};
  RunningStack stack = CaptureRunningStacks({&thread, 1}, {.timeout = kStackTimeout}).front();
  // Nobody has let go in between: it is the stack of this stall.
  const bool is_wanted = stack.fiber == report.fiber && ProgressOf(processor) == progress;
  if (stack.outcome != RunningStack::Outcome::kCaptured || !is_wanted) {
    report.no_stack = WhyNoStack(stack.outcome);
    return;
  }
  report.stack = std::move(stack.pcs);
  report.stack_end = stack.end;
}

void Monitor::LendInPlaceOf(Watched& watched) {
  // While a processor is idle there is nothing that the stalled one keeps from running.
  if (watched.lent || core_.idle().idle_processors() != 0 || !core_.Lend(watched.kind)) return;
  watched.lent = true;
  ++lent_;
}

void Monitor::EndStall(Watched& watched, int64_t now_ns) {
  if (const int64_t since_ns = std::exchange(watched.stalled_since_ns, 0); since_ns != 0) {
    --open_stalls_;
    RecordPause(watched.kind == StallReport::Kind::kBlocked ? PauseKind::kStallBlocked : PauseKind::kStallComputing,
                std::chrono::nanoseconds(now_ns - since_ns));
  }
  if (!std::exchange(watched.lent, false)) return;
  --lent_;
  core_.EndLend(watched.kind);
}

}  // namespace fiberscope::internal
