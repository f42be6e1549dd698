#include "pprof/sources/goroutine_source.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "pprof/encode/goroutine_text.h"
#include "pprof/encode/legacy_text.h"
#include "pprof/machinery.h"
#include "pprof/profile_builder.h"
#include "pprof/stack_matcher.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kName = "goroutine";
constexpr std::string_view kUnit = "count";
constexpr size_t kMostFrames = 128;
constexpr std::chrono::seconds kWaitForLines{2};
constexpr RegistryOptions kWithStacks{.stacks = true, .running_stacks = true};

std::vector<SampleLabel> SampleLabels(std::span<const Label> labels) {
  std::vector<SampleLabel> result;
  result.reserve(labels.size());
  for (const Label& label : labels) result.push_back({.key = label.key, .text = label.value});
  return result;
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

absl::StatusOr<Profile> GoroutineSource::Collect() { return Collect(FiberFilter()); }

absl::Status GoroutineSource::WriteText(int debug, ByteSink& sink) { return WriteText(FiberFilter(), debug, sink); }

absl::StatusOr<Profile> GoroutineSource::Collect(const FiberFilter& filter) {
  symbolizer_.WaitForLines(kWaitForLines);
  const auto time = inputs_.now();
  std::vector<StackGroup> groups = GroupFibers(filter);
  SortByCount(groups);

  ProfileBuilder builder(symbolizer_, inputs_.mappings());
  builder.AddSampleType(kName, kUnit);
  builder.SetPeriod(kName, kUnit, 1);
  builder.SetTime(time);
  for (const StackGroup& group : groups) {
    const int64_t values[] = {group.count};
    builder.AddSample(group.stack, values, SampleLabels(group.labels));
  }
  return std::move(builder).Build();
}

absl::Status GoroutineSource::WriteText(const FiberFilter& filter, int debug, ByteSink& sink) {
  symbolizer_.WaitForLines(kWaitForLines);
  if (debug >= 2) return WriteDump(filter, sink);
  return WriteCountProfile(kName, GroupFibers(filter), symbolizer_, sink);
}

FiberPage GoroutineSource::CollectPage(const FiberFilter& filter, const FiberPageOptions& options) {
  symbolizer_.WaitForLines(kWaitForLines);
  FiberPage page(options);
  ForEach(filter, [&page](const FiberSnapshot& fiber) {
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

void GoroutineSource::ForEach(const FiberFilter& filter, absl::FunctionRef<bool(const FiberSnapshot&)> visit) const {
  if (filter.empty()) {
    inputs_.for_each_fiber(kWithStacks, visit);
    return;
  }
  std::optional<StackMatcher> functions;
  if (filter.function) functions.emplace(*filter.function, symbolizer_);
  inputs_.for_each_fiber(kWithStacks, [&](const FiberSnapshot& fiber) {
    const bool passes = filter.MatchesRecord(fiber) && (!functions || functions->Matches(fiber.stack, fiber.entry_pc));
    return !passes || visit(fiber);
  });
}

// First by raw addresses, while fibers are being listed, with the entry function as one more; then the few distinct
// stacks as they are shown, which takes symbols. Stacks that differ in what is not shown become one.
std::vector<StackGroup> GoroutineSource::GroupFibers(const FiberFilter& filter) const {
  StackGroups raw;
  std::vector<uintptr_t> addresses;  // cleared and filled again: keeps its memory
  ForEach(filter, [&raw, &addresses](const FiberSnapshot& fiber) {
    const auto innermost = fiber.stack.first(std::min(fiber.stack.size(), kMostFrames));
    addresses.assign(innermost.begin(), innermost.end());
    addresses.push_back(fiber.entry_pc);
    raw.Add(addresses, fiber.labels);
    return true;
  });
  StackGroups groups;
  for (const StackGroup& group : std::move(raw).Take()) {
    const std::span<const uintptr_t> stack = std::span(group.stack).first(group.stack.size() - 1);
    groups.Add(UserStack(stack, group.stack.back(), symbolizer_), group.labels, group.count);
  }
  return std::move(groups).Take();
}

absl::Status GoroutineSource::WriteDump(const FiberFilter& filter, ByteSink& sink) const {
  GoroutineTextEncoder encoder(symbolizer_, sink);
  absl::Status status;
  ForEach(filter, [&encoder, &status](const FiberSnapshot& fiber) {
    status = encoder.Write(fiber);
    return status.ok();
  });
  return status;
}

}  // namespace fiberscope::pprof
