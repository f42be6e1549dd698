// Plays a scheduler as its input says, with execution traces that begin, are cut and end at any moment of it: what is
// recorded must be in order whatever comes, each generation by itself and all of them as one trace, and be the same
// when it is encoded and read again. Beside the trace a recorder may keep the past, or forget it: what is left must be a
// whole trace at any moment.
//
// Three worker threads, three processors and a few fibers, of which the player knows what they do. A hook of the
// runtime is played as the runtime calls it: it comes first, if a trace is being taken; what it speaks of happens at
// some later time, so a trace may have begun, been cut or ended in between. Steps that are not possible are left out,
// or, if the input's first byte says so, told to the trace nevertheless where it knows the parties: it must leave them
// out, or supply what is missing.
//
// An input is that byte and steps of two bytes: which, with a thread; and whom it is about.
#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "pprof/byte_sink.h"
#include "pprof/trace/go119_encoder.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/trace_timeline.h"
#include "runtime/trace/trace_reason.h"
#include "runtime/trace/tracer.h"
#include "tests/testing/fake_trace_frames.h"
#include "tests/testing/go_trace_readers.h"

namespace {

using namespace fiberscope;
using namespace fiberscope::internal;
using pprof::TraceTimeline;

#define CHECK_THAT(condition) Check(condition, #condition, __LINE__)
void Check(bool condition, const char* text, int line) {
  if (condition) return;
  std::fprintf(stderr, "trace_writer_fuzz.cc:%d: %s\n", line, text);
  std::abort();
}

// A thread that does what it is told, one thing after the other.
class Hand {
 public:
  Hand() {
    thread_ = std::thread([this] { Work(); });
    Do([this] { trace_thread_ = TraceThread::Current(); });
  }
  ~Hand() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Hand(const Hand&) = delete;
  Hand& operator=(const Hand&) = delete;

  // Returns when it has done it.
  void Do(const std::function<void()>& task) {
    std::unique_lock lock(mutex_);
    task_ = &task;
    changed_.notify_all();
    changed_.wait(lock, [this] { return task_ == nullptr; });
  }
  TraceThread* trace_thread() const { return trace_thread_; }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ends_ || task_ != nullptr; });
      if (ends_) return;
      (*task_)();
      task_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* task_ = nullptr;
  bool ends_ = false;
  TraceThread* trace_thread_ = nullptr;
  std::thread thread_;
};

enum class Doing { kWaits, kRunnable, kRuns, kBlocks, kGone };

struct Fiber {
  uint64_t id = 0;
  TracedState state = {};
  Doing doing = Doing::kRunnable;
  bool elsewhere = false;  // in a queue from which a worker takes it in hand first
  bool in_transition = false;
  std::vector<std::pair<std::string, uint32_t>> regions = {};  // open ones, and the trace that they began in

  TracedFiber traced() { return {id, &state, 0x1000 + id % 4}; }
};

struct Processor {
  TracedProcessor traced;
  bool is_free = true;
};

struct Thread {
  std::unique_ptr<Hand> hand = std::make_unique<Hand>();
  Processor* processor = nullptr;
  Fiber* fiber = nullptr;  // that runs here, or is in a blocking call
  bool blocks = false;     // it is
  bool lost = false;       // and the processor is gone
  uint64_t slice = 0;
  std::function<void()> happens = {};  // what the last hook spoke of
};

class Player {
 public:
  Player(std::string_view steps, bool also_impossible) : steps_(steps), also_impossible_(also_impossible) {
    for (size_t i = 0; i < processors_.size(); ++i) processors_[i].traced.number = i;
  }

  void Play() {
    for (; steps_.size() >= 2; steps_.remove_prefix(2)) {
      const auto what = static_cast<uint8_t>(steps_[0]);
      Step(what % 32, threads_[what / 32 % threads_.size()], static_cast<uint8_t>(steps_[1]));
    }
    StopTrace();
    StopRecorder();
  }

 private:
  using Writing = std::function<void(TraceWriter&)>;

