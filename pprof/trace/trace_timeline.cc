#include "pprof/trace/trace_timeline.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "pprof/trace/trace_reason_text.h"

namespace fiberscope::pprof {
namespace {

// A status of processors that only a reader has a use for: whoever was in the blocking call is gone, or unknown.
constexpr uint64_t kAbandoned = 4;
constexpr uint64_t kIdle = static_cast<uint64_t>(TraceProcessorStatus::kIdle);
constexpr uint64_t kProcessorRunning = static_cast<uint64_t>(TraceProcessorStatus::kRunning);
constexpr uint64_t kProcessorBlocking = static_cast<uint64_t>(TraceProcessorStatus::kBlocking);

constexpr uint64_t kRunnable = static_cast<uint64_t>(TraceFiberStatus::kRunnable);
constexpr uint64_t kRunning = static_cast<uint64_t>(TraceFiberStatus::kRunning);
constexpr uint64_t kBlocking = static_cast<uint64_t>(TraceFiberStatus::kBlocking);
constexpr uint64_t kWaiting = static_cast<uint64_t>(TraceFiberStatus::kWaiting);

constexpr size_t kMaxTextBytes = 1024;  // readers refuse more
constexpr size_t kMaxFrames = 128;

// 292 years are what a time_ns can hold; traces are shorter.
constexpr uint64_t kMaxSeconds = uint64_t{1} << 32;

std::optional<uint64_t> TakeVarint(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    if (shift == 63 && byte > 1) return std::nullopt;
    value |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

// The events of one thread in one generation, one after the other.
struct Cursor {
  uint64_t thread = 0;
  std::vector<const TraceBatch*> batches = {};
  size_t batch = 0;
  std::string_view rest = {};  // of the batch

  TraceEvent type{};  // the event it stands at
  uint64_t ticks = 0;
  std::array<uint64_t, 4> args = {};
  size_t index = 0;
};

struct ThreadState {
  uint64_t processor = kNoTraceProcessor;
  uint64_t fiber = 0;
};

// Of a processor or a fiber.
struct ResourceState {
  uint64_t status = 0;
  uint64_t generation = 0;  // in which it was named last
  uint64_t sequence = 0;    // of its last numbered event in that generation
};

struct Region {
  uint64_t task = 0;
  std::string_view name;
};

}  // namespace

std::string_view TraceEventName(TraceEvent type) {
  switch (type) {
    case TraceEvent::kProcessorsChange:
      return "ProcessorsChange";
    case TraceEvent::kProcessorStart:
      return "ProcessorStart";
    case TraceEvent::kProcessorStop:
      return "ProcessorStop";
    case TraceEvent::kProcessorSteal:
      return "ProcessorSteal";
    case TraceEvent::kProcessorStatus:
      return "ProcessorStatus";
    case TraceEvent::kFiberCreate:
      return "FiberCreate";
    case TraceEvent::kFiberCreateBlocking:
      return "FiberCreateBlocking";
    case TraceEvent::kFiberStart:
      return "FiberStart";
    case TraceEvent::kFiberDestroy:
      return "FiberDestroy";
    case TraceEvent::kFiberDestroyBlocking:
      return "FiberDestroyBlocking";
    case TraceEvent::kFiberStop:
      return "FiberStop";
    case TraceEvent::kFiberBlock:
      return "FiberBlock";
    case TraceEvent::kFiberUnblock:
      return "FiberUnblock";
    case TraceEvent::kBlockingBegin:
      return "BlockingBegin";
    case TraceEvent::kBlockingEnd:
      return "BlockingEnd";
    case TraceEvent::kBlockingEndLost:
      return "BlockingEndLost";
    case TraceEvent::kFiberStatus:
      return "FiberStatus";
    case TraceEvent::kHeapAlloc:
      return "HeapAlloc";
    case TraceEvent::kHeapGoal:
      return "HeapGoal";
    case TraceEvent::kFiberLabel:
      return "FiberLabel";
    case TraceEvent::kTaskBegin:
      return "TaskBegin";
    case TraceEvent::kTaskEnd:
      return "TaskEnd";
    case TraceEvent::kRegionBegin:
      return "RegionBegin";
    case TraceEvent::kRegionEnd:
      return "RegionEnd";
    case TraceEvent::kLog:
      return "Log";
  }
  return "?";
}

// Goes through the generations and keeps what is known of threads, processors, fibers, tasks and regions between them.
// The first thing that does not fit ends it.
//
// An event that is not possible yet is no error as long as an event of another thread may make it so: a start of a
// fiber that is not runnable. An event that nobody else could make possible is: a fiber that stops on a thread that
// runs none.
class TimelineMaker {
 public:
  absl::StatusOr<TraceTimeline> Make(std::span<const std::shared_ptr<const TraceGeneration>> generations) {
    if (generations.empty()) return absl::InvalidArgumentError("a trace of no generation");
    for (const auto& generation : generations) {
      if (absl::Status status = AddTables(generation); !status.ok()) return status;
      if (absl::Status status = AddEvents(); !status.ok()) return status;
    }
    if (result_.events_.empty()) return std::move(result_);
    if (absl::Status status = AddSamples(); !status.ok()) return status;
    result_.end_ns_ = result_.events_.back().time_ns;
    if (!result_.samples_.empty()) result_.end_ns_ = std::max(result_.end_ns_, result_.samples_.back().time_ns);
    return std::move(result_);
  }

