// Slices that nest ("B", "E") are written as they begin and end. On a processor's track they are, from outside in: the
// run of a fiber, the fiber's open regions, a blocking call. Regions belong to a fiber, which may go on elsewhere: they
// are closed at the end of each run and opened again at the beginning of the next.
//
// The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format).
#include "pprof/trace/perfetto.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/utf8.h"

namespace fiberscope::pprof {
namespace {

constexpr size_t kFlushBytes = 32 << 10;
constexpr int kProcessors = 1;  // "processes", that is groups of tracks
constexpr int kThreads = 2;

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

// With quotes.
std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : ToValidUtf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20) {
      absl::StrAppendFormat(&quoted, "\\u%04x", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

struct Track {
  int group;
  uint64_t number;
};

class Writer {
 public:
  Writer(const TraceTimeline& timeline, TraceFrames& frames, ByteSink& sink)
      : timeline_(timeline), frames_(frames), sink_(sink) {}

  absl::Status Write() {
    LookAhead();
    text_ = R"({"displayTimeUnit":"ns","traceEvents":[)";
    AddGroup(kProcessors, "Processors");
    AddGroup(kThreads, "Threads");
    for (const TimelineEvent& event : timeline_.events()) {
      if (event.time_ns != now_ns_) AddFiberCounts();
      now_ns_ = event.time_ns;
      Add(event);
      if (absl::Status status = Flush(kFlushBytes); !status.ok()) return status;
    }
    AddFiberCounts();
    CloseAll();
    text_ += "\n]}\n";
    return Flush(0);
  }

 private:
  enum State { kRunnable, kRunning, kBlocking, kWaiting, kDead };
  static constexpr std::array<const char*, 4> kStateNames = {"runnable", "running", "blocking", "waiting"};

  struct Region {
    uint64_t task = 0;
    std::string name;  // quoted
  };
  struct Fiber {
    std::string name = {};   // quoted
    std::string label = {};  // quoted
    State state = kDead;
    uint64_t arrow = 0;  // that ends where it runs next
    std::vector<Region> regions = {};
  };
  struct Processor {
    uint64_t fiber = 0;  // whose run is open
    bool in_call = false;
  };

  void LookAhead();
  void Add(const TimelineEvent& event);
  void AddFirstState(const TimelineEvent& event);
  void AddProcessorStatus(const TimelineEvent& event);
  void BeginRunInCall(uint64_t processor, uint64_t fiber);
  void AddWakeup(const TimelineEvent& event, const char* word, size_t stack);
  void AddRegion(const TimelineEvent& event);
  void AddFiberCounts();
  void CloseAll();

  // One event: ph, and what comes after it, which begins with a comma.
  void Put(char phase, Track track, std::string_view rest) {
    absl::StrAppendFormat(&text_, "%s\n{\"ph\":\"%c\",\"ts\":%d.%03d,\"pid\":%d,\"tid\":%d%s}", separator_, phase,
                          now_ns_ / 1000, now_ns_ % 1000, track.group, track.number, View(rest));
    separator_ = ",";
  }

  void AddGroup(int group, std::string_view name) {
    const Track track = {group, 0};
    Put('M', track, absl::StrCat(R"(,"name":"process_name","args":{"name":)", Quote(name), "}"));
    Put('M', track, absl::StrCat(R"(,"name":"process_sort_index","args":{"sort_index":)", group, "}"));
  }

  // The track, with its name before its first event. Processor 0's is 1: to readers of kernel traces thread 0 is the idle one.
  Track Named(int group, uint64_t number) {
    const Track track = {group, group == kProcessors ? number + 1 : number};
    if (!named_.emplace(group, number).second) return track;
    const std::string name = number == kNoTraceThread
                                 ? "Nobody's thread"
                                 : absl::StrCat(group == kThreads ? "Thread " : "Processor ", number);
    Put('M', track, absl::StrCat(R"(,"name":"thread_name","args":{"name":)", Quote(name), "}"));
    Put('M', track,
        absl::StrCat(R"(,"name":"thread_sort_index","args":{"sort_index":)",
                     group == kProcessors ? number : named_.size(), "}"));
    return track;
  }
  Track OnProcessor(uint64_t number) { return Named(kProcessors, number); }
  Track OnThread(uint64_t number) { return Named(kThreads, number); }

  absl::Status Flush(size_t limit) {
    if (text_.size() < limit) return absl::OkStatus();
    absl::Status status = sink_.Write(text_);
    text_.clear();
    return status;
  }

  std::string_view Text(const TimelineEvent& event, size_t argument) const {
    return timeline_.Text(event.generation, event.args[argument]);
  }

  // The innermost function of a stack, ready to be an argument; "" without one.
  const std::string& At(const TimelineEvent& event, size_t argument) {
    const auto [at, added] = places_.try_emplace({event.generation, event.args[argument]});
    if (!added) return at->second;
    const std::span<const uintptr_t> stack = timeline_.Stack(event.generation, event.args[argument]);
    if (stack.empty()) return at->second;
    const std::vector<TraceFrame> frames = frames_.Frames(stack);
    if (!frames.empty()) at->second = absl::StrCat(R"(,"at":)", Quote(frames.front().function));
    return at->second;
  }

  void Become(uint64_t fiber, State state) {
    State& now = fibers_[fiber].state;
    if (now != kDead) --counts_[now];
    if (state != kDead) ++counts_[state];
    now = state;
    counts_changed_ = true;
  }

  void BeginRun(uint64_t processor, uint64_t number) {
    Fiber& fiber = fibers_[number];
    const Track track = OnProcessor(processor);
    const std::string label = fiber.label.empty() ? "" : absl::StrCat(R"(,"label":)", fiber.label);
    Put('B', track, absl::StrCat(R"(,"cat":"fiber","name":)", fiber.name, R"(,"args":{"fiber":)", number, label, "}"));
    if (const uint64_t arrow = std::exchange(fiber.arrow, 0); arrow != 0) {
      Put('f', track, absl::StrCat(R"(,"bp":"e","cat":"wakeup","name":"wakeup","id":)", arrow));
    }
    for (const Region& region : fiber.regions) BeginRegion(track, region);
    processors_[processor] = {.fiber = number};
  }

  // `arguments` as those of At().
  void EndRun(uint64_t number, std::string_view end, std::string_view arguments) {
    const Processor processor = std::exchange(processors_[number], {});
    if (processor.fiber == 0) return;
    const Track track = OnProcessor(number);
    if (processor.in_call) Put('E', track, "");
    for (size_t i = fibers_[processor.fiber].regions.size(); i > 0; --i) Put('E', track, "");
    Put('E', track, absl::StrCat(R"(,"args":{"end":)", Quote(end), View(arguments), "}"));
  }

  void BeginRegion(Track track, const Region& region) {
    Put('B', track, absl::StrCat(R"(,"cat":"region","name":)", region.name, R"(,"args":{"task":)", region.task, "}"));
  }

  // The processor is gone, and the run with it; a blocking call goes on in its thread.
  void LoseProcessor(uint64_t number, uint64_t thread) {
    const Processor processor = processors_[number];
    EndRun(number, "processor lost", "");
    if (processor.in_call) BeginCallOfThread(thread, processor.fiber);
  }

  void BeginCallOfThread(uint64_t thread, uint64_t fiber) {
    if (!calls_.emplace(thread, fiber).second) return;
    Put('B', OnThread(thread),
        absl::StrCat(R"(,"cat":"blocking","name":)", fibers_[fiber].name, R"(,"args":{"fiber":)", fiber, "}"));
  }

  void EndCallOfThread(uint64_t thread) {
    if (calls_.erase(thread) != 0) Put('E', OnThread(thread), "");
  }

  const TraceTimeline& timeline_;
  TraceFrames& frames_;
  ByteSink& sink_;
  std::string text_;            // not written yet
  const char* separator_ = "";  // before the next event
  int64_t now_ns_ = 0;
  absl::flat_hash_map<uint64_t, Fiber> fibers_;
  std::map<uint64_t, Processor> processors_;
  std::map<uint64_t, uint64_t> calls_;  // open slices of threads, with their fibers
  std::set<std::pair<int, uint64_t>> named_;
  std::map<uint64_t, std::string> tasks_;  // open ones, with their names
  absl::flat_hash_map<std::pair<uint32_t, uint64_t>, std::string> places_;
  std::array<int64_t, 4> counts_ = {};  // of fibers by state
  bool counts_changed_ = false;
  uint64_t arrows_ = 0;
};

// Names: a run is written before the stack that may tell who it was.
void Writer::LookAhead() {
  const auto name = [this](uint64_t fiber, const TimelineEvent& event, size_t argument) {
    if (fiber == 0 || event.args[argument] == 0 || !fibers_[fiber].name.empty()) return;
    const std::vector<TraceFrame> frames = frames_.Frames(timeline_.Stack(event.generation, event.args[argument]));
    if (!frames.empty()) fibers_[fiber].name = Quote(frames.back().function);
  };
  for (const TimelineEvent& event : timeline_.events()) {
    switch (event.type) {
      case TraceEvent::kFiberCreate:
        name(event.args[0], event, 1);
        name(event.fiber, event, 2);
        break;
      case TraceEvent::kFiberStop:
      case TraceEvent::kFiberBlock:
      case TraceEvent::kBlockingBegin:
        name(event.fiber, event, 1);
        break;
      case TraceEvent::kFiberUnblock:
        name(event.fiber, event, 2);
        break;
      case TraceEvent::kFiberStatus:
        name(event.fiber, event, 3);
        break;
      default:
        break;
    }
  }
  for (const TimelineEvent& event : timeline_.events()) {
    for (const uint64_t number : {event.fiber, event.type == TraceEvent::kFiberCreate ? event.args[0] : 0}) {
      if (number != 0 && fibers_[number].name.empty()) fibers_[number].name = Quote(absl::StrCat("fiber ", number));
    }
  }
}

void Writer::Add(const TimelineEvent& event) {
  const uint64_t processor = event.processor;
  switch (event.type) {
    case TraceEvent::kFiberStatus:
      return AddFirstState(event);
    case TraceEvent::kProcessorStatus:
      return AddProcessorStatus(event);
    case TraceEvent::kProcessorStart:
      return;
    case TraceEvent::kProcessorStop:
      return LoseProcessor(processor, event.thread);
    case TraceEvent::kProcessorSteal:
      return LoseProcessor(processor, event.args[2]);
    case TraceEvent::kProcessorsChange:
      return Put('C', {kProcessors, 0}, absl::StrCat(R"(,"name":"processors","args":{"count":)", event.args[0], "}"));
    case TraceEvent::kFiberCreate:
      Become(event.args[0], kRunnable);
      return AddWakeup(event, "spawn", 2);
    case TraceEvent::kFiberCreateBlocking:
      Become(event.fiber, kBlocking);
      return BeginCallOfThread(event.thread, event.fiber);
    case TraceEvent::kFiberStart:
      Become(event.fiber, kRunning);
      return BeginRun(processor, event.fiber);
    case TraceEvent::kFiberDestroy:
      EndRun(processor, "end", "");
      fibers_[event.fiber].regions.clear();
      return Become(event.fiber, kDead);
    case TraceEvent::kFiberDestroyBlocking:
      EndCallOfThread(event.thread);
      if (processor != kNoTraceProcessor) EndRun(processor, "end", "");
      fibers_[event.fiber].regions.clear();
      return Become(event.fiber, kDead);
    case TraceEvent::kFiberStop:
    case TraceEvent::kFiberBlock:
      EndRun(processor, Text(event, 0), At(event, 1));
      return Become(event.fiber, event.type == TraceEvent::kFiberStop ? kRunnable : kWaiting);
    case TraceEvent::kFiberUnblock:
      Become(event.args[0], kRunnable);
      return AddWakeup(event, "wake", 2);
    case TraceEvent::kBlockingBegin:
      Become(event.fiber, kBlocking);
      processors_[processor].in_call = true;
      return Put(
          'B', OnProcessor(processor),
          absl::StrCat(R"(,"cat":"blocking","name":"blocking call","args":{"fiber":)", event.fiber, At(event, 1), "}"));
    case TraceEvent::kBlockingEnd:
      Become(event.fiber, kRunning);
      processors_[processor].in_call = false;
      return Put('E', OnProcessor(processor), "");
    case TraceEvent::kBlockingEndLost:
      Become(event.fiber, kRunnable);
      return EndCallOfThread(event.thread);
    case TraceEvent::kHeapAlloc:
    case TraceEvent::kHeapGoal:
      return Put('C', {kProcessors, 0},
                 absl::StrCat(R"(,"name":"heap )", event.type == TraceEvent::kHeapAlloc ? "allocated" : "goal",
                              R"(","args":{"bytes":)", event.args[0], "}"));
    case TraceEvent::kFiberLabel:
      fibers_[event.fiber].label = Quote(Text(event, 0));
      return;
    case TraceEvent::kTaskBegin: {
      const std::string& name = tasks_[event.args[0]] = Quote(Text(event, 2));
      return Put('b', OnProcessor(processor),
                 absl::StrCat(R"(,"cat":"task","id":)", event.args[0], R"(,"name":)", name, R"(,"args":{"parent":)",
                              event.args[1], At(event, 3), "}"));
    }
    case TraceEvent::kTaskEnd: {
      const auto task = tasks_.find(event.args[0]);
      if (task == tasks_.end()) return;  // began before the trace
      Put('e', OnProcessor(processor),
          absl::StrCat(R"(,"cat":"task","id":)", task->first, R"(,"name":)", task->second));
      tasks_.erase(task);
      return;
    }
    case TraceEvent::kRegionBegin:
    case TraceEvent::kRegionEnd:
      return AddRegion(event);
    case TraceEvent::kLog:
      return Put('i', OnProcessor(processor),
                 absl::StrCat(R"(,"s":"t","cat":"log","name":)", Quote(Text(event, 1)), R"(,"args":{"task":)",
                              event.args[0], R"(,"text":)", Quote(Text(event, 2)), At(event, 3), "}"));
  }
}

void Writer::AddFirstState(const TimelineEvent& event) {
  switch (static_cast<TraceFiberStatus>(event.args[2])) {
    case TraceFiberStatus::kRunnable:
      return Become(event.fiber, kRunnable);
    case TraceFiberStatus::kWaiting:
      return Become(event.fiber, kWaiting);
    case TraceFiberStatus::kRunning:
      Become(event.fiber, kRunning);
      return BeginRun(event.processor, event.fiber);
    case TraceFiberStatus::kBlocking:
      break;
  }
  Become(event.fiber, kBlocking);
  if (event.processor == kNoTraceProcessor) return BeginCallOfThread(event.args[1], event.fiber);
  BeginRunInCall(event.processor, event.fiber);
}

// A call that seemed to have lost its processor may turn out to have kept it.
void Writer::AddProcessorStatus(const TimelineEvent& event) {
  OnProcessor(event.processor);
  if (!calls_.contains(event.thread) || event.args[1] != static_cast<uint64_t>(TraceProcessorStatus::kBlocking)) return;
  EndCallOfThread(event.thread);
  BeginRunInCall(event.processor, event.fiber);
}

void Writer::BeginRunInCall(uint64_t processor, uint64_t fiber) {
  BeginRun(processor, fiber);
  processors_[processor].in_call = true;
  Put('B', OnProcessor(processor),
      absl::StrCat(R"(,"cat":"blocking","name":"blocking call","args":{"fiber":)", fiber, "}"));
}

// An arrow needs a slice to begin in: the run of whoever wakes. Without one there is a mark.
void Writer::AddWakeup(const TimelineEvent& event, const char* word, size_t stack) {
  Fiber& fiber = fibers_[event.args[0]];
  const bool on_processor = event.processor != kNoTraceProcessor;
  if (on_processor && processors_[event.processor].fiber != 0) {
    fiber.arrow = ++arrows_;
    return Put('s', OnProcessor(event.processor),
               absl::StrCat(R"(,"cat":"wakeup","name":"wakeup","id":)", fiber.arrow));
  }
  fiber.arrow = 0;
  const Track track = on_processor ? OnProcessor(event.processor) : OnThread(event.thread);
  std::string name = fiber.name;
  if (name.empty()) name = Quote(absl::StrCat("fiber ", event.args[0]));
  name.insert(1, absl::StrCat(word, " "));
  Put('i', track,
      absl::StrCat(R"(,"s":"t","cat":"wakeup","name":)", name, R"(,"args":{"fiber":)", event.args[0], At(event, stack),
                   "}"));
}

// An end without a beginning is that of a region from before the trace.
void Writer::AddRegion(const TimelineEvent& event) {
  std::vector<Region>& regions = fibers_[event.fiber].regions;
  const Track track = OnProcessor(event.processor);
  if (event.type == TraceEvent::kRegionBegin) {
    regions.push_back({event.args[0], Quote(Text(event, 1))});
    return BeginRegion(track, regions.back());
  }
  if (regions.empty()) return;
  regions.pop_back();
  Put('E', track, "");
}

// Once for all events of a moment.
void Writer::AddFiberCounts() {
  if (!std::exchange(counts_changed_, false)) return;
  std::string values;
  for (size_t i = 0; i < counts_.size(); ++i) {
    absl::StrAppend(&values, i == 0 ? "" : ",", "\"", kStateNames[i], "\":", counts_[i]);
  }
  Put('C', {kProcessors, 0}, absl::StrCat(R"(,"name":"fibers","args":{)", values, "}"));
}

// Readers show a slice without end as one that did not finish; these did not either, but each has a place to end in.
void Writer::CloseAll() {
  now_ns_ = std::max(now_ns_, timeline_.end_ns());
  for (const auto& [processor, state] : std::map(processors_)) EndRun(processor, "end of trace", "");
  for (const auto& [thread, fiber] : std::map(calls_)) EndCallOfThread(thread);
  for (const auto& [task, name] : tasks_) {
    Put('e', {kProcessors, 0}, absl::StrCat(R"(,"cat":"task","id":)", task, R"(,"name":)", name));
  }
}

}  // namespace

absl::Status WritePerfettoTrace(const TraceTimeline& timeline, TraceFrames& frames, ByteSink& sink) {
  return Writer(timeline, frames, sink).Write();
}

}  // namespace fiberscope::pprof