  // A hook on that thread, and what it speaks of. `later`: that happens with the thread's next step.
  void Hook(Thread& thread, const Writing& hook, bool later, std::function<void()> happens) {
    Write(thread, hook);
    thread.happens = std::move(happens);
    if (!later) Settle(thread);
  }
  void Write(Thread& thread, const Writing& hook) {
    if (!TraceOn()) return;
    thread.hand->Do([&] {
      TraceWriter writer(thread.hand->trace_thread());
      if (writer.on()) hook(writer);
    });
  }
  static void Settle(Thread& thread) {
    if (thread.happens) std::exchange(thread.happens, nullptr)();
  }

  Fiber* Pick(uint8_t whom) { return fibers_.empty() ? nullptr : fibers_[whom % fibers_.size()].get(); }
  Fiber& Make() {
    fibers_.push_back(std::make_unique<Fiber>());
    fibers_.back()->id = ++last_id_;
    return *fibers_.back();
  }
  // Nobody speaks of it any more, but for what the trace knows of its thread.
  void Bury() {
    const auto gone = std::ranges::partition(fibers_, [](const auto& each) { return each->doing != Doing::kGone; });
    std::ranges::move(gone, std::back_inserter(gone_));
    fibers_.erase(gone.begin(), gone.end());
  }

  void Step(uint8_t what, Thread& t, uint8_t whom) {
    Settle(t);
    const bool later = whom >= 128;
    Processor& processor = processors_[whom % processors_.size()];
    Fiber* const fiber = Pick(whom % 128);
    switch (what) {
      case 0:
        return TakeProcessor(t, processor);
      case 1:
        return DropProcessor(t, later);
      case 2:
      case 3:
        return Spawn(t);
      case 4:
      case 5:
      case 6:
        return Start(t, fiber, later);
      case 7:
        return Stop(t, later);
      case 8:
      case 9:
        return Block(t, later);
      case 10:
        return Destroy(t, later);
      case 11:
      case 12:
      case 13:
        return Unblock(t, fiber, later);
      case 14:
        return BeginCall(t, later);
      case 15:
        return HandOff(t);
      case 16:
        return Steal(t, processor);
      case 17:
      case 18:
        return EndCall(t, processor, later);
      case 19:
      case 20:
      case 21:
        return Annotate(t, whom);
      case 22:
        return ReplaceThread(t);
      case 23:
        return whom < 128 ? StartTrace() : StartRecorder();
      case 24:
        return whom < 85 ? CutTrace() : whom < 170 ? CutRecorder(whom) : LookBack();
      case 25:
        return whom < 32 ? StopTrace() : whom < 48 ? StopRecorder() : StartTrace();
      default:
        return Impossible(what, t, fiber, processor);
    }
  }

  void TakeProcessor(Thread& t, Processor& processor) {
    if (t.processor != nullptr || t.blocks || !processor.is_free) return;
    processor.is_free = false;
    t.processor = &processor;
    Write(t, [&](TraceWriter& writer) { writer.ProcessorStart(processor.traced); });
  }

  void DropProcessor(Thread& t, bool later) {
    if (t.processor == nullptr || t.blocks || t.fiber != nullptr) return;
    Hook(
        t, [](TraceWriter& writer) { writer.ProcessorStop(); }, later,
        [&t] { std::exchange(t.processor, nullptr)->is_free = true; });
  }

  void Spawn(Thread& t) {
    Bury();
    if (fibers_.size() >= 8) return;
    Fiber& created = Make();
    if (t.processor == nullptr || t.blocks) {
      created.elsewhere = true;
      return Write(t, [&](TraceWriter& writer) { writer.FiberBorn(created.traced()); });
    }
    Write(t, [&](TraceWriter& writer) {
      writer.FiberCreate(t.processor->traced, t.fiber != nullptr ? t.fiber->traced() : TracedFiber(), created.traced(),
                         0);
    });
  }

  void Start(Thread& t, Fiber* fiber, bool later) {
    const bool can = fiber != nullptr && fiber->doing == Doing::kRunnable && !fiber->in_transition;
    if (!can || t.processor == nullptr || t.blocks || t.fiber != nullptr) return;
    if (std::exchange(fiber->elsewhere, false)) {
      Write(t, [&](TraceWriter& writer) { writer.FiberArrived(t.processor->traced, fiber->traced()); });
    }
    fiber->in_transition = true;
    Hook(
        t, [&](TraceWriter& writer) { writer.FiberStart(t.processor->traced, fiber->traced()); }, later,
        [&t, fiber] { Runs(t, *fiber); });
  }
  static void Runs(Thread& t, Fiber& fiber) {
    fiber.in_transition = false;
    fiber.doing = Doing::kRuns;
    t.fiber = &fiber;
    ++t.slice;
  }

