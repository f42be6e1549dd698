#include "pprof/sources/goroutine_source.h"

#include <span>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/goroutine_state.h"
#include "pprof/encode/goroutine_text.h"
#include "pprof/encode/legacy_text.h"
#include "pprof/encode/text_frames.h"
#include "pprof/machinery.h"
#include "pprof/stack_matcher.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kName = "goroutine";
constexpr std::string_view kUnit = "count";
constexpr std::chrono::seconds kWaitForLines{2};

std::vector<SampleLabel> SampleLabels(std::span<const Label> labels) {
  std::vector<SampleLabel> result;
  result.reserve(labels.size());
  for (const Label& label : labels) result.push_back({.key = label.key, .text = label.value});
  return result;
}


// What is not as one would expect.
std::vector<std::string> Reservations(const FiberListing& listing, const FiberGroups& groups) {
  std::vector<std::string> texts;
  if (!listing.is_one_instant) texts.push_back("not one instant: " + std::string(listing.why_not));
  if (groups.left_out() != 0) {
    texts.push_back(absl::StrFormat("too many distinct stacks: %d goroutines are counted at their entry functions",
                                    groups.left_out()));
  }
  return texts;
}

}  // namespace

GoroutineSource::GoroutineSource(Symbolizer& symbolizer, GoroutineInputs inputs)
    : symbolizer_(symbolizer), inputs_(std::move(inputs)) {}

std::string_view GoroutineSource::name() const { return kName; }

std::string_view GoroutineSource::description() const {
  return "Stack traces of all current goroutines. Use debug=2 as a query parameter to export in the same format as an "
         "unrecovered panic.";
}

int64_t GoroutineSource::Count() const { return inputs_.fiber_count(); }

absl::StatusOr<Profile> GoroutineSource::Collect() { return Collect(FiberFilter(), FiberTags()); }

absl::Status GoroutineSource::WriteText(int debug, ByteSink& sink) { return WriteText(FiberFilter(), debug, sink); }

absl::StatusOr<Profile> GoroutineSource::Collect(const FiberFilter& filter, const FiberTags& tags) {
  symbolizer_.WaitForLines(kWaitForLines);
  ProfileBuilder builder(symbolizer_, inputs_.mappings());
  builder.AddSampleType(kName, kUnit);
  builder.SetPeriod(kName, kUnit, 1);
  builder.SetTime(inputs_.now());
  FiberGroups groups(tags);
  const FiberListing listing = Group(filter, groups);
  for (const std::string& text : Reservations(listing, groups)) builder.AddComment(text);
  if (!tags.empty()) {
    AddTaggedSamples(groups, builder);
    return std::move(builder).Build();
  }
  std::vector<StackGroup> stacks = StacksAsShown(groups);
  SortByCount(stacks);
  for (const StackGroup& group : stacks) {
    const int64_t values[] = {group.count};
    builder.AddSample(group.stack, values, SampleLabels(group.labels));
  }
  return std::move(builder).Build();
}

absl::Status GoroutineSource::WriteText(const FiberFilter& filter, int debug, ByteSink& sink) {
  symbolizer_.WaitForLines(kWaitForLines);
  if (debug >= 2) return WriteDump(filter, sink);
  FiberGroups groups;
  const FiberListing listing = Group(filter, groups);
  absl::Status status = WriteCountProfile(kName, StacksAsShown(groups), symbolizer_, sink);
  for (const std::string& text : Reservations(listing, groups)) {
    if (status.ok()) status = sink.Write(absl::StrCat("# ", text, "\n"));
  }
  return status;
}

FiberPage GoroutineSource::CollectPage(const FiberFilter& filter, const FiberPageOptions& options) {
  symbolizer_.WaitForLines(kWaitForLines);
  FiberPage page(options);
  ForEach(filter, Moments::kOneEach, [&page](const FiberSnapshot& fiber) {
    page.Offer(fiber);
    return true;
  });
  return page;
}

