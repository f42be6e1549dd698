#include "pprof/encode/legacy_text.h"

#include <algorithm>
#include <compare>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/aligned_frames.h"
#include "pprof/encode/label_text.h"
#include "pprof/encode/text_frames.h"

namespace fiberscope::pprof {
namespace {

// Compares "@ 0x1 0x2\n# labels: {...}" of two groups without making the texts. Where the lists of addresses differ,
// the shorter number and the shorter list come first: what follows them, a blank, a line break or the end, is less than
// any digit.
std::strong_ordering CompareKeys(const StackGroup& a, const StackGroup& b) {
  const auto [in_a, in_b] = std::ranges::mismatch(a.stack, b.stack);
  const bool a_ends = in_a == a.stack.end();
  const bool b_ends = in_b == b.stack.end();
  if (!a_ends && !b_ends) return HexAddress(*in_a) <=> HexAddress(*in_b);
  if (a_ends != b_ends) return a_ends ? std::strong_ordering::less : std::strong_ordering::greater;
  if (a.labels.empty() || b.labels.empty()) return b.labels.empty() <=> a.labels.empty();
  return CountLabels(a.labels) <=> CountLabels(b.labels);
}

bool GoesBefore(const StackGroup& a, const StackGroup& b) {
  if (a.count != b.count) return a.count > b.count;
  return CompareKeys(a, b) < 0;
}

bool HasPendingLines(const StackGroup& group, Symbolizer& symbolizer) {
  return std::ranges::any_of(group.stack, [&](uintptr_t return_address) {
    return symbolizer.Lookup(return_address - 1).lines == LineState::kPending;
  });
}

std::string GroupText(const StackGroup& group, TextFrames& frames, const CountTextOptions& options) {
  std::string out = absl::StrCat(group.count);
  AppendAddresses(out, group.stack);
  if (group.stack.empty()) out += " 0x0";
  out += '\n';
  if (!group.labels.empty()) absl::StrAppend(&out, "# labels: ", CountLabels(group.labels), "\n");
  AppendAlignedFrames(out, options.machinery ? frames.AllLines(group.stack) : frames.VisibleLines(group.stack));
  return out += '\n';
}

}  // namespace

void SortByCount(std::vector<StackGroup>& groups) { std::ranges::stable_sort(groups, GoesBefore); }

absl::Status WriteCountProfile(std::string_view name, std::vector<StackGroup> groups, Symbolizer& symbolizer,
                               ByteSink& sink, const CountTextOptions& options) {
  SortByCount(groups);
  int64_t total = 0;
  for (const StackGroup& group : groups) total += group.count;
  if (absl::Status status = sink.Write(absl::StrFormat("%s profile: total %d\n", std::string(name), total));
      !status.ok()) {
    return status;
  }
  TextFrames frames(symbolizer);
  bool is_pending = false;
  for (const StackGroup& group : groups) {
    is_pending = is_pending || HasPendingLines(group, symbolizer);
    if (absl::Status status = sink.Write(GroupText(group, frames, options)); !status.ok()) return status;
  }
  return is_pending ? sink.Write("# " + std::string(kLinesPending) + "\n") : absl::OkStatus();
}

}  // namespace fiberscope::pprof