  bool IsRunning(const Thread& t) const { return t.fiber != nullptr && !t.blocks; }

  // The running fiber lets go, told by `hook`.
  void LetGo(Thread& t, bool later, Doing next, const Writing& hook) {
    Hook(t, hook, later, [&t, next] { std::exchange(t.fiber, nullptr)->doing = next; });
  }
  void Stop(Thread& t, bool later) {
    if (!IsRunning(t)) return;
    LetGo(t, later, Doing::kRunnable,
          [&](TraceWriter& writer) { writer.FiberStop(t.processor->traced, t.fiber->traced(), kYieldTraceReason, 0); });
  }
  void Block(Thread& t, bool later) {
    if (!IsRunning(t)) return;
    LetGo(t, later, Doing::kWaits, [&](TraceWriter& writer) {
      const uint64_t dropped = DroppedTraceEvents();
      writer.FiberBlock(t.processor->traced, t.fiber->traced(), kFirstWaitTraceReason + 1, writer.StackOf(0x2000));
      if (DroppedTraceEvents() == dropped) ++blocks_;
    });
  }
  void Destroy(Thread& t, bool later) {
    if (!IsRunning(t)) return;
    LetGo(t, later, Doing::kGone, [&](TraceWriter& writer) {
      const uint64_t dropped = DroppedTraceEvents();
      writer.FiberDestroy(t.processor->traced, t.fiber->traced());
      if (DroppedTraceEvents() == dropped) ++ends_;
    });
  }

  void Unblock(Thread& t, Fiber* fiber, bool later) {
    if (fiber == nullptr || fiber->doing != Doing::kWaits || fiber->in_transition) return;
    fiber->in_transition = true;
    fiber->elsewhere = t.processor == nullptr || t.blocks;
    Hook(
        t, [&](TraceWriter& writer) { writer.FiberUnblock(fiber->traced(), writer.StackOf(0x3000)); }, later,
        [fiber] {
          fiber->in_transition = false;
          fiber->doing = Doing::kRunnable;
        });
  }

  void BeginCall(Thread& t, bool later) {
    if (!IsRunning(t)) return;
    t.blocks = true;
    Hook(
        t, [&](TraceWriter& writer) { writer.BlockingBegin(t.processor->traced, t.fiber->traced(), 0); }, later,
        [&t] { t.fiber->doing = Doing::kBlocks; });
  }
  void HandOff(Thread& t) {
    if (!t.blocks || t.lost) return;
    Write(t, [&](TraceWriter& writer) { writer.BlockingHandOff(t.processor->traced); });
    Lose(t);
  }
  // By thread t, from whoever blocks with it.
  void Steal(Thread& t, Processor& stolen) {
    for (Thread& victim : threads_) {
      if (&victim == &t || !victim.blocks || victim.lost || victim.processor != &stolen) continue;
      Settle(victim);
      Write(t, [&](TraceWriter& writer) {
        TraceThread* const record = victim.hand->trace_thread();
        writer.ProcessorSteal(stolen.traced, record->id(), record);
      });
      return Lose(victim);
    }
  }
  static void Lose(Thread& t) {
    t.lost = true;
    std::exchange(t.processor, nullptr)->is_free = true;
  }
  void EndCall(Thread& t, Processor& processor, bool later) {
    if (!t.blocks) return;
    if (!t.lost) {
      return Hook(
          t, [&](TraceWriter& writer) { writer.BlockingEnd(t.processor->traced, t.fiber->traced()); }, /*later=*/false,
          [&t] {
            t.blocks = false;
            Runs(t, *t.fiber);
          });
    }
    const bool goes_on = processor.is_free && !later;
    if (goes_on) processor.is_free = false;
    Write(t, [&](TraceWriter& writer) {
      writer.BlockingEndLost(goes_on ? &processor.traced : nullptr, t.fiber->traced());
    });
    t.blocks = t.lost = false;
    if (goes_on) {
      t.processor = &processor;
      return Runs(t, *t.fiber);
    }
    t.fiber->doing = Doing::kRunnable;
    t.fiber->elsewhere = true;
    t.fiber = nullptr;
  }

