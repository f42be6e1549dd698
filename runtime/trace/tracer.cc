#include "runtime/trace/tracer.h"

#include <pthread.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "runtime/base/process_fence.h"
#include "runtime/base/tick_clock.h"
#include "runtime/trace/trace_strings.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope::internal {
namespace {

constinit std::atomic<bool> g_in_use{false};
// Of the last generation of the last trace. Owned by whoever has g_in_use.
constinit uint32_t g_last_generation = 0;

// In the child of a fork there is no tracer, and nothing is recorded any more.
bool Prepare() {
  static const bool can = CanFenceAllThreads() &&
                          pthread_atfork(nullptr, nullptr, [] { g_trace_generation.store(0, std::memory_order_relaxed); }) == 0;
  return can;
}

}  // namespace

Tracer::Tracer(ForEachFiber for_each_fiber, RunningNow running_now)
    : for_each_fiber_(std::move(for_each_fiber)), running_now_(std::move(running_now)) {}

Tracer::~Tracer() {
  if (!stopped_) (void)Stop();
}

absl::StatusOr<std::unique_ptr<Tracer>> Tracer::Start(ForEachFiber for_each_fiber, RunningNow running_now) {
  if (!Prepare()) return absl::UnimplementedError("execution trace: this kernel has no membarrier(2), or forbids it");
  if (g_in_use.exchange(true, std::memory_order_acquire)) return absl::AlreadyExistsError("tracing is already enabled");
  CalibrateTickClock();
  UnwindTable::Refresh();
  std::unique_ptr<Tracer> tracer(new Tracer(std::move(for_each_fiber), std::move(running_now)));
  tracer->generation_ = tracer->base_ = g_last_generation + 1;
  tracer->start_ = TraceTimeNow();
  g_trace_processors_due.store(true, std::memory_order_relaxed);
  g_trace_base.store(tracer->base_, std::memory_order_relaxed);
  g_trace_generation.store(tracer->generation_, std::memory_order_release);
  tracer->running_at_start_ = tracer->running_now_();
  return tracer;
}

TraceGeneration Tracer::Stop() {
  stopped_ = true;
  TraceGeneration last = Cut(/*last=*/true);
  g_last_generation = generation_;
  g_in_use.store(false, std::memory_order_release);
  return last;
}

void Tracer::SweepFibers(std::vector<TraceStatus>& statuses) {
  for_each_fiber_([&](const TracedFiber& fiber, Traced state) {
    const TracedWord word = fiber.state->Load();
    if (word.generation() >= base_) return;  // whoever mentioned it said what it was doing
    // Those in blocking calls began them before the trace: readers would want to know on which thread, which only that may say.
    const bool runnable = state == Traced::kRunnable;
    if (!fiber.state->Replace(word, TracedWord::Of(runnable ? Traced::kRunnable : Traced::kWaiting, generation_))) return;
    const uint64_t stack = fiber.entry_pc == 0 ? 0 : stacks_.NumberOf(generation_, fiber.entry_pc + 1);
    statuses.push_back({.fiber = fiber.id,
                        .status = runnable ? TraceFiberStatus::kRunnable : TraceFiberStatus::kWaiting,
                        .stack = stack});
  });
}

std::vector<TracedRunning> Tracer::StillRunning() const {
  std::vector<TracedRunning> still;
  for (const TracedRunning& now : running_now_()) {
    const bool since_start = std::ranges::any_of(running_at_start_, [&](const TracedRunning& then) {
      return then.thread == now.thread && then.fiber.id == now.fiber.id && then.slice == now.slice;
    });
    if (since_start) still.push_back(now);
  }
  return still;
}

TraceGeneration Tracer::Cut(bool last) {
  TraceGeneration cut;
  cut.number = generation_ - base_ + 1;
  cut.start = start_;
  cut.ticks_per_second = kTraceTicksPerSecond;
  // Code may have been loaded meanwhile; its stacks end where the table does.
  UnwindTable::Refresh();
  TraceThread::BeginLooking();
  std::vector<TracedRunning> running;
  if (generation_ == base_) {
    SweepFibers(cut.statuses);
    running = StillRunning();
    for (const TracedRunning& each : running) each.thread->Assume(each, base_);
  }
  const uint32_t ended = generation_;
  start_ = TraceTimeNow();
  if (last) {
    g_trace_generation.store(0, std::memory_order_seq_cst);
  } else {
    g_trace_processors_due.store(true, std::memory_order_relaxed);
    g_trace_generation.store(++generation_, std::memory_order_seq_cst);
  }
  FenceAllThreads();
  struct Taking {
    uint32_t ended;
    std::vector<TraceBatch>& batches;
  } taking{ended, cut.batches};
  TraceThread::ForEach(
      [](TraceThread& thread, void* argument) {
        const auto& [ended_generation, batches] = *static_cast<Taking*>(argument);
        thread.AwaitSection();
        thread.TakeBatches(ended_generation, batches);
      },
      &taking);
  std::erase_if(running, [ended](const TracedRunning& each) { return each.thread->entered(ended); });
  for (const TracedRunning& each : running) cut.batches.push_back(MakeRunningBatch(each, cut.start));
  TraceThread::EndLooking();
  cut.stacks = TraceStacksOf(ended);
  cut.strings = TakeTraceStrings(ended);
  return cut;
}

}  // namespace fiberscope::internal
