#include "pprof/sources/wall.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "pprof/encode/goroutine_state.h"
#include "pprof/fiber_groups.h"
#include "pprof/machinery.h"
#include "pprof/profile_builder.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/registry.h"

namespace fiberscope::pprof {
namespace {

constexpr std::chrono::seconds kWaitForLines{2};

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

std::chrono::nanoseconds Period(const WallOptions& options) {
  return std::chrono::nanoseconds(std::chrono::seconds(1)) / options.hz;
}

}  // namespace

WallInputs ProcessWallInputs() {
  return {.for_each_fiber = ForEachFiber,
          .monotonic_now = [] { return std::chrono::nanoseconds(MonotonicNowNs()); },
          .now = std::chrono::system_clock::now,
          .mappings = ReadProcessMappings};
}

WallSampler::WallSampler(const WallOptions& options, WallInputs inputs)
    : options_(options),
      inputs_(std::move(inputs)),
      start_time_(inputs_.now()),
      start_(inputs_.monotonic_now()),
      last_pass_(start_) {
  FIBERSCOPE_CHECK(options.hz >= 1, "a wall-clock profile at %d Hz: must be 1 to %d", options.hz, WallOptions::kMaxHz);
  FIBERSCOPE_CHECK(options.hz <= WallOptions::kMaxHz, "a wall-clock profile at %d Hz: must be 1 to %d", options.hz,
                   WallOptions::kMaxHz);
}

// Grouped by number first, which is cheap, per fiber; then by content, because numbers are of one listing, per group.
void WallSampler::Pass() {
  const std::chrono::nanoseconds now = inputs_.monotonic_now();
  const int64_t time_ns = (now - last_pass_).count();
  FiberGroups pass({.state = true});
  const RegistryOptions all{.stacks = true, .running_stacks = true, .one_instant = true};
  const FiberListing listing = inputs_.for_each_fiber(all, [&pass](const FiberSnapshot& fiber) {
    pass.Add(fiber);
    return true;
  });
  for (const FiberGroup& group : pass.groups()) {
    groups_.Add({.stack = pass.StackOf(group),
                 .labels = pass.LabelsOf(group),
                 .entry_pc = group.entry_pc,
                 .state = group.state,
                 .wait_reason = group.wait_reason},
                {.samples = group.count, .time_ns = group.count * time_ns});
  }
  crowded_out_ += pass.left_out();
  if (!listing.is_one_instant) {
    ++not_one_instant_;
    why_not_ = listing.why_not;
  }
  last_pass_ = now;
  const std::chrono::nanoseconds took = inputs_.monotonic_now() - now;
  if (passes_ == 0) first_pass_time_ = took;
  pass_time_ += took;
  ++passes_;
}

std::chrono::nanoseconds WallSampler::NextPass() const {
  return std::max(last_pass_ + Period(options_), start_ + kTimePerPassTime * (pass_time_ - first_pass_time_));
}

std::vector<std::string> WallSampler::Comments() const {
  const double passes = static_cast<double>(std::max<int64_t>(passes_, 1));
  const std::chrono::nanoseconds duration = last_pass_ - start_;
  const double share = duration.count() == 0 ? 0 : Seconds(pass_time_) / Seconds(duration);
  std::vector<std::string> texts;
  texts.push_back(absl::StrFormat("%d looks at all goroutines in %.2f s, %d per second asked for; one took %.0f us, together they "
                                  "took %.1f %% of the time",
                                  passes_, Seconds(duration), options_.hz, Seconds(pass_time_) * 1e6 / passes, share * 100));
  if (not_one_instant_ != 0) {
    texts.push_back(absl::StrFormat("%d of these looks were not of one instant: %s", not_one_instant_, why_not_));
  }
  if (const int64_t left_out = crowded_out_ + groups_.left_out(); left_out != 0) {
    texts.push_back(absl::StrFormat("too many distinct stacks and labels: %d samples are counted at the goroutines' entry "
                                    "functions",
                                    left_out));
  }
  return texts;
}

Profile WallSampler::Build(Symbolizer& symbolizer) const {
  symbolizer.WaitForLines(kWaitForLines);
  // As they are shown: stacks that differ in what is not become one.
  WallGroups shown;
  for (const WallGroup& group : groups_.Sorted()) {
    const std::vector<uintptr_t> stack = UserStack(group.place.stack, group.place.entry_pc, symbolizer);
    WallPlace place = group.place;
    place.stack = stack;
    place.entry_pc = 0;
    shown.Add(place, group.weight);
  }
  ProfileBuilder builder(symbolizer, inputs_.mappings());
  builder.AddSampleType("samples", "count");
  builder.AddSampleType("time", "nanoseconds");
  builder.SetPeriod("wall", "nanoseconds", Period(options_).count());
  builder.SetTime(start_time_);
  builder.SetDuration(last_pass_ - start_);
  for (const std::string& text : Comments()) builder.AddComment(text);
  for (const auto& [place, weight] : shown.Sorted()) {
    std::vector<SampleLabel> labels;
    for (const Label& label : place.labels) labels.push_back({.key = label.key, .text = label.value});
    labels.push_back({.key = "state", .text = GoroutineState(place.state, place.wait_reason)});
    const int64_t values[] = {weight.samples, weight.time_ns};
    builder.AddSample(place.stack, values, labels);
  }
  return std::move(builder).Build();
}

absl::StatusOr<Profile> SampleWall(const WallOptions& options, std::chrono::nanoseconds duration, Symbolizer& symbolizer,
                                   absl::FunctionRef<absl::Status(std::chrono::nanoseconds)> wait, const WallInputs& inputs) {
  WallSampler sampler(options, inputs);
  const std::chrono::nanoseconds end = sampler.last_pass() + duration;
  while (sampler.last_pass() < end) {
    const std::chrono::nanoseconds due = std::min(sampler.NextPass(), end);
    for (auto now = inputs.monotonic_now(); now < due; now = inputs.monotonic_now()) {
      if (absl::Status status = wait(due - now); !status.ok()) return status;
    }
    sampler.Pass();
  }
  return sampler.Build(symbolizer);
}

}  // namespace fiberscope::pprof
