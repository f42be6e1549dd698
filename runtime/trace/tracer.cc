#include "runtime/trace/tracer.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/base/process_fence.h"
#include "runtime/base/tick_clock.h"
#include "runtime/trace/trace_samples.h"
#include "runtime/trace/trace_stacks.h"
#include "runtime/trace/trace_strings.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope::internal {

// What the process records, for its tracers. All of it GUARDED_BY(mutex) but for `lost`.
struct Recording {
  std::mutex mutex;
  std::vector<Tracer*> tracers;
  Tracer::Sources sources;
  TraceStackMemo stacks;
  std::vector<TracedRunning> running_at_start;  // of the recording
  uint32_t generation = 0;  // being written, or the last one; never the same again
  uint32_t base = 0;        // the first one
  uint64_t start = 0;       // of `generation`
  std::atomic<bool> lost{false};  // a fork has taken place in the middle

  void Begin(const Tracer::Sources& from);
  // Ends the present generation and gives it to all tracers. What it and those from `since` on do not say: `silence`; null if
  // nobody wants to know.
  void Cut(bool last, uint32_t since, Silence* silence);

  void SweepFibers(std::vector<TraceStatus>& statuses);
  std::vector<TracedRunning> StillRunning() const;
  Silence Listen(uint32_t since) const;
};

namespace {

Recording& TheRecording() {
  static Recording& recording = *new Recording;  // a tracer may be a static one
  return recording;
}

// A fork in the middle of a recording leaves the child with buffers of threads that it does not have. Nothing is recorded there any
// more, nor can it be.
bool Prepare() {
  const auto before = [] { TheRecording().mutex.lock(); };
  const auto in_parent = [] { TheRecording().mutex.unlock(); };
  const auto in_child = [] {
    Recording& recording = TheRecording();
    if (!recording.tracers.empty()) recording.lost = true;
    recording.tracers.clear();
    g_trace_generation.store(0, std::memory_order_relaxed);
    recording.mutex.unlock();
  };
  static const bool can = CanFenceAllThreads() && pthread_atfork(before, in_parent, in_child) == 0;
  return can;
}

uint64_t BytesOf(const TraceGeneration& generation) {
  uint64_t bytes = generation.recorded_bytes() + generation.statuses.size() * sizeof(TraceStatus);
  for (const TraceString& each : generation.strings) bytes += sizeof each + each.text.size();
  for (const TraceStack& each : generation.stacks) bytes += sizeof each + each.pcs.size() * sizeof(uintptr_t);
  return bytes + generation.samples.size() * sizeof(TraceSample);
}

}  // namespace

void Recording::Begin(const Tracer::Sources& from) {
  CalibrateTickClock();
  UnwindTable::Refresh();
  DropTraceSamples();
  sources = from;
  base = ++generation;
  start = TraceTimeNow();
  g_trace_due.store(kTraceProcessorsDue, std::memory_order_relaxed);
  g_trace_base.store(base, std::memory_order_relaxed);
  g_trace_generation.store(generation, std::memory_order_release);
  running_at_start = sources.running_now();
}

void Recording::SweepFibers(std::vector<TraceStatus>& statuses) {
  sources.for_each_fiber([&](const TracedFiber& fiber, Traced state) {
    if (state == Traced::kRunning || state == Traced::kUnknown) return;  // says so itself; will be created
    const TracedWord word = fiber.state->Load();
    if (word.generation() >= base) return;  // whoever mentioned it said what it was doing
    // Those in blocking calls began them before the trace: readers would want to know on which thread, which only that may say.
    const bool runnable = state == Traced::kRunnable;
    if (!fiber.state->Replace(word, TracedWord::Of(runnable ? Traced::kRunnable : Traced::kWaiting, generation))) return;
    const uint64_t stack = fiber.entry_pc == 0 ? 0 : stacks.NumberOf(generation, fiber.entry_pc + 1);
    statuses.push_back({.fiber = fiber.id,
                        .status = runnable ? TraceFiberStatus::kRunnable : TraceFiberStatus::kWaiting,
                        .stack = stack});
  });
}

// Those that have been running, all the while, what they ran when the recording began.
std::vector<TracedRunning> Recording::StillRunning() const {
  std::vector<TracedRunning> still;
  for (const TracedRunning& now : sources.running_now()) {
    const bool since_start = std::ranges::any_of(running_at_start, [&](const TracedRunning& then) {
      return then.thread == now.thread && then.fiber.id == now.fiber.id && then.slice == now.slice;
    });
    if (since_start) still.push_back(now);
  }
  return still;
}

// Nothing is lost between the two looks: a fiber that a thread takes or lets go meanwhile is in this generation's events.
Silence Recording::Listen(uint32_t since) const {
  Silence silence;
  struct Listening {
    uint32_t since;
    uint32_t base;
    std::vector<SilentThread>& threads;
  } listening{since, base, silence.threads};
  TraceThread::ForEach(
      [](TraceThread& thread, void* argument) {
        const auto& [from, first, threads] = *static_cast<Listening*>(argument);
        if (const std::optional<SilentThread> silent = thread.SilentSince(from, first)) threads.push_back(*silent);
      },
      &listening);
  sources.for_each_fiber([&](const TracedFiber& fiber, Traced) {
    const TracedWord word = fiber.state->Load();
    if (word.generation() < base || word.generation() >= since) return;
    if (word.state() != Traced::kWaiting && word.state() != Traced::kRunnable) return;
    const bool waits = word.state() == Traced::kWaiting;
    silence.fibers.push_back({.fiber = fiber.id,
                              .status = waits ? TraceFiberStatus::kWaiting : TraceFiberStatus::kRunnable,
                              .entry_pc = fiber.entry_pc});
  });
  return silence;
}