absl::Status GoroutineSource::WritePage(const FiberPage& page, ByteSink& sink) {
  GoroutineTextEncoder encoder(symbolizer_, sink);
  absl::Status status;
  page.ForEach([&encoder, &status](const FiberSnapshot& fiber) {
    status = encoder.Write(fiber);
    return status.ok();
  });
  return status;
}

FiberListing GoroutineSource::ForEach(const FiberFilter& filter, Moments moments,
                                      absl::FunctionRef<bool(const FiberSnapshot&)> visit) const {
  RegistryOptions options{.stacks = true, .running_stacks = true, .one_instant = moments == Moments::kOne};
  if (!filter.empty()) options.wanted = [&filter](const FiberSnapshot& fiber) { return filter.MatchesRecord(fiber); };
  if (!filter.function) {
    return inputs_.for_each_fiber(options, visit);
  }
  StackMatcher functions(*filter.function, symbolizer_);
  return inputs_.for_each_fiber(options, [&](const FiberSnapshot& fiber) {
    return !functions.Matches(fiber.stack, fiber.entry_pc) || visit(fiber);
  });
}

FiberListing GoroutineSource::Group(const FiberFilter& filter, FiberGroups& groups) const {
  return ForEach(filter, Moments::kOne, [&groups](const FiberSnapshot& fiber) {
    groups.Add(fiber);
    return true;
  });
}

// The few distinct stacks as they are shown, which takes symbols. Stacks that differ in what is not shown become one.
std::vector<StackGroup> GoroutineSource::StacksAsShown(const FiberGroups& groups) const {
  StackGroups shown;
  for (const FiberGroup& group : groups.groups()) {
    shown.Add(UserStack(groups.StackOf(group), group.entry_pc, symbolizer_), groups.LabelsOf(group), group.count);
  }
  return std::move(shown).Take();
}

// In the order of the listing: there may be a million, and readers sort.
void GoroutineSource::AddTaggedSamples(const FiberGroups& groups, ProfileBuilder& builder) const {
  TextFrames functions(symbolizer_);
  absl::flat_hash_map<std::pair<uint32_t, uintptr_t>, std::vector<uintptr_t>> shown;  // by stack and entry
  for (const FiberGroup& group : groups.groups()) {
    const auto [stack, added] = shown.try_emplace({group.stack, group.entry_pc});
    if (added) stack->second = UserStack(groups.StackOf(group), group.entry_pc, symbolizer_);
    std::vector<SampleLabel> labels = SampleLabels(groups.LabelsOf(group));
    if (group.state != FiberState::kDead) {
      labels.push_back({.key = "state", .text = GoroutineState(group.state, WaitReason::kNone)});
    }
    if (group.wait_reason != WaitReason::kNone) {
      labels.push_back({.key = "wait_reason", .text = GoroutineState(group.state, group.wait_reason)});
    }
    if (group.wait_ns != 0) labels.push_back({.key = "wait_ns", .number = group.wait_ns, .unit = "nanoseconds"});
    if (group.creator_pc != 0) {
      labels.push_back({.key = "created_by", .text = FirstUserFrame(functions.Lookup(group.creator_pc)).function});
    }
    if (group.id) labels.push_back({.key = "goroutine_id", .number = static_cast<int64_t>(group.id.value), .unit = "id"});
    const int64_t values[] = {group.count};
    builder.AddSample(stack->second, values, labels);
  }
}

absl::Status GoroutineSource::WriteDump(const FiberFilter& filter, ByteSink& sink) const {
  GoroutineTextEncoder encoder(symbolizer_, sink);
  absl::Status status;
  ForEach(filter, Moments::kOneEach, [&encoder, &status](const FiberSnapshot& fiber) {
    status = encoder.Write(fiber);
    return status.ok();
  });
  return status;
}

}  // namespace fiberscope::pprof