 private:
  enum class Outcome { kDone, kNotYet, kBroken };

  const TraceGeneration& generation() const { return *result_.tables_.back().generation; }

  absl::Status Refuse(std::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("generation ", generation().number, ": ", absl::string_view(what.data(), what.size())));
  }

  absl::Status Refuse(const Cursor& at, std::string_view what) const {
    const std::string_view name = TraceEventName(at.type);
    const std::string thread = at.thread == kNoTraceThread ? "nobody's thread" : absl::StrCat("thread ", at.thread);
    return absl::InvalidArgumentError(absl::StrCat("generation ", generation().number, ", ", thread, ", event ",
                                                   at.index, " (", absl::string_view(name.data(), name.size()),
                                                   "): ", absl::string_view(what.data(), what.size())));
  }

  // What a generation is without its events.
  absl::Status AddTables(const std::shared_ptr<const TraceGeneration>& next) {
    if (next == nullptr) return absl::InvalidArgumentError("a generation that is none");
    const TraceGeneration* before = result_.tables_.empty() ? nullptr : result_.tables_.back().generation.get();
    TraceTimeline::Tables& tables = result_.tables_.emplace_back();
    tables.generation = next;
    if (next->number == 0) return Refuse("generations are counted from 1");
    if (next->ticks_per_second == 0) return Refuse("a clock without ticks");
    if (before != nullptr && next->number != before->number + 1)
      return Refuse("not the one after the generation before");
    if (before != nullptr && next->ticks_per_second != before->ticks_per_second)
      return Refuse("another clock than before");
    for (const TraceString& string : next->strings) {
      if (string.number < kFirstTraceString || !tables.strings.emplace(string.number, &string).second) {
        return Refuse(absl::StrCat("string ", string.number, " is a reason's, or not the only one of its number"));
      }
      if (string.text.size() > kMaxTextBytes) return Refuse(absl::StrCat("string ", string.number, " is too long"));
    }
    for (const TraceStack& stack : next->stacks) {
      if (stack.number == 0 || !tables.stacks.emplace(stack.number, &stack).second) {
        return Refuse(absl::StrCat("stack ", stack.number, " is 0 or not the only one of its number"));
      }
      if (stack.pcs.size() > kMaxFrames) return Refuse(absl::StrCat("stack ", stack.number, " is too deep"));
    }
    return absl::OkStatus();
  }

  // Which thread's event is next: the earliest possible one.
  absl::Status AddEvents() {
    if (absl::Status status = AddStatuses(); !status.ok()) return status;
    if (absl::Status status = OpenCursors(); !status.ok()) return status;
    std::set<std::pair<uint64_t, size_t>> frontier;  // by time
    for (size_t i = 0; i < cursors_.size(); ++i) {
      const absl::StatusOr<bool> found = Step(cursors_[i]);
      if (!found.ok()) return found.status();
      if (*found) frontier.emplace(cursors_[i].ticks, i);
    }
    if (frontier.empty()) return absl::OkStatus();
    while (!frontier.empty()) {
      const char* first_obstacle = nullptr;
      auto at = frontier.begin();
      for (; at != frontier.end(); ++at) {
        const Outcome outcome = Apply(cursors_[at->second]);
        if (outcome == Outcome::kDone) break;
        if (outcome == Outcome::kBroken) return Refuse(cursors_[at->second], broken_);
        if (first_obstacle == nullptr) first_obstacle = obstacle_;
      }
      if (at == frontier.end()) {
        return Refuse(cursors_[frontier.begin()->second],
                      absl::StrCat(first_obstacle, ", and no other thread has a possible event"));
      }
      Cursor& cursor = cursors_[at->second];
      const size_t index = at->second;
      frontier.erase(at);
      const absl::StatusOr<bool> more = Step(cursor);
      if (!more.ok()) return more.status();
      if (*more) frontier.emplace(cursor.ticks, index);
    }
    return absl::OkStatus();
  }

