#include "pprof/encode/text_frames.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "pprof/encode/go_quote.h"
#include "pprof/machinery.h"

namespace fiberscope::pprof {
namespace {

// Go's readers give up on lines of 64 KiB. Escaping makes at most four bytes of one, and a line has one function and
// one file: 2 * 4 * 4 KiB stays well below.
constexpr size_t kMostNameBytes = 4096;

std::string Position(const Frame& frame) {
  if (frame.file.empty()) return "??:0";
  return absl::StrCat(EscapeLine(CutText(frame.file, kMostNameBytes)), ":", frame.line);
}

TextLocation Render(const Symbolized& symbolized) {
  TextLocation location;
  location.function_start = symbolized.function_start;
  const std::vector<Frame> frames = UserFrames(symbolized.frames);
  for (const Frame& frame : frames) {
    location.frames.push_back({.function = EscapeLine(CutText(ShortFunctionName(frame.function), kMostNameBytes)),
                               .position = Position(frame),
                               .inlined = &frame != &frames.back() || frames.size() < symbolized.frames.size(),
                               .machinery = IsMachinery(frame)});
  }
  if (location.frames.empty()) location.frames.emplace_back();
  return location;
}

}  // namespace

const TextFrame& FirstUserFrame(const TextLocation& location) {
  const auto user = std::ranges::find(location.frames, false, &TextFrame::machinery);
  return user != location.frames.end() ? *user : location.frames.back();
}

const TextLocation& TextFrames::Lookup(uintptr_t return_address) {
  auto [at, added] = locations_.try_emplace(return_address);
  if (added) at->second = Render(symbolizer_.Lookup(return_address - 1));
  return at->second;
}

std::vector<StackLine> TextFrames::AllLines(std::span<const uintptr_t> return_addresses) {
  std::vector<StackLine> lines;
  lines.reserve(return_addresses.size());
  for (const uintptr_t return_address : return_addresses) {
    const TextLocation& location = Lookup(return_address);
    for (const TextFrame& frame : location.frames) lines.push_back({return_address, location.function_start, &frame});
  }
  return lines;
}

std::vector<StackLine> TextFrames::VisibleLines(std::span<const uintptr_t> return_addresses) {
  std::vector<StackLine> lines = AllLines(return_addresses);
  const auto first = std::ranges::find_if(lines, [](const StackLine& line) { return !line.frame->machinery; });
  if (first != lines.end()) lines.erase(lines.begin(), first);
  return lines;
}

void AppendDumpFrame(std::string& out, const StackLine& line) {
  out += line.frame->function.empty() ? std::string_view("??") : std::string_view(line.frame->function);
  out += "(...)\n";
  AppendDumpPosition(out, line);
}

void AppendDumpPosition(std::string& out, const StackLine& line) {
  absl::StrAppend(&out, "\t", line.frame->position);
  const bool has_offset =
      !line.frame->inlined && line.function_start != 0 && line.return_address - 1 > line.function_start;
  if (has_offset) absl::StrAppend(&out, " +0x", absl::Hex(line.return_address - line.function_start));
  out += '\n';
}

}  // namespace fiberscope::pprof
