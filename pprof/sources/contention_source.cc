#include "pprof/sources/contention_source.h"

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/machinery.h"
#include "pprof/profile_builder.h"

namespace fiberscope::pprof {
namespace {

constexpr std::chrono::seconds kWaitForLines{2};

bool IsAllMachinery(const std::vector<Frame>& frames) {
  return !frames.empty() && std::ranges::all_of(frames, [](const Frame& frame) { return IsMachinery(frame); });
}

// Of the machinery at the leaf end only the outermost address stays: the primitive's function that was called.
std::span<const uintptr_t> FromPrimitive(std::span<const uintptr_t> stack, Symbolizer& symbolizer) {
  const auto user = std::ranges::find_if(
      stack, [&](uintptr_t return_address) { return !IsAllMachinery(symbolizer.Lookup(return_address - 1).frames); });
  if (user == stack.begin() || user == stack.end()) return stack;
  return stack.subspan(static_cast<size_t>(user - stack.begin()) - 1);
}

// What is not as one would expect.
std::vector<std::string> Reservations(const ContentionSnapshot& snapshot) {
  std::vector<std::string> texts;
  if (snapshot.stood_for > snapshot.events) {
    texts.push_back(absl::StrFormat("thinned out so as not to slow the process: %d events, weighted, stand for %d", snapshot.events,
                                    snapshot.stood_for));
  }
  if (snapshot.lost != 0) {
    texts.push_back(absl::StrFormat("too many distinct stacks: %d events are not in this profile", snapshot.lost));
  }
  return texts;
}

}  // namespace

ContentionSource::ContentionSource(Contention kind, Symbolizer& symbolizer, ContentionInputs inputs)
    : kind_(kind), symbolizer_(symbolizer), inputs_(std::move(inputs)) {}

std::string_view ContentionSource::name() const { return kind_ == Contention::kBlock ? "block" : "mutex"; }

std::string_view ContentionSource::description() const {
  return kind_ == Contention::kBlock ? "Stack traces that led to blocking on synchronization primitives"
                                     : "Stack traces of holders of contended mutexes";
}

int64_t ContentionSource::Count() const { return inputs_.stack_count(); }

absl::StatusOr<Profile> ContentionSource::Collect() {
  symbolizer_.WaitForLines(kWaitForLines);
  const auto time = inputs_.now();
  const ContentionSnapshot snapshot = inputs_.read();
  ProfileBuilder builder(symbolizer_, inputs_.mappings());
  builder.AddSampleType("contentions", "count");
  builder.AddSampleType("delay", "nanoseconds");
  builder.SetPeriod("contentions", "count", 1);
  builder.SetTime(time);
  for (const std::string& text : Reservations(snapshot)) builder.AddComment(text);
  for (const ContentionGroup& group : Group(snapshot)) {
    const int64_t values[] = {group.count, group.delay_ns};
    builder.AddSample(group.stack, values);
  }
  return std::move(builder).Build();
}

absl::Status ContentionSource::WriteText(int /*debug*/, ByteSink& sink) {
  symbolizer_.WaitForLines(kWaitForLines);
  const ContentionSnapshot snapshot = inputs_.read();
  const ContentionHead head = kind_ == Contention::kBlock ? ContentionHead{.title = "contention", .sampling_period = {}}
                                                          : ContentionHead{"mutex", inputs_.sampling_period()};
  absl::Status status = WriteContentionText(head, Group(snapshot), symbolizer_, sink);
  for (const std::string& text : Reservations(snapshot)) {
    if (status.ok()) status = sink.Write(absl::StrCat("# ", text, "\n"));
  }
  return status;
}

absl::Status ContentionSource::WriteLegacy(std::string_view maps, ByteSink& sink) {
  return WriteLegacyContention(Group(inputs_.read()), maps, sink);
}

std::vector<ContentionGroup> ContentionSource::Group(const ContentionSnapshot& snapshot) const {
  std::vector<ContentionGroup> groups;
  absl::flat_hash_map<std::vector<uintptr_t>, size_t> index;
  for (const ContentionRecord& record : snapshot.records) {
    std::vector<uintptr_t> shown = UserStack(FromPrimitive(record.stack, symbolizer_), 0, symbolizer_);
    const auto [at, added] = index.try_emplace(shown, groups.size());
    if (added) groups.push_back({.stack = std::move(shown)});
    groups[at->second].count += record.count;
    groups[at->second].delay_ns += record.delay_ns;
  }
  std::ranges::stable_sort(groups, std::ranges::greater(), &ContentionGroup::delay_ns);
  return groups;
}

}  // namespace fiberscope::pprof
