#include "pprof/trace/trace_profile.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "pprof/utf8.h"

namespace fiberscope::pprof {
namespace {

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// The words are Go's, cmd/trace; so is that a reason may have others besides.
bool IsSync(std::string_view reason) {
  return Contains(reason, "chan") || Contains(reason, "sync") || Contains(reason, "select");
}

// A stack of the timeline: generation and number.
using StackKey = std::pair<uint32_t, uint64_t>;

// A fiber's wait that has begun.
struct Wait {
  int64_t begin_ns = 0;
  StackKey stack;
};

// Samples by their frames' addresses.
class Builder {
 public:
  explicit Builder(TraceFrames& frames) : frames_(frames) {
    profile_.sample_types = {{Intern("contentions"), Intern("count")}, {Intern("delay"), Intern("nanoseconds")}};
    profile_.period_type = {Intern("trace"), Intern("count")};
    profile_.period = 1;
    profile_.mappings = {
        {.has_functions = true, .has_filenames = true, .has_line_numbers = true, .has_inline_frames = true}};
  }

  // Returns the sample's place; the same for stacks that look the same.
  size_t SampleOf(std::span<const uintptr_t> pcs) {
    std::vector<Profile::LocationId> stack;
    for (const TraceFrame& frame : frames_.Frames(pcs)) stack.push_back(InternLocation(frame));
    const auto [at, added] = samples_.try_emplace(stack, profile_.samples.size());
    if (added) profile_.samples.push_back({.stack = std::move(stack), .values = {0, 0}, .labels = {}});
    return at->second;
  }

  void Add(size_t sample, int64_t delay_ns) {
    profile_.samples[sample].values[0] += 1;
    profile_.samples[sample].values[1] += delay_ns;
  }

  Profile Build(std::chrono::nanoseconds duration) && {
    profile_.duration = duration;
    return std::move(profile_);
  }

 private:
  Profile::StringId Intern(std::string_view text) {
    if (text.empty()) return Profile::StringId::kEmpty;
    const auto [at, added] =
        strings_.try_emplace(ToValidUtf8(text), static_cast<Profile::StringId>(profile_.strings.size()));
    if (added) profile_.strings.push_back(at->first);
    return at->second;
  }

  // system_name stays empty: pprof would demangle a function whose two names are equal.
  Profile::FunctionId InternFunction(const TraceFrame& frame) {
    const Profile::StringId name = Intern(frame.function);
    const Profile::StringId file = Intern(frame.file);
    const auto next = static_cast<Profile::FunctionId>(profile_.functions.size() + 1);
    const auto [at, added] = functions_.try_emplace({name, file}, next);
    if (added) profile_.functions.push_back({.name = name, .file = file});
    return at->second;
  }

  Profile::LocationId InternLocation(const TraceFrame& frame) {
    const auto next = static_cast<Profile::LocationId>(profile_.locations.size() + 1);
    const auto [at, added] = locations_.try_emplace(frame.pc, next);
    if (added) {
      profile_.locations.push_back(
          {.mapping = Profile::MappingId{1}, .address = frame.pc, .lines = {{InternFunction(frame), frame.line}}});
    }
    return at->second;
  }

  TraceFrames& frames_;
  Profile profile_;
  absl::flat_hash_map<std::string, Profile::StringId> strings_;
  absl::flat_hash_map<std::pair<Profile::StringId, Profile::StringId>, Profile::FunctionId> functions_;
  absl::flat_hash_map<uint64_t, Profile::LocationId> locations_;
  std::map<std::vector<Profile::LocationId>, size_t> samples_;
};

// Which fiber an event sends into another state, 0 if none; and with that state, the stack to blame if it is of the
// kind wanted.
struct Change {
  uint64_t fiber = 0;
  bool begins = false;
  uint64_t stack = 0;
};

Change ChangeOf(const TraceTimeline& timeline, const TimelineEvent& event, TraceProfileKind kind) {
  const bool sched = kind == TraceProfileKind::kSched;
  switch (event.type) {
    case TraceEvent::kFiberCreate:
      return {event.args[0], sched, event.args[2]};
    case TraceEvent::kFiberUnblock:
      return {event.args[0], sched, event.args[2]};
    case TraceEvent::kFiberStop:
      return {event.fiber, sched, event.args[1]};
    case TraceEvent::kBlockingBegin:
      return {event.fiber, kind == TraceProfileKind::kSyscall, event.args[1]};
    case TraceEvent::kFiberBlock: {
      const std::string_view reason = timeline.Text(event.generation, event.args[0]);
      const bool begins = (kind == TraceProfileKind::kNet && reason == "network") ||
                          (kind == TraceProfileKind::kSync && IsSync(reason));
      return {event.fiber, begins, event.args[1]};
    }
    case TraceEvent::kFiberStart:
    case TraceEvent::kFiberDestroy:
    case TraceEvent::kFiberDestroyBlocking:
    case TraceEvent::kBlockingEnd:
    case TraceEvent::kBlockingEndLost:
      return {.fiber = event.fiber};
    default:
      return {};
  }
}

}  // namespace

Profile MakeTraceProfile(const TraceTimeline& timeline, TraceProfileKind kind, TraceFrames& frames) {
  Builder builder(frames);
  absl::flat_hash_map<uint64_t, Wait> waits;  // by fiber
  absl::flat_hash_map<StackKey, size_t> samples;
  for (const TimelineEvent& event : timeline.events()) {
    const Change change = ChangeOf(timeline, event, kind);
    if (change.fiber == 0) continue;
    const auto wait = waits.find(change.fiber);
    if (wait != waits.end()) {
      const auto [generation, stack] = wait->second.stack;
      const auto [at, added] = samples.try_emplace(wait->second.stack, 0);
      if (added) at->second = builder.SampleOf(timeline.Stack(generation, stack));
      builder.Add(at->second, event.time_ns - wait->second.begin_ns);
      waits.erase(wait);
    }
    if (change.begins && change.stack != 0) waits[change.fiber] = {event.time_ns, {event.generation, change.stack}};
  }
  return std::move(builder).Build(std::chrono::nanoseconds(timeline.end_ns()));
}

}  // namespace fiberscope::pprof