  void Annotate(Thread& t, uint8_t kind) {
    if (!IsRunning(t)) return;
    Fiber& fiber = *t.fiber;
    Write(t, [&](TraceWriter& writer) {
      const auto say = [&](TraceEvent type, std::initializer_list<uint64_t> arguments) {
        return writer.Annotate(t.processor->traced, fiber.traced(), type, arguments);
      };
      const std::string name = "region " + std::to_string(kind % 3);
      switch (kind / 3 % 6) {
        case 0:
          (void)say(TraceEvent::kTaskBegin,
                    {++last_task_, kind % 2 == 0 ? 0 : last_task_ - 1, writer.String("task"), 0});
          return;
        case 1:
          (void)say(TraceEvent::kTaskEnd, {1 + kind % (last_task_ + 1), 0});
          return;
        case 2:
          if (say(TraceEvent::kRegionBegin, {0, writer.String(name), 0}))
            fiber.regions.emplace_back(name, writer.base());
          return;
        case 3: {
          if (fiber.regions.empty()) return;
          const auto [open, base] = fiber.regions.back();
          if (base != writer.base()) return fiber.regions.clear();
          if (say(TraceEvent::kRegionEnd, {0, writer.String(open), 0})) fiber.regions.pop_back();
          return;
        }
        case 4:
          (void)say(TraceEvent::kLog, {0, writer.String("key"), writer.String(name), 0});
          return;
        default:
          if (say(TraceEvent::kFiberLabel, {writer.String(name)})) fiber.state.Store(fiber.state.Load().Labelled());
      }
    });
  }

  void ReplaceThread(Thread& t) {
    if (t.processor == nullptr && t.fiber == nullptr) t.hand = std::make_unique<Hand>();
  }

  // ---- Of what the trace knows already, by threads that are not in a call.
  bool Knows(TracedState& state) const {
    return state.Load().generation() >= base_ && state.Load().state() != Traced::kUnknown;
  }

  void Impossible(uint8_t what, Thread& t, Fiber* fiber, Processor& processor) {
    if (!also_impossible_ || !TraceOn() || t.processor == nullptr || t.blocks) return;
    if (fiber == nullptr || fiber == t.fiber || !Knows(fiber->state) || !Knows(processor.traced.state)) return;
    Write(t, [&](TraceWriter& writer) {
      TracedProcessor& has = t.processor->traced;
      const TracedFiber other = fiber->traced();
      switch (what) {
        case 26:
          return writer.FiberStart(has, other);
        case 27:
          return writer.FiberUnblock(other, 0);
        case 28:
          is_exact_ = false;
          return writer.FiberBlock(has, other, kFirstWaitTraceReason, 0);
        case 29:
          return writer.FiberStop(has, other, kUnknownTraceReason, 0);
        case 30:
          return writer.ProcessorStart(processor.traced);
        default:
          return writer.BlockingHandOff(processor.traced);
      }
    });
  }

