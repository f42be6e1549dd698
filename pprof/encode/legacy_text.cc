#include "pprof/encode/legacy_text.h"

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/label_text.h"
#include "pprof/encode/text_frames.h"
#include "pprof/utf8.h"

namespace fiberscope::pprof {
namespace {

std::string HexText(uintptr_t value) { return absl::StrCat("0x", absl::Hex(value)); }

// Compares "@ 0x1 0x2\n# labels: {...}" of two groups without making the texts. Where the lists of addresses differ,
// the shorter number and the shorter list come first: what follows them, a blank, a line break or the end, is less than
// any digit.
std::strong_ordering CompareKeys(const StackGroup& a, const StackGroup& b) {
  const auto [in_a, in_b] = std::ranges::mismatch(a.stack, b.stack);
  const bool a_ends = in_a == a.stack.end();
  const bool b_ends = in_b == b.stack.end();
  if (!a_ends && !b_ends) return HexText(*in_a) <=> HexText(*in_b);
  if (a_ends != b_ends) return a_ends ? std::strong_ordering::less : std::strong_ordering::greater;
  if (a.labels.empty() || b.labels.empty()) return b.labels.empty() <=> a.labels.empty();
  return CountLabels(a.labels) <=> CountLabels(b.labels);
}

bool GoesBefore(const StackGroup& a, const StackGroup& b) {
  if (a.count != b.count) return a.count > b.count;
  return CompareKeys(a, b) < 0;
}

struct FrameCells {
  std::string address;
  std::string function;  // "" when unknown: the line has one column less
  std::string position;
};

FrameCells MakeCells(const StackLine& line) {
  const uintptr_t call = line.return_address - 1;
  const TextFrame& frame = *line.frame;
  // Of an address without a name Go prints what is in the list, not the call.
  if (frame.function.empty()) return {HexText(line.return_address), "", ""};
  std::string function = frame.function;
  if (line.function_start != 0) absl::StrAppend(&function, "+", HexText(call - line.function_start));
  return {HexText(call), std::move(function), frame.position};
}

// Tabs after a cell of `width` characters in a column whose widest cell has `widest`: up to the next multiple of 8
// beyond the widest and a padding of one.
void AppendTabs(std::string& out, size_t width, size_t widest) {
  constexpr size_t kTabWidth = 8;
  const size_t column_width = (widest + 1 + kTabWidth - 1) / kTabWidth * kTabWidth;
  out.append((column_width - width + kTabWidth - 1) / kTabWidth, '\t');
}

// Lines that have all columns and follow one another share their widths.
void AppendAligned(std::string& out, std::span<const FrameCells> run) {
  size_t widest_address = 0;
  size_t widest_function = 0;
  for (const FrameCells& cells : run) {
    widest_address = std::max(widest_address, cells.address.size());
    widest_function = std::max(widest_function, Utf8Length(cells.function));
  }
  for (const FrameCells& cells : run) {
    out += "#\t";
    out += cells.address;
    AppendTabs(out, cells.address.size(), widest_address);
    out += cells.function;
    AppendTabs(out, Utf8Length(cells.function), widest_function);
    out += cells.position;
    out += '\n';
  }
}

void AppendFrames(std::string& out, std::span<const StackLine> lines) {
  std::vector<FrameCells> run;
  for (const StackLine& line : lines) {
    FrameCells cells = MakeCells(line);
    if (!cells.function.empty()) {
      run.push_back(std::move(cells));
      continue;
    }
    AppendAligned(out, run);
    run.clear();
    absl::StrAppend(&out, "#\t", cells.address, "\n");
  }
  AppendAligned(out, run);
}

bool HasPendingLines(const StackGroup& group, Symbolizer& symbolizer) {
  return std::ranges::any_of(group.stack, [&](uintptr_t return_address) {
    return symbolizer.Lookup(return_address - 1).lines == LineState::kPending;
  });
}

std::string GroupText(const StackGroup& group, TextFrames& frames, const CountTextOptions& options) {
  std::string out = absl::StrCat(group.count, " @");
  for (const uintptr_t address : group.stack) absl::StrAppend(&out, " ", HexText(address));
  if (group.stack.empty()) out += " 0x0";
  out += '\n';
  if (!group.labels.empty()) absl::StrAppend(&out, "# labels: ", CountLabels(group.labels), "\n");
  AppendFrames(out, options.machinery ? frames.AllLines(group.stack) : frames.VisibleLines(group.stack));
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