  // Nothing happens to these fibers before them.
  absl::Status AddStatuses() {
    for (const TraceStatus& each : generation().statuses) {
      const Cursor as_event = {.thread = kNoTraceThread,
                               .type = TraceEvent::kFiberStatus,
                               .ticks = generation().start,
                               .args = {each.fiber, each.thread, static_cast<uint64_t>(each.status), each.stack}};
      if (Apply(as_event) != Outcome::kDone) return Refuse(as_event, broken_);
    }
    return absl::OkStatus();
  }

  absl::Status OpenCursors() {
    cursors_.clear();
    absl::flat_hash_map<uint64_t, size_t> by_thread;
    for (const TraceBatch& batch : generation().batches) {
      if (batch.data.size() > TraceBatch::kMaxBytes)
        return Refuse(absl::StrCat("a batch of ", batch.data.size(), " bytes"));
      if (batch.time < generation().start) return Refuse("a batch from before the generation");
      const auto [at, added] = by_thread.try_emplace(batch.thread, cursors_.size());
      if (added) cursors_.push_back({.thread = batch.thread});
      cursors_[at->second].batches.push_back(&batch);
    }
    return absl::OkStatus();
  }

  // To the next event; false: there is none.
  absl::StatusOr<bool> Step(Cursor& cursor) {
    if (cursor.type != TraceEvent{}) ++cursor.index;
    while (cursor.rest.empty()) {
      if (cursor.batch == cursor.batches.size()) return false;
      const TraceBatch& batch = *cursor.batches[cursor.batch++];
      cursor.rest = batch.data;
      cursor.ticks = batch.time;
    }
    const auto type = static_cast<uint8_t>(cursor.rest.front());
    cursor.rest.remove_prefix(1);
    cursor.type = static_cast<TraceEvent>(type);
    if (!IsTraceEvent(type)) return Refuse(cursor, absl::StrCat("no event has the number ", type));
    const std::optional<uint64_t> passed = TakeVarint(cursor.rest);
    if (!passed.has_value()) return Refuse(cursor, "it ends within its time");
    if (*passed > UINT64_MAX - cursor.ticks) return Refuse(cursor, "its time is after the end of time");
    cursor.ticks += *passed;
    cursor.args = {};
    for (size_t i = 0; i < TraceArguments(cursor.type); ++i) {
      const std::optional<uint64_t> argument = TakeVarint(cursor.rest);
      if (!argument.has_value()) return Refuse(cursor, "it ends within its arguments");
      cursor.args[i] = *argument;
    }
    return true;
  }

  Outcome Broken(std::string rule) {
    broken_ = std::move(rule);
    return Outcome::kBroken;
  }

  Outcome NotYet(const char* obstacle) {
    obstacle_ = obstacle;
    return Outcome::kNotYet;
  }

  // The states after the event, if it is possible.
  Outcome Apply(const Cursor& cursor);
  Outcome ApplyProcessorStatus(ThreadState& thread);
  Outcome ApplyProcessorStart(ThreadState& thread);
  Outcome ApplyProcessorStop(ThreadState& thread);
  Outcome ApplyProcessorSteal(ThreadState& thread);
  Outcome ApplyFiberStatus(ThreadState& thread);
  Outcome ApplyFiberCreate(ThreadState& thread);
  Outcome ApplyFiberCreateBlocking(ThreadState& thread);
  Outcome ApplyFiberStart(ThreadState& thread);
  Outcome ApplyFiberUnblock();
  Outcome ApplyFiberEnds(ThreadState& thread);
  Outcome ApplyFiberDestroyBlocking(ThreadState& thread);
  Outcome ApplyBlockingBegin(ThreadState& thread);
  Outcome ApplyBlockingEnd(ThreadState& thread);
  Outcome ApplyBlockingEndLost(ThreadState& thread);
  Outcome ApplyAnnotation(ThreadState& thread);
  Outcome ApplyRegionEnd(ThreadState& thread);