  // ---- The trace.
  void StartTrace() {
    if (tracer_ != nullptr) return;
    tracer_ = Start();
    blocks_ = ends_ = 0;
    is_exact_ = true;
  }
  std::unique_ptr<Tracer> Start() {
    auto started = Tracer::Start({.for_each_fiber = [this](Tracer::Visit visit) { VisitFibers(visit); },
                                  .running_now = [this] { return RunningNow(); }});
    CHECK_THAT(started.ok());
    base_ = g_trace_base.load();
    return *std::move(started);
  }
  void VisitFibers(Tracer::Visit visit) {
    for (const auto& each : fibers_) {
      if (each->doing == Doing::kWaits) visit(each->traced(), Traced::kWaiting);
      if (each->doing == Doing::kRunnable) visit(each->traced(), Traced::kRunnable);
      if (each->doing == Doing::kRuns) visit(each->traced(), Traced::kRunning);
      if (each->doing == Doing::kBlocks) visit(each->traced(), Traced::kBlocking);
    }
  }
  std::vector<TracedRunning> RunningNow() {
    std::vector<TracedRunning> running;
    for (Thread& t : threads_) {
      if (t.fiber == nullptr || t.fiber->doing != Doing::kRuns || t.processor == nullptr) continue;
      running.push_back({t.hand->trace_thread(), &t.processor->traced, t.fiber->traced(), t.slice});
    }
    return running;
  }
  // The only places that ask the tracer.
  void CutTrace() {
    if (tracer_ != nullptr) Keep(tracer_->Next());
  }
  void StopTrace() {
    if (tracer_ == nullptr) return;
    Keep(tracer_->Stop());
    tracer_ = nullptr;
    Judge();
    generations_.clear();
  }
  void Keep(const TraceGenerations& next) { std::ranges::copy(next, std::back_inserter(generations_)); }

  // Another tracer of the same recording, which keeps the past.
  void StartRecorder() {
    if (recorder_ == nullptr) recorder_ = Start();
  }
  void CutRecorder(uint8_t whom) {
    if (recorder_ == nullptr) return;
    recorder_->Cut();
    if (whom % 2 == 0) recorder_->Trim(whom % 3 == 0 ? 0 : 300, std::chrono::hours(1));
  }
  void LookBack() {
    if (recorder_ == nullptr) return;
    const TraceGenerations past = recorder_->Look();
    if (!IsEmpty(past)) JudgeForm(past);
  }
  void StopRecorder() {
    if (recorder_ == nullptr) return;
    LookBack();
    recorder_ = nullptr;
  }

  static bool HasNothing(const std::shared_ptr<const TraceGeneration>& generation) {
    return generation->batches.empty() && generation->statuses.empty();
  }
  static bool IsEmpty(const TraceGenerations& generations) { return std::ranges::all_of(generations, HasNothing); }

  void Judge() const {
    if (IsEmpty(generations_)) return;
    for (const auto& each : generations_) {
      if (HasNothing(each)) continue;
      const auto alone = TraceTimeline::Make({&each, 1});
      Refused(alone.status());
    }
    const TraceTimeline whole = JudgeForm(generations_);
    // These two are never supplied, so each is what a hook said.
    if (is_exact_) CHECK_THAT(Count(whole, TraceEvent::kFiberBlock) == blocks_);
    CHECK_THAT(Count(whole, TraceEvent::kFiberDestroy) == ends_);
  }
  // The viewer of Go 1.23 panics where a call ends that has kept its processor, of a fiber that was never seen to run.
  static void CheckViewable(const TraceTimeline& timeline) {
    std::set<uint64_t> seen;
    for (const pprof::TimelineEvent& each : timeline.events()) {
      constexpr auto kRunning = static_cast<uint64_t>(TraceFiberStatus::kRunning);
      const bool runs = each.type == TraceEvent::kFiberStart || (each.type == TraceEvent::kFiberStatus && each.args[2] == kRunning);
      if (runs) seen.insert(each.fiber);
      if (each.type == TraceEvent::kBlockingEnd) CHECK_THAT(seen.contains(each.fiber));
    }
  }
  static TraceTimeline JudgeForm(const TraceGenerations& generations) {
    auto whole = TraceTimeline::Make(generations);
    Refused(whole.status());
    CheckViewable(*whole);
    ThereAndBack(generations, *whole, pprof::TraceFormat::kGo122);
    ThereAndBack(generations, *whole, pprof::TraceFormat::kGo123);
    CheckGo119(*whole);
    return *std::move(whole);
  }
  static void Refused(const absl::Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    std::abort();
  }
  static uint64_t Count(const TraceTimeline& timeline, TraceEvent type) {
    return static_cast<uint64_t>(std::ranges::count(timeline.events(), type, &pprof::TimelineEvent::type));
  }

