#include "runtime/trace/trace_writer.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "runtime/base/tick_clock.h"
#include "runtime/trace/trace_reason.h"
#include "runtime/trace/trace_strings.h"

namespace fiberscope::internal {

namespace {

// Type, time and four arguments of at most 10 bytes.
constexpr size_t kMaxEventBytes = 1 + 5 * 10;

constexpr uint64_t kNoShownProcessor = 0x7fffffff;

struct Threads {
  std::mutex mutex;
  std::vector<std::unique_ptr<TraceThread>> all;  // GUARDED_BY(mutex)
  bool looked_at = false;                         // GUARDED_BY(mutex): by the flip; there is one at a time
};

Threads& TheThreads() {
  static Threads& threads = *new Threads;  // threads may end after static destructors
  return threads;
}

constinit std::atomic<uint64_t> g_dropped{0};

char* PutVarint(char* at, uint64_t value) {
  while (value >= 0x80) {
    *at++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *at++ = static_cast<char>(value);
  return at;
}

uint64_t StatusOf(Traced state) {
  switch (state) {
    case Traced::kRunnable: return static_cast<uint64_t>(TraceFiberStatus::kRunnable);
    case Traced::kRunning: return static_cast<uint64_t>(TraceFiberStatus::kRunning);
    case Traced::kBlocking: return static_cast<uint64_t>(TraceFiberStatus::kBlocking);
    default: return static_cast<uint64_t>(TraceFiberStatus::kWaiting);
  }
}

}  // namespace

// Tells the flip when its thread has ended.
struct TraceThreadOwner {
  TraceThread* thread = nullptr;
  ~TraceThreadOwner();
};

namespace {

// Trivially destroyed, so that it can be asked after the owner has gone.
constinit thread_local bool t_ended = false;
thread_local TraceThreadOwner t_owner;

}  // namespace

TraceThreadOwner::~TraceThreadOwner() {
  t_ended = true;
  if (thread != nullptr) thread->ended_.store(true, std::memory_order_release);
}

__attribute__((noinline)) TraceThread* TraceThread::Current() {
  if (t_ended) return nullptr;
  TraceThreadOwner& owner = t_owner;
  if (owner.thread == nullptr) {
    std::unique_ptr<TraceThread> made(new TraceThread(static_cast<uint64_t>(syscall(SYS_gettid))));
    owner.thread = made.get();
    Threads& threads = TheThreads();
    const std::lock_guard lock(threads.mutex);
    // Workers come and go without any trace, too.
    if (!threads.looked_at) ForgetEnded(threads.all);
    threads.all.push_back(std::move(made));
  }
  return owner.thread;
}

void TraceThread::ForEach(void (*visit)(TraceThread&, void*), void* argument) {
  Threads& threads = TheThreads();
  // A thread that makes its record meanwhile reads the generation later.
  std::vector<TraceThread*> all;
  {
    const std::lock_guard lock(threads.mutex);
    for (const auto& each : threads.all) all.push_back(each.get());
  }
  for (TraceThread* const each : all) visit(*each, argument);
}

size_t TraceThread::count() {
  Threads& threads = TheThreads();
  const std::lock_guard lock(threads.mutex);
  return threads.all.size();
}

void TraceThread::BeginLooking() {
  Threads& threads = TheThreads();
  const std::lock_guard lock(threads.mutex);
  threads.looked_at = true;
}

void TraceThread::EndLooking() {
  Threads& threads = TheThreads();
  const std::lock_guard lock(threads.mutex);
  threads.looked_at = false;
  ForgetEnded(threads.all);
}

// What they wrote and nobody has taken yet stays.
void TraceThread::ForgetEnded(std::vector<std::unique_ptr<TraceThread>>& threads) {
  std::erase_if(threads, [](const std::unique_ptr<TraceThread>& each) {
    // Acquire pairs with the release at the thread's end: its buffers are as it left them.
    if (!each->ended_.load(std::memory_order_acquire)) return false;
    return std::ranges::all_of(each->buffers_, [](const Buffer& buffer) { return buffer.used == 0 && buffer.full.empty(); });
  });
}

void TraceThread::AwaitSection() const {
  // Acquire pairs with the release at the end of a section: what it wrote is visible.
  const uint32_t seen = section_.load(std::memory_order_acquire);
  while (seen % 2 != 0 && section_.load(std::memory_order_acquire) == seen) sched_yield();
}

void TraceThread::TakeBatches(uint32_t generation, std::vector<TraceBatch>& batches) {
  Buffer& buffer = buffers_[generation % 2];
  for (TraceBatch& batch : buffer.full) batches.push_back(std::move(batch));
  buffer.full.clear();
  if (buffer.used == 0) return;
  batches.push_back({.thread = buffer.open.thread, .time = buffer.open.time, .data = buffer.open.data.substr(0, buffer.used)});
  buffer.used = 0;
}

void TraceThread::Assume(const TracedRunning& running, uint32_t trace) {
  assumed_trace_ = trace;
  assumed_processor_ = running.processor;
  assumed_processor_number_ = running.processor->number;
  assumed_fiber_ = running.fiber;
}

void TraceThread::Show() {
  const uint64_t processor = processor_ == nullptr ? kNoShownProcessor : processor_->number;
  // Release: whoever reads them in the middle of a section sees that it has begun. Pairs with the acquires in SilentSince().
  shown_fiber_.store(fiber_.state == nullptr ? 0 : fiber_.id, std::memory_order_release);
  shown_place_.store(uint64_t{generation_} << 32 | processor << 1 | (blocking_ ? 1 : 0), std::memory_order_release);
}

std::optional<SilentThread> TraceThread::SilentSince(uint32_t generation, uint32_t base) const {
  if (ended_.load(std::memory_order_acquire)) return std::nullopt;
  uint64_t fiber = 0;
  uint64_t place = 0;
  for (;; sched_yield()) {
    const uint32_t section = section_.load(std::memory_order_acquire);
    fiber = shown_fiber_.load(std::memory_order_acquire);
    place = shown_place_.load(std::memory_order_acquire);
    if (place >> 32 >= generation) return std::nullopt;
    if (section % 2 == 0 && section_.load(std::memory_order_relaxed) == section) break;
  }
  const bool blocking = (place & 1) != 0;
  if (place >> 32 >= base) {
    if (fiber == 0) return std::nullopt;
    uint64_t processor = (place & 0xffffffff) >> 1;
    if (processor == kNoShownProcessor || (blocking && robbed_.load(std::memory_order_acquire))) {
      processor = SilentThread::kNoProcessor;
    }
    return SilentThread{.thread = id_, .fiber = fiber, .processor = processor, .blocking = blocking};
  }
  if (assumed_trace_ != base) return std::nullopt;
  return SilentThread{.thread = id_, .fiber = assumed_fiber_.id, .processor = assumed_processor_number_};
}

bool TraceThread::IsAssumed(const TracedState& state, uint32_t trace) {
  Threads& threads = TheThreads();
  const std::lock_guard lock(threads.mutex);
  return std::ranges::any_of(threads.all, [&](const std::unique_ptr<TraceThread>& each) {
    const bool was_heard_of = each->shown_place_.load(std::memory_order_relaxed) >> 32 >= trace;
    if (each->assumed_trace_ != trace || was_heard_of) return false;
    return each->assumed_fiber_.state == &state || &each->assumed_processor_->state == &state;
  });
}

uint64_t DroppedTraceEvents() { return g_dropped.load(std::memory_order_relaxed); }

uint64_t TraceTimeNow() { return static_cast<uint64_t>(TickNowNs()) / kTraceNsPerTick; }

TraceBatch MakeRunningBatch(const SilentThread& running, uint64_t time) {
  TraceBatch batch{.thread = running.thread, .time = time};
  char bytes[3 * kMaxEventBytes];
  char* at = bytes;
  *at++ = static_cast<char>(TraceEvent::kProcessorStatus);
  for (const uint64_t each : {uint64_t{0}, running.processor, static_cast<uint64_t>(TraceProcessorStatus::kRunning)}) {
    at = PutVarint(at, each);
  }
  *at++ = static_cast<char>(TraceEvent::kFiberStatus);
  for (const uint64_t each : {uint64_t{0}, running.fiber, batch.thread, StatusOf(Traced::kRunning)}) at = PutVarint(at, each);
  if (running.blocking) {
    *at++ = static_cast<char>(TraceEvent::kBlockingBegin);
    for (const uint64_t each : {0, 1, 0}) at = PutVarint(at, each);  // time, the processor's first number, no stack
  }
  batch.data.assign(bytes, static_cast<size_t>(at - bytes));
  return batch;
}

TraceWriter::TraceWriter(TraceThread* thread) : thread_(thread) {
  if (thread_ == nullptr) return;
  std::atomic<uint32_t>& section = thread_->section_;
  section.store(section.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the store before the load; the flip's membarrier does the rest
  generation_ = g_trace_generation.load(std::memory_order_acquire);
  base_ = g_trace_base.load(std::memory_order_relaxed);
}

TraceWriter::~TraceWriter() {
  if (thread_ == nullptr) return;
  if (generation_ != 0) thread_->Show();
  std::atomic<uint32_t>& section = thread_->section_;
  section.store(section.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

uint64_t TraceWriter::Now() {
  // One reading for all events of a section. Never back, though the clocks of two processors may differ.
  if (now_ == 0) now_ = thread_->last_time_ = std::max(TraceTimeNow(), thread_->last_time_);
  return now_;
}

void TraceWriter::Write(TraceEvent type, std::initializer_list<uint64_t> arguments) {
  Buffer& buffer = thread_->buffers_[generation_ % 2];
  const uint64_t before = thread_->last_time_;
  const uint64_t now = Now();
  if (__builtin_expect(buffer.used == 0 || buffer.used + kMaxEventBytes > TraceBatch::kMaxBytes, false)) {
    if (buffer.used != 0) {
      buffer.open.data.resize(buffer.used);
      buffer.full.push_back(std::move(buffer.open));
    }
    buffer.open = {.thread = thread_->id_, .time = now, .data = std::string(TraceBatch::kMaxBytes, '\0')};
    buffer.used = 0;
    g_trace_buffer_bytes[generation_ % 2].fetch_add(TraceBatch::kMaxBytes, std::memory_order_relaxed);
  }
  char* const begin = buffer.open.data.data() + buffer.used;
  char* at = begin;
  *at++ = static_cast<char>(type);
  at = PutVarint(at, buffer.used == 0 ? 0 : now - before);
  for (const uint64_t each : arguments) at = PutVarint(at, each);
  buffer.used += static_cast<size_t>(at - begin);
}

void TraceWriter::Drop() { g_dropped.fetch_add(1, std::memory_order_relaxed); }

void TraceWriter::WriteStatus(const TracedFiber& fiber, Traced state) {
  const bool here = state == Traced::kRunning || state == Traced::kBlocking;
  Write(TraceEvent::kFiberStatus, {fiber.id, here ? thread_->id_ : kNoTraceThread, StatusOf(state)});
}

// ---- Bringing the trace to where an event begins

void TraceWriter::EnterGeneration() {
  TraceThread& t = *thread_;
  if (t.generation_ == generation_) return;
  const bool of_this_trace = t.generation_ >= base_ && t.generation_ != 0;
  t.generation_ = generation_;
  t.entered_[generation_ % 2] = generation_;
  if (!of_this_trace) {
    t.processor_ = nullptr;
    t.fiber_ = {};
    t.blocking_ = false;
    // In the first generation the flip may be about to write what is assumed; later, that is what the first one has said.
    if (generation_ == base_ || t.assumed_trace_ != base_) return;
    t.processor_ = t.assumed_processor_;
    t.processor_->state.Store(TracedWord::Of(Traced::kRunning, base_));
    t.fiber_ = t.assumed_fiber_;
    t.fiber_.state->Store(TracedWord::Of(Traced::kRunning, base_));
  }
  // The processor of a blocking call may be somebody else's by now: whoever has it names it.
  if (t.processor_ != nullptr && !t.blocking_) {
    Write(TraceEvent::kProcessorStatus, {t.processor_->number, static_cast<uint64_t>(TraceProcessorStatus::kRunning)});
    t.processor_->state.Store(t.processor_->state.Load().In(generation_));
  }
  if (t.fiber_.state != nullptr) {
    WriteStatus(t.fiber_, t.blocking_ ? Traced::kBlocking : Traced::kRunning);
    t.fiber_.state->Store(t.fiber_.state->Load().In(generation_));
  }
}

bool TraceWriter::Mention(const TracedFiber& fiber, Traced if_unknown) {
  const TraceThread& t = *thread_;
  for (;;) {
    const TracedWord word = fiber.state->Load();
    if (word.generation() >= base_ && word.state() != Traced::kUnknown) {
      if (word.state() == Traced::kGone) return false;
      if (word.generation() == generation_) return true;
      // What another thread runs is for that to name.
      if ((word.state() == Traced::kRunning || word.state() == Traced::kBlocking) && t.fiber_.state != fiber.state) return false;
      WriteStatus(fiber, word.state());
      fiber.state->Store(word.In(generation_));
      return true;
    }
    if (fiber.id == 0) return false;
    const bool born_in_trace = word.generation() >= base_;
    if (generation_ == base_ && !born_in_trace) {
      if (!fiber.state->Replace(word, TracedWord::Of(if_unknown, generation_))) continue;  // the sweep was faster
      WriteStatus(fiber, if_unknown);
      return true;
    }
    // It is new; or so it must seem, because the first generation named all fibers that there were. Except if that said that a
    // thread runs it, which let go of it unseen, and must be heard first.
    if (t.processor_ == nullptr || t.blocking_) return false;
    if (!born_in_trace && TraceThread::IsAssumed(*fiber.state, base_)) return false;
    fiber.state->Store(TracedWord::Of(Traced::kRunnable, generation_));
    Write(TraceEvent::kFiberCreate, {fiber.id, StackOf(fiber.entry_pc + 1), 0});
    return true;
  }
}

void TraceWriter::LeaveFiber() {
  TraceThread& t = *thread_;
  if (t.blocking_) {
    Write(TraceEvent::kBlockingEndLost, {});
    t.processor_ = nullptr;
    t.blocking_ = false;
  } else {
    Write(TraceEvent::kFiberStop, {kUnknownTraceReason, 0});
  }
  t.fiber_.state->Store(t.fiber_.state->Load().To(Traced::kRunnable));
  t.fiber_ = {};
}

bool TraceWriter::TakeProcessor(TracedProcessor& processor) {
  TracedWord word = processor.state.Load();
  if (word.generation() < base_ || word.state() == Traced::kUnknown) {
    if (generation_ != base_ && TraceThread::IsAssumed(processor.state, base_)) return false;  // as in Mention
    Write(TraceEvent::kProcessorStatus, {processor.number, static_cast<uint64_t>(TraceProcessorStatus::kRunning)});
    processor.state.Store(TracedWord::Of(Traced::kRunning, generation_));
  } else {
    if (word.state() != Traced::kIdle) return false;
    if (word.generation() != generation_) {
      Write(TraceEvent::kProcessorStatus, {processor.number, static_cast<uint64_t>(TraceProcessorStatus::kIdle)});
      word = word.In(generation_);
    }
    word = word.Numbered().To(Traced::kRunning);
    Write(TraceEvent::kProcessorStart, {processor.number, word.sequence()});
    processor.state.Store(word);
  }
  thread_->processor_ = &processor;
  return true;
}

bool TraceWriter::TakeFiber(const TracedFiber& fiber, bool runs_already) {
  TraceThread& t = *thread_;
  const bool is_unknown = fiber.state->Load().generation() < base_;
  if (!Mention(fiber, runs_already ? Traced::kRunning : Traced::kRunnable)) return false;
  TracedWord word = fiber.state->Load();
  if (word.state() == Traced::kRunning && is_unknown) {
    t.fiber_ = fiber;
    return true;
  }
  if (word.state() == Traced::kWaiting) {
    word = word.Numbered().To(Traced::kRunnable);
    Write(TraceEvent::kFiberUnblock, {fiber.id, word.sequence(), 0});
  }
  if (word.state() != Traced::kRunnable) return false;  // on another thread, as far as the trace knows
  word = word.Numbered().To(Traced::kRunning);
  Write(TraceEvent::kFiberStart, {fiber.id, word.sequence()});
  fiber.state->Store(word);
  t.fiber_ = fiber;
  return true;
}

__attribute__((noinline)) bool TraceWriter::BecomeSlowly(TracedProcessor* has, const TracedFiber& runs) {
  TraceThread& t = *thread_;
  EnterGeneration();
  if (t.fiber_.state != nullptr && (t.fiber_.state != runs.state || t.blocking_)) LeaveFiber();
  if (t.processor_ != has) {
    if (t.fiber_.state != nullptr) LeaveFiber();
    if (t.processor_ != nullptr) {
      Write(TraceEvent::kProcessorStop, {});
      t.processor_->state.Store(t.processor_->state.Load().To(Traced::kIdle));
      t.processor_ = nullptr;
    }
    if (has != nullptr && !TakeProcessor(*has)) {
      Drop();
      return false;
    }
  }
  if (runs.state != nullptr && t.fiber_.state != runs.state && !TakeFiber(runs, /*runs_already=*/true)) {
    Drop();
    return false;
  }
  return true;
}

// ---- Events

void TraceWriter::FiberCreate(TracedProcessor& has, const TracedFiber& runs, const TracedFiber& created, uint64_t stack) {
  if (!Become(&has, runs)) return;
  created.state->Store(TracedWord::Of(Traced::kRunnable, generation_));
  Write(TraceEvent::kFiberCreate, {created.id, StackOf(created.entry_pc + 1), stack});
}

void TraceWriter::FiberBorn(const TracedFiber& created) {
  created.state->Store(TracedWord::Of(Traced::kUnknown, generation_));
}

void TraceWriter::FiberArrived(TracedProcessor& has, const TracedFiber& arrived) {
  if (Become(&has, {})) (void)Mention(arrived, Traced::kRunnable);
}

void TraceWriter::FiberStart(TracedProcessor& has, const TracedFiber& started) {
  if (!Become(&has, {})) return;
  if (!TakeFiber(started, /*runs_already=*/false)) return Drop();
  if (__builtin_expect(g_trace_due.load(std::memory_order_relaxed) == 0, true)) return;
  const uint32_t due = g_trace_due.exchange(0, std::memory_order_relaxed);
  if ((due & kTraceProcessorsDue) != 0) {
    Write(TraceEvent::kProcessorsChange, {g_trace_processors.load(std::memory_order_relaxed), 0});
  }
  if ((due & kTraceHeapDue) != 0) Write(TraceEvent::kHeapAlloc, {g_trace_heap_bytes.load(std::memory_order_relaxed)});
}

void TraceWriter::FiberStop(TracedProcessor& has, const TracedFiber& runs, uint64_t reason, uint64_t stack) {
  if (!Become(&has, runs)) return;
  Write(TraceEvent::kFiberStop, {reason, stack});
  runs.state->Store(runs.state->Load().To(Traced::kRunnable));
  thread_->fiber_ = {};
}

void TraceWriter::FiberBlock(TracedProcessor& has, const TracedFiber& runs, uint64_t reason, uint64_t stack) {
  if (!Become(&has, runs)) return;
  Write(TraceEvent::kFiberBlock, {reason, stack});
  runs.state->Store(runs.state->Load().To(Traced::kWaiting));
  thread_->fiber_ = {};
}

void TraceWriter::FiberDestroy(TracedProcessor& has, const TracedFiber& runs) {
  if (!Become(&has, runs)) return runs.state->Store(TracedWord::Of(Traced::kGone, generation_));
  Write(TraceEvent::kFiberDestroy, {});
  runs.state->Store(runs.state->Load().To(Traced::kGone));
  thread_->fiber_ = {};
}

uint64_t TraceWriter::String(std::string_view text) { return TraceStringNumber(generation_, text); }

bool TraceWriter::Annotate(TracedProcessor& has, const TracedFiber& runs, TraceEvent type,
                           std::initializer_list<uint64_t> arguments) {
  if (!Become(&has, runs)) return false;
  Write(type, arguments);
  return true;
}

void TraceWriter::FiberUnblock(const TracedFiber& fiber, uint64_t stack) {
  EnterGeneration();
  if (!Mention(fiber, Traced::kWaiting)) {
    // Unknown, later, and no processor at hand: whoever starts it makes it known.
    if (fiber.state->Load().generation() >= base_) Drop();
    return;
  }
  const TracedWord word = fiber.state->Load();
  if (word.state() == Traced::kRunnable) return;
  if (word.state() != Traced::kWaiting) return Drop();
  const TracedWord woken = word.Numbered().To(Traced::kRunnable);
  Write(TraceEvent::kFiberUnblock, {fiber.id, woken.sequence(), stack});
  fiber.state->Store(woken);
}

void TraceWriter::BlockingBegin(TracedProcessor& has, const TracedFiber& runs, uint64_t stack) {
  if (!Become(&has, runs)) return;
  const TracedWord word = has.state.Load().Numbered().To(Traced::kBlocking);
  Write(TraceEvent::kBlockingBegin, {word.sequence(), stack});
  has.state.Store(word);
  runs.state->Store(runs.state->Load().To(Traced::kBlocking));
  thread_->robbed_.store(false, std::memory_order_relaxed);
  thread_->blocking_ = true;
}

void TraceWriter::BlockingHandOff(TracedProcessor& had) {
  TraceThread& t = *thread_;
  EnterGeneration();
  if (!t.blocking_ || t.processor_ != &had) return;
  TracedWord word = had.state.Load();
  if (word.generation() != generation_) {
    Write(TraceEvent::kProcessorStatus, {had.number, static_cast<uint64_t>(TraceProcessorStatus::kBlocking)});
    word = word.In(generation_);
  }
  Write(TraceEvent::kProcessorStop, {});
  had.state.Store(word.To(Traced::kIdle));
  t.processor_ = nullptr;
}

void TraceWriter::ProcessorSteal(TracedProcessor& stolen, uint64_t from_thread, TraceThread* victim) {
  EnterGeneration();
  if (victim != nullptr) victim->robbed_.store(true, std::memory_order_release);
  TracedWord word = stolen.state.Load();
  if (word.generation() < base_ || word.state() != Traced::kBlocking) return;
  if (word.generation() != generation_) {
    Write(TraceEvent::kProcessorStatus, {stolen.number, kAbandonedTraceProcessor});
    word = word.In(generation_);
  }
  word = word.Numbered().To(Traced::kIdle);
  Write(TraceEvent::kProcessorSteal, {stolen.number, word.sequence(), from_thread});
  stolen.state.Store(word);
}

void TraceWriter::BlockingEnd(TracedProcessor& has, const TracedFiber& runs) {
  TraceThread& t = *thread_;
  EnterGeneration();
  if (!t.blocking_ || t.fiber_.state != runs.state || t.processor_ != &has) {
    (void)Become(&has, runs);
    return;
  }
  TracedWord word = has.state.Load();
  if (word.generation() != generation_) {
    Write(TraceEvent::kProcessorStatus, {has.number, static_cast<uint64_t>(TraceProcessorStatus::kBlocking)});
    word = word.In(generation_);
  }
  Write(TraceEvent::kBlockingEnd, {});
  has.state.Store(word.To(Traced::kRunning));
  runs.state->Store(runs.state->Load().To(Traced::kRunning));
  t.blocking_ = false;
}

void TraceWriter::BlockingEndLost(TracedProcessor* has, const TracedFiber& runs) {
  TraceThread& t = *thread_;
  EnterGeneration();
  if (t.blocking_ && t.fiber_.state == runs.state) {
    LeaveFiber();
  } else if (runs.state->Load().state() != Traced::kRunnable || runs.state->Load().generation() < base_) {
    FiberUnblock(runs, 0);  // the trace began meanwhile: it was waiting, as far as that knows
  }
  if (has != nullptr) (void)Become(has, runs);
}

}  // namespace fiberscope::internal
