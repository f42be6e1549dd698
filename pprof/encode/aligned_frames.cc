#include "pprof/encode/aligned_frames.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pprof/utf8.h"

namespace fiberscope::pprof {
namespace {

struct FrameCells {
  std::string address;
  std::string function;  // "" when unknown: the line has one column less
  std::string position;
};

FrameCells MakeCells(const StackLine& line) {
  const uintptr_t call = line.return_address - 1;
  const TextFrame& frame = *line.frame;
  // Of an address without a name Go prints what is in the list, not the call.
  if (frame.function.empty()) return {HexAddress(line.return_address), "", ""};
  std::string function = frame.function;
  if (line.function_start != 0) absl::StrAppend(&function, "+", HexAddress(call - line.function_start));
  return {HexAddress(call), std::move(function), frame.position};
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

}  // namespace

void AppendAlignedFrames(std::string& out, std::span<const StackLine> lines) {
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

std::string HexAddress(uintptr_t address) { return absl::StrCat("0x", absl::Hex(address)); }

void AppendAddresses(std::string& out, std::span<const uintptr_t> stack) {
  out += " @";
  for (const uintptr_t address : stack) absl::StrAppend(&out, " 0x", absl::Hex(address));
}

}  // namespace fiberscope::pprof