  static void ThereAndBack(const TraceGenerations& generations, const TraceTimeline& before, pprof::TraceFormat format) {
    pprof::FakeTraceFrames frames;
    pprof::StringSink sink;
    pprof::Go122Encoder encoder(frames, sink, format);
    CHECK_THAT(encoder.Begin().ok());
    for (const auto& each : generations) CHECK_THAT(encoder.Write(*each).ok());
    const auto read = testing::ReadGo122Trace(sink.text());
    CHECK_THAT(read.has_value());
    const auto after = TraceTimeline::Make(*read);
    Refused(after.status());
    CHECK_THAT(after->events().size() == before.events().size());
    for (size_t i = 0; i < before.events().size(); ++i) {
      pprof::TimelineEvent one = before.events()[i];
      pprof::TimelineEvent other = after->events()[i];
      CHECK_THAT(TextsOf(before, one, format) == TextsOf(*after, other, format));
      one.generation = other.generation = 0;  // those without events are not in the file
      if (one.type == TraceEvent::kFiberStatus && format == pprof::TraceFormat::kGo122) one.args[3] = 0;
      CHECK_THAT(one == other);
    }
  }
  // What its numbers stand for.
  static std::string TextsOf(const TraceTimeline& timeline, const pprof::TimelineEvent& event,
                             pprof::TraceFormat format) {
    std::string texts;
    const auto stack = [&](size_t argument) {
      for (const uintptr_t pc : timeline.Stack(event.generation, event.args[argument]))
        texts += std::to_string(pc) + " ";
    };
    const auto text = [&](size_t argument) { texts += timeline.Text(event.generation, event.args[argument]); };
    switch (event.type) {
      case TraceEvent::kFiberCreate:
        stack(1), stack(2);
        break;
      case TraceEvent::kFiberStatus:
        if (format != pprof::TraceFormat::kGo122) stack(3);
        break;
      case TraceEvent::kFiberUnblock:
        stack(2);
        break;
      case TraceEvent::kFiberStop:
      case TraceEvent::kFiberBlock:
        text(0), stack(1);
        break;
      case TraceEvent::kFiberLabel:
        text(0);
        break;
      case TraceEvent::kTaskBegin:
        text(2);
        break;
      case TraceEvent::kRegionBegin:
      case TraceEvent::kRegionEnd:
        text(1);
        break;
      case TraceEvent::kLog:
        text(1), text(2);
        break;
      default:
        break;
    }
    return texts;
  }

  static void CheckGo119(const TraceTimeline& timeline) {
    pprof::FakeTraceFrames frames;
    pprof::StringSink sink;
    Refused(WriteGo119Trace(timeline, frames, sink));
    const auto counts = testing::CountGo119Records(sink.text());
    CHECK_THAT(counts.has_value());
    constexpr std::pair<size_t, TraceEvent> kSame[] = {{15, TraceEvent::kFiberDestroy},
                                                       {45, TraceEvent::kTaskBegin},
                                                       {46, TraceEvent::kTaskEnd},
                                                       {48, TraceEvent::kLog}};
    for (const auto& [record, type] : kSame) CHECK_THAT((*counts)[record] == Count(timeline, type));
    // Calls, and those that had begun before the trace and kept their processors.
    const uint64_t begun_before = static_cast<uint64_t>(std::ranges::count_if(timeline.events(), [](const auto& event) {
      constexpr auto kBlocking = static_cast<uint64_t>(TraceFiberStatus::kBlocking);
      return event.type == TraceEvent::kFiberStatus && event.args[2] == kBlocking;
    }));
    const uint64_t begun = Count(timeline, TraceEvent::kBlockingBegin);
    CHECK_THAT((*counts)[28] >= begun && (*counts)[28] <= begun + begun_before);
  }

  std::string_view steps_;
  const bool also_impossible_;
  std::array<Processor, 3> processors_;
  std::array<Thread, 3> threads_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::unique_ptr<Fiber>> gone_;
  static inline uint64_t last_id_ = 0;
  uint64_t last_task_ = 0;
  std::unique_ptr<Tracer> tracer_;
  std::unique_ptr<Tracer> recorder_;
  uint32_t base_ = 0;
  TraceGenerations generations_;
  uint64_t blocks_ = 0;
  uint64_t ends_ = 0;
  bool is_exact_ = true;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), std::min<size_t>(size, 8001));
  Player(input.substr(1), /*also_impossible=*/input[0] % 2 != 0).Play();
  return 0;
}