  // What makes an event impossible for good; "" if nothing does.
  std::string WantsProcessor(const ThreadState& thread, uint64_t status) const;
  std::string WantsFiber(const ThreadState& thread, uint64_t status) const;
  std::string WantsTexts() const;

  bool IsNext(const ResourceState& state, uint64_t sequence) const {
    return state.generation == generation().number && sequence == state.sequence + 1;
  }

  // Of the generations that have events.
  bool IsFirst() const { return result_.events_.empty() || result_.events_.front().generation == event_.generation; }

  void Name(ResourceState& state) {
    state.generation = generation().number;
    state.sequence = 0;
  }

  void Emit(const Cursor& cursor) {
    if (!base_ticks_.has_value()) base_ticks_ = cursor.ticks;
    event_.time_ns = last_ns_ = std::max(last_ns_, Nanoseconds(cursor.ticks));
    result_.events_.push_back(event_);
  }

  int64_t Nanoseconds(uint64_t ticks) const {
    if (ticks <= *base_ticks_) return 0;
    const uint64_t passed = ticks - *base_ticks_;
    return static_cast<int64_t>(static_cast<unsigned __int128>(passed) * 1'000'000'000 / generation().ticks_per_second);
  }

  bool IsTooLate(uint64_t ticks) const {
    return base_ticks_.has_value() && ticks > *base_ticks_ &&
           (ticks - *base_ticks_) / generation().ticks_per_second > kMaxSeconds;
  }

  absl::Status AddSamples();

  TraceTimeline result_;
  std::vector<Cursor> cursors_;
  std::map<uint64_t, ThreadState> threads_;  // addresses are stable
  ThreadState nobody_;                       // what an event of no thread has
  absl::flat_hash_map<uint64_t, ResourceState> processors_;
  absl::flat_hash_map<uint64_t, ResourceState> fibers_;
  absl::flat_hash_map<uint64_t, std::vector<Region>> regions_;  // open ones of a fiber, outermost first
  std::set<uint64_t> tasks_;                                    // active ones
  std::optional<uint64_t> base_ticks_;
  int64_t last_ns_ = 0;

  TimelineEvent event_;   // the one that Apply looks at
  bool repeats_ = false;  // it says what is known
  std::string broken_;    // the last rule that was broken
  const char* obstacle_ = "";
};

TimelineMaker::Outcome TimelineMaker::Apply(const Cursor& cursor) {
  ThreadState& thread = cursor.thread == kNoTraceThread ? nobody_ : threads_[cursor.thread];
  event_ = {.type = cursor.type,
            .thread = cursor.thread,
            .processor = thread.processor,
            .fiber = thread.fiber,
            .args = cursor.args,
            .generation = static_cast<uint32_t>(result_.tables_.size() - 1)};
  repeats_ = false;
  if (IsTooLate(cursor.ticks)) return Broken("its time is more than a hundred years after the first event's");
  if (std::string rule = WantsTexts(); !rule.empty()) return Broken(std::move(rule));
  Outcome outcome = Outcome::kDone;
  switch (cursor.type) {
    case TraceEvent::kProcessorStatus:
      outcome = ApplyProcessorStatus(thread);
      break;
    case TraceEvent::kProcessorStart:
      outcome = ApplyProcessorStart(thread);
      break;
    case TraceEvent::kProcessorStop:
      outcome = ApplyProcessorStop(thread);
      break;
    case TraceEvent::kProcessorSteal:
      outcome = ApplyProcessorSteal(thread);
      break;
    case TraceEvent::kFiberStatus:
      outcome = ApplyFiberStatus(thread);
      break;
    case TraceEvent::kFiberCreate:
      outcome = ApplyFiberCreate(thread);
      break;
    case TraceEvent::kFiberCreateBlocking:
      outcome = ApplyFiberCreateBlocking(thread);
      break;
    case TraceEvent::kFiberStart:
      outcome = ApplyFiberStart(thread);
      break;
    case TraceEvent::kFiberUnblock:
      outcome = ApplyFiberUnblock();
      break;
    case TraceEvent::kFiberDestroy:
    case TraceEvent::kFiberStop:
    case TraceEvent::kFiberBlock:
      outcome = ApplyFiberEnds(thread);
      break;
    case TraceEvent::kFiberDestroyBlocking:
      outcome = ApplyFiberDestroyBlocking(thread);
      break;
    case TraceEvent::kBlockingBegin:
      outcome = ApplyBlockingBegin(thread);
      break;
    case TraceEvent::kBlockingEnd:
      outcome = ApplyBlockingEnd(thread);
      break;
    case TraceEvent::kBlockingEndLost:
      outcome = ApplyBlockingEndLost(thread);
      break;
    case TraceEvent::kHeapAlloc:
    case TraceEvent::kHeapGoal:
      if (std::string rule = WantsProcessor(thread, 0); !rule.empty()) return Broken(std::move(rule));
      break;
    case TraceEvent::kProcessorsChange:
    case TraceEvent::kFiberLabel:
    case TraceEvent::kTaskBegin:
    case TraceEvent::kTaskEnd:
    case TraceEvent::kRegionBegin:
    case TraceEvent::kRegionEnd:
    case TraceEvent::kLog:
      outcome = ApplyAnnotation(thread);
      break;
  }
  if (outcome == Outcome::kDone && !repeats_) Emit(cursor);
  return outcome;
}

TimelineMaker::Outcome TimelineMaker::ApplyProcessorStatus(ThreadState& thread) {
  const uint64_t processor = event_.args[0];
  const uint64_t status = event_.args[1];
  event_.processor = processor;
  if (processor == kNoTraceProcessor) return Broken("no processor has that number");
  if (status == 0 || status > kAbandoned) return Broken(absl::StrCat("processors have no status ", status));
  const bool binds = status == kProcessorRunning || status == kProcessorBlocking;
  if (binds && event_.thread == kNoTraceThread) return Broken("a processor that nobody's thread has");
  const auto [at, added] = processors_.try_emplace(processor, ResourceState{.status = status});
  ResourceState& state = at->second;
  if (!added && state.generation == generation().number)
    return Broken("the processor was named in this generation already");
  const bool is_known_better = status == kAbandoned && state.status == kProcessorBlocking;
  if (!is_known_better && state.status != status) {
    return Broken(absl::StrCat("the processor has status ", status, " but had ", state.status, " before"));
  }
  if (binds && thread.processor != (added ? kNoTraceProcessor : processor)) {
    return Broken(added ? "the thread has another processor" : "the processor is not the thread's");
  }
  if (binds) thread.processor = processor;
  Name(state);
  repeats_ = !added;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyProcessorStart(ThreadState& thread) {
  const auto at = processors_.find(event_.args[0]);
  if (at == processors_.end()) return NotYet("the processor was not named yet");
  ResourceState& state = at->second;
  if (!IsNext(state, event_.args[1])) return NotYet("its number is not the processor's next one");
  if (state.status != kIdle) return NotYet("the processor is not idle");
  if (thread.processor != kNoTraceProcessor) return NotYet("the thread has a processor");
  if (event_.thread == kNoTraceThread) return Broken("nobody's thread takes no processor");
  state.status = kProcessorRunning;
  ++state.sequence;
  event_.processor = thread.processor = event_.args[0];
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyProcessorStop(ThreadState& thread) {
  if (std::string rule = WantsProcessor(thread, 0); !rule.empty()) return Broken(std::move(rule));
  ResourceState& state = processors_[thread.processor];
  if (state.status == kProcessorRunning && thread.fiber != 0 && fibers_[thread.fiber].status == kRunning) {
    return Broken("a fiber runs on the processor");
  }
  state.status = kIdle;
  thread.processor = kNoTraceProcessor;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyProcessorSteal(ThreadState& thread) {
  const uint64_t processor = event_.args[0];
  event_.processor = processor;
  const auto at = processors_.find(processor);
  if (at == processors_.end()) return NotYet("the processor was not named yet");
  ResourceState& state = at->second;
  if (state.status != kProcessorBlocking && state.status != kAbandoned)
    return NotYet("the processor is not in a blocking call");
  if (!IsNext(state, event_.args[1])) return NotYet("its number is not the processor's next one");
  if (event_.thread == kNoTraceThread) return Broken("nobody's thread takes no processor");
  if (state.status == kProcessorBlocking) {
    const auto victim = threads_.find(event_.args[2]);
    if (victim == threads_.end() || victim->second.processor != processor) {
      return Broken(absl::StrCat("thread ", event_.args[2], " does not have the processor"));
    }
    victim->second.processor = kNoTraceProcessor;
  }
  event_.fiber = thread.fiber;
  state.status = kIdle;
  ++state.sequence;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyFiberStatus(ThreadState& thread) {
  const auto [fiber, owner, status, stack] = event_.args;
  event_.fiber = fiber;
  event_.processor = kNoTraceProcessor;
  if (fiber == 0) return Broken("fibers are counted from 1");
  if (status == 0 || status > kWaiting) return Broken(absl::StrCat("fibers have no status ", status));
  const bool binds = status == kRunning || status == kBlocking;
  if (binds == (owner == kNoTraceThread)) return Broken("a fiber has a thread if it runs or blocks, and only then");
  const auto known = fibers_.find(fiber);
  const bool added = known == fibers_.end();
  if (added && !IsFirst()) return Broken("the fiber is new after the first generation, and was not created");
  if (!added && known->second.generation == generation().number)
    return Broken("the fiber was named in this generation already");
  if (!added && known->second.status != status) {
    return Broken(absl::StrCat("the fiber has status ", status, " but had ", known->second.status, " before"));
  }
  if (status == kRunning && owner != event_.thread) return Broken("a running fiber is named by its own thread");
  if (binds && owner == event_.thread) {
    if (thread.fiber != (added ? 0 : fiber))
      return Broken(added ? "the thread has another fiber" : "the fiber is not the thread's");
    if (status == kRunning) {
      if (std::string rule = WantsProcessor(thread, kProcessorRunning); !rule.empty()) return Broken(std::move(rule));
    } else if (thread.processor != kNoTraceProcessor && processors_[thread.processor].status != kProcessorBlocking) {
      // It need not be named before the fiber: a thief names a processor that the thread has lost by now.
      return Broken("the thread's processor is not in a blocking call");
    }
    event_.processor = thread.processor;
    thread.fiber = fiber;
  } else if (binds) {
    const auto [at, is_new] = threads_.try_emplace(owner);
    if (added != is_new)
      return Broken(absl::StrCat("thread ", owner, added ? " is known without the fiber" : " is not known"));
    if (!added && at->second.fiber != fiber) return Broken(absl::StrCat("thread ", owner, " has another fiber"));
    if (at->second.processor != kNoTraceProcessor) return Broken(absl::StrCat("thread ", owner, " has a processor"));
    at->second.fiber = fiber;
  }
  ResourceState& state = fibers_[fiber];
  state.status = status;
  Name(state);
  repeats_ = !added;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyFiberCreate(ThreadState& thread) {
  if (std::string rule = WantsProcessor(thread, 0); !rule.empty()) return Broken(std::move(rule));
  if (event_.args[0] == 0) return Broken("fibers are counted from 1");
  const auto [at, added] = fibers_.try_emplace(event_.args[0], ResourceState{.status = kRunnable});
  if (!added) return Broken(absl::StrCat("fiber ", event_.args[0], " is there already"));
  Name(at->second);
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyFiberCreateBlocking(ThreadState& thread) {
  if (event_.thread == kNoTraceThread) return Broken("nobody's thread has no fiber");
  if (thread.fiber != 0) return Broken(absl::StrCat("the thread has fiber ", thread.fiber));
  if (event_.args[0] == 0) return Broken("fibers are counted from 1");
  const auto [at, added] = fibers_.try_emplace(event_.args[0], ResourceState{.status = kBlocking});
  if (!added) return Broken(absl::StrCat("fiber ", event_.args[0], " is there already"));
  Name(at->second);
  event_.fiber = thread.fiber = event_.args[0];
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyFiberStart(ThreadState& thread) {
  const auto at = fibers_.find(event_.args[0]);
  if (at == fibers_.end()) return NotYet("the fiber was not named yet");
  ResourceState& state = at->second;
  if (state.status != kRunnable) return NotYet("the fiber is not runnable");
  if (!IsNext(state, event_.args[1])) return NotYet("its number is not the fiber's next one");
  if (std::string rule = WantsProcessor(thread, kProcessorRunning); !rule.empty()) return Broken(std::move(rule));
  if (thread.fiber != 0) return Broken(absl::StrCat("the thread has fiber ", thread.fiber));
  state.status = kRunning;
  ++state.sequence;
  event_.fiber = thread.fiber = event_.args[0];
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyFiberUnblock() {
  const auto at = fibers_.find(event_.args[0]);
  if (at == fibers_.end()) return NotYet("the fiber was not named yet");
  ResourceState& state = at->second;
  if (state.status != kWaiting) return NotYet("the fiber is not waiting");
  if (!IsNext(state, event_.args[1])) return NotYet("its number is not the fiber's next one");
  state.status = kRunnable;
  ++state.sequence;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyFiberEnds(ThreadState& thread) {
  if (std::string rule = WantsProcessor(thread, kProcessorRunning); !rule.empty()) return Broken(std::move(rule));
  if (std::string rule = WantsFiber(thread, kRunning); !rule.empty()) return Broken(std::move(rule));
  if (event_.type == TraceEvent::kFiberDestroy) {
    fibers_.erase(thread.fiber);
    regions_.erase(thread.fiber);
  } else {
    fibers_[thread.fiber].status = event_.type == TraceEvent::kFiberStop ? kRunnable : kWaiting;
  }
  thread.fiber = 0;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyFiberDestroyBlocking(ThreadState& thread) {
  if (std::string rule = WantsFiber(thread, kBlocking); !rule.empty()) return Broken(std::move(rule));
  if (thread.processor != kNoTraceProcessor) {
    if (std::string rule = WantsProcessor(thread, kProcessorBlocking); !rule.empty()) return Broken(std::move(rule));
    processors_[thread.processor].status = kAbandoned;
  }
  fibers_.erase(thread.fiber);
  regions_.erase(thread.fiber);
  thread = {};
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyBlockingBegin(ThreadState& thread) {
  if (std::string rule = WantsProcessor(thread, kProcessorRunning); !rule.empty()) return Broken(std::move(rule));
  if (std::string rule = WantsFiber(thread, kRunning); !rule.empty()) return Broken(std::move(rule));
  ResourceState& processor = processors_[thread.processor];
  if (!IsNext(processor, event_.args[0])) {
    return Broken(
        absl::StrCat("its number is not the processor's next one, ", processor.sequence + 1, ", but ", event_.args[0]));
  }
  ++processor.sequence;
  processor.status = kProcessorBlocking;
  fibers_[thread.fiber].status = kBlocking;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyBlockingEnd(ThreadState& thread) {
  if (std::string rule = WantsProcessor(thread, kProcessorBlocking); !rule.empty()) return Broken(std::move(rule));
  if (std::string rule = WantsFiber(thread, kBlocking); !rule.empty()) return Broken(std::move(rule));
  processors_[thread.processor].status = kProcessorRunning;
  fibers_[thread.fiber].status = kRunning;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyBlockingEndLost(ThreadState& thread) {
  if (std::string rule = WantsFiber(thread, kBlocking); !rule.empty()) return Broken(std::move(rule));
  if (thread.processor != kNoTraceProcessor && processors_[thread.processor].status == kProcessorBlocking) {
    return NotYet("the processor was not taken away yet");
  }
  fibers_[thread.fiber].status = kRunnable;
  thread.fiber = 0;
  return Outcome::kDone;
}

TimelineMaker::Outcome TimelineMaker::ApplyAnnotation(ThreadState& thread) {
  if (std::string rule = WantsProcessor(thread, kProcessorRunning); !rule.empty()) return Broken(std::move(rule));
  if (std::string rule = WantsFiber(thread, kRunning); !rule.empty()) return Broken(std::move(rule));
  switch (event_.type) {
    case TraceEvent::kTaskBegin:
      if (event_.args[0] == 0) return Broken("tasks are counted from 1");
      if (!tasks_.insert(event_.args[0]).second)
        return Broken(absl::StrCat("task ", event_.args[0], " has begun already"));
      return Outcome::kDone;
    case TraceEvent::kTaskEnd:
      tasks_.erase(event_.args[0]);
      return Outcome::kDone;
    case TraceEvent::kRegionBegin:
      regions_[thread.fiber].push_back({event_.args[0], result_.Text(event_.generation, event_.args[1])});
      return Outcome::kDone;
    case TraceEvent::kRegionEnd:
      return ApplyRegionEnd(thread);
    default:
      return Outcome::kDone;
  }
}

// A region that began before the trace did has no beginning.
TimelineMaker::Outcome TimelineMaker::ApplyRegionEnd(ThreadState& thread) {
  const auto at = regions_.find(thread.fiber);
  if (at == regions_.end() || at->second.empty()) return Outcome::kDone;
  const Region& innermost = at->second.back();
  if (innermost.task != event_.args[0] || innermost.name != result_.Text(event_.generation, event_.args[1])) {
    return Broken("it is not of the region that began last");
  }
  at->second.pop_back();
  return Outcome::kDone;
}

std::string TimelineMaker::WantsProcessor(const ThreadState& thread, uint64_t status) const {
  if (thread.processor == kNoTraceProcessor) return "the thread has no processor";
  const ResourceState& state = processors_.at(thread.processor);
  if (state.generation != generation().number) return "the thread's processor was not named in this generation";
  if (status != 0 && state.status != status) {
    return absl::StrCat("the thread's processor has status ", state.status, " instead of ", status);
  }
  return "";
}

std::string TimelineMaker::WantsFiber(const ThreadState& thread, uint64_t status) const {
  if (thread.fiber == 0) return "the thread has no fiber";
  const ResourceState& state = fibers_.at(thread.fiber);
  if (state.generation != generation().number) return "the thread's fiber was not named in this generation";
  if (state.status != status)
    return absl::StrCat("the thread's fiber has status ", state.status, " instead of ", status);
  return "";
}

std::string TimelineMaker::WantsTexts() const {
  // Which arguments are numbers of strings and stacks: bit i for args[i].
  unsigned strings = 0;
  unsigned stacks = 0;
  switch (event_.type) {
    case TraceEvent::kProcessorsChange:
    case TraceEvent::kBlockingBegin:
    case TraceEvent::kTaskEnd:
      stacks = 0b0010;
      break;
    case TraceEvent::kFiberCreate:
      stacks = 0b0110;
      break;
    case TraceEvent::kFiberStatus:
      stacks = 0b1000;
      break;
    case TraceEvent::kFiberUnblock:
      stacks = 0b0100;
      break;
    case TraceEvent::kFiberStop:
    case TraceEvent::kFiberBlock:
      strings = 0b0001, stacks = 0b0010;
      break;
    case TraceEvent::kFiberLabel:
      strings = 0b0001;
      break;
    case TraceEvent::kTaskBegin:
      strings = 0b0100, stacks = 0b1000;
      break;
    case TraceEvent::kRegionBegin:
    case TraceEvent::kRegionEnd:
      strings = 0b0010, stacks = 0b0100;
      break;
    case TraceEvent::kLog:
      strings = 0b0110, stacks = 0b1000;
      break;
    default:
      return "";
  }
  const TraceTimeline::Tables& tables = result_.tables_.back();
  for (size_t i = 0; i < event_.args.size(); ++i) {
    const uint64_t number = event_.args[i];
    if (number == 0) continue;
    const bool is_text = tables.strings.contains(number) || !TraceReasonText(number).empty();
    if ((strings >> i & 1) != 0 && !is_text) return absl::StrCat("there is no string ", number);
    if ((stacks >> i & 1) != 0 && !tables.stacks.contains(number)) return absl::StrCat("there is no stack ", number);
  }
  return "";
}

absl::Status TimelineMaker::AddSamples() {
  for (uint32_t i = 0; i < result_.tables_.size(); ++i) {
    const TraceTimeline::Tables& tables = result_.tables_[i];
    for (const TraceSample& sample : tables.generation->samples) {
      const std::string where = absl::StrCat("generation ", tables.generation->number, ", a sample: ");
      if (sample.stack != 0 && !tables.stacks.contains(sample.stack)) {
        return absl::InvalidArgumentError(absl::StrCat(where, "there is no stack ", sample.stack));
      }
      if (IsTooLate(sample.time)) {
        return absl::InvalidArgumentError(
            absl::StrCat(where, "its time is more than a hundred years after the first event's"));
      }
      result_.samples_.push_back(
          {Nanoseconds(sample.time), sample.thread, sample.processor, sample.fiber, sample.stack, i});
    }
  }
  std::ranges::stable_sort(result_.samples_, {}, &TimelineSample::time_ns);
  return absl::OkStatus();
}

absl::StatusOr<TraceTimeline> TraceTimeline::Make(std::span<const std::shared_ptr<const TraceGeneration>> generations) {
  return TimelineMaker().Make(generations);
}

std::string_view TraceTimeline::Text(uint32_t generation, uint64_t number) const {
  if (number < kFirstTraceString) return TraceReasonText(number);
  const auto at = tables_[generation].strings.find(number);
  return at == tables_[generation].strings.end() ? std::string_view() : std::string_view(at->second->text);
}

std::span<const uintptr_t> TraceTimeline::Stack(uint32_t generation, uint64_t number) const {
  const auto at = tables_[generation].stacks.find(number);
  return at == tables_[generation].stacks.end() ? std::span<const uintptr_t>()
                                                : std::span<const uintptr_t>(at->second->pcs);
}

}  // namespace fiberscope::pprof