void Recording::Cut(bool last, uint32_t since, Silence* silence) {
  auto cut = std::make_shared<TraceGeneration>();
  cut->number = generation - base + 1;
  cut->start = start;
  cut->ticks_per_second = kTraceTicksPerSecond;
  // Code may have been loaded meanwhile; its stacks end where the table does.
  UnwindTable::Refresh();
  TraceThread::BeginLooking();
  std::vector<TracedRunning> running;
  if (generation == base) {
    SweepFibers(cut->statuses);
    running = StillRunning();
    for (const TracedRunning& each : running) each.thread->Assume(each, base);
  } else if (silence != nullptr && since > base) {
    *silence = Listen(since);
  }
  const uint32_t ended = generation;
  start = TraceTimeNow();
  if (last) {
    g_trace_generation.store(0, std::memory_order_seq_cst);
  } else {
    g_trace_due.fetch_or(kTraceProcessorsDue, std::memory_order_relaxed);
    g_trace_generation.store(++generation, std::memory_order_seq_cst);
  }
  FenceAllThreads();
  struct Taking {
    uint32_t ended;
    std::vector<TraceBatch>& batches;
  } taking{ended, cut->batches};
  TraceThread::ForEach(
      [](TraceThread& thread, void* argument) {
        const auto& [ended_generation, batches] = *static_cast<Taking*>(argument);
        thread.AwaitSection();
        thread.TakeBatches(ended_generation, batches);
      },
      &taking);
  for (const TracedRunning& each : running) {
    if (each.thread->entered(ended)) continue;
    const SilentThread silent = {.thread = each.thread->id(), .fiber = each.fiber.id, .processor = each.processor->number};
    cut->batches.push_back(MakeRunningBatch(silent, cut->start));
  }
  TraceThread::EndLooking();
  g_trace_buffer_bytes[ended % 2].store(0, std::memory_order_relaxed);
  cut->stacks = TraceStacksOf(ended);
  cut->strings = TakeTraceStrings(ended);
  TakeTraceSamples(*cut);
  const uint64_t bytes = BytesOf(*cut);
  for (Tracer* const each : tracers) each->kept_.push_back({.number = ended, .generation = cut, .bytes = bytes, .end = start});
}

absl::StatusOr<std::unique_ptr<Tracer>> Tracer::Start(const Sources& sources) {
  if (!Prepare()) return absl::UnimplementedError("execution trace: this kernel has no membarrier(2), or forbids it");
  Recording& recording = TheRecording();
  if (recording.lost) {
    return absl::FailedPreconditionError("execution trace: this process was forked off one that recorded a trace at that moment");
  }
  std::unique_ptr<Tracer> tracer(new Tracer());
  const std::lock_guard lock(recording.mutex);
  // Its first generation begins now.
  if (recording.tracers.empty()) {
    recording.Begin(sources);
  } else {
    recording.Cut(/*last=*/false, 0, nullptr);
  }
  recording.tracers.push_back(tracer.get());
  return tracer;
}

Tracer::~Tracer() {
  if (!stopped_) (void)Stop();
}

// Ends the present generation. What is kept then; with `first`, and what must stand before it.
TraceGenerations Tracer::CutAndList(bool last, bool first) {
  Recording& recording = TheRecording();
  if (recording.lost) return {};
  Silence silence;
  TraceGenerations all;
  {
    const std::lock_guard lock(recording.mutex);
    const uint32_t since = kept_.empty() ? recording.generation : kept_.front().number;
    recording.Cut(last && recording.tracers.size() == 1, since, first ? &silence : nullptr);
    if (last) std::erase(recording.tracers, this);
    for (const Kept& each : kept_) all.push_back(each.generation);
  }
  // What is in the list does not change any more, so this needs no lock. The recording's first one names all fibers itself.
  if (first && all.front()->number != 1) all.insert(all.begin(), GenerationBefore(all, silence));
  return all;
}

void Tracer::Cut() { (void)CutAndList(/*last=*/false, /*first=*/false); }

TraceGenerations Tracer::Look() { return CutAndList(/*last=*/false, /*first=*/true); }

TraceGenerations Tracer::Next() {
  Recording& recording = TheRecording();
  TraceGenerations all = CutAndList(/*last=*/false, /*first=*/!std::exchange(begun_, true));
  const std::lock_guard lock(recording.mutex);
  // Another tracer may have cut meanwhile.
  while (!all.empty() && !kept_.empty() && kept_.front().generation->number <= all.back()->number) kept_.pop_front();
  return all;
}

TraceGenerations Tracer::Stop() {
  stopped_ = true;
  TraceGenerations all = CutAndList(/*last=*/true, /*first=*/!begun_);
  kept_.clear();
  return all;
}

void Tracer::Trim(uint64_t max_bytes, std::chrono::nanoseconds min_age) {
  const uint64_t ticks = static_cast<uint64_t>(std::max<int64_t>(min_age.count(), 0)) / kTraceNsPerTick;
  const uint64_t now = TraceTimeNow();
  const std::lock_guard lock(TheRecording().mutex);
  uint64_t bytes = 0;
  for (const Kept& each : kept_) bytes += each.bytes;
  while (kept_.size() > 1) {
    const bool rest_is_old_enough = kept_.front().end + ticks <= now;
    if (bytes <= max_bytes && !rest_is_old_enough) return;
    bytes -= kept_.front().bytes;
    kept_.pop_front();
  }
}

uint64_t TraceBytesBeingRecorded() {
  const uint32_t generation = g_trace_generation.load(std::memory_order_relaxed);
  return generation == 0 ? 0 : g_trace_buffer_bytes[generation % 2].load(std::memory_order_relaxed);
}

}  // namespace fiberscope::internal
