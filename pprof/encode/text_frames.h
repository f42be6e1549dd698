// Frames as the text forms print them, rendered once per code address.
#ifndef FIBERSCOPE_PPROF_ENCODE_TEXT_FRAMES_H_
#define FIBERSCOPE_PPROF_ENCODE_TEXT_FRAMES_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// One logical frame. Both texts are escaped: no line break, no tab.
struct TextFrame {
  std::string function;           // short name; "" when unknown
  std::string position = "??:0";  // "file:line"
  bool inlined = false;
  bool machinery = false;  // see machinery.h
};

// What is printed of one code address.
struct TextLocation {
  std::vector<TextFrame> frames;  // innermost first, without root machinery; never empty: one unknown frame at least
  uintptr_t function_start = 0;   // of the physical function; 0 when unknown
};

// Of a return address from Spawn its caller as the user sees it: Spawn itself is inlined there.
const TextFrame& FirstUserFrame(const TextLocation& location);

// One line of a printed stack.
struct StackLine {
  uintptr_t return_address;
  uintptr_t function_start;
  const TextFrame* frame;
};

// Remembers every address it was asked for: its memory grows with the distinct addresses of one dump, not with the
// number of stacks. Make one per dump.
//
// Thread-compatible. Blocks the thread while the symbolizer works. Cost: one hash look-up per known address.
class TextFrames {
 public:
  // `symbolizer` must outlive this object.
  explicit TextFrames(Symbolizer& symbolizer) : symbolizer_(symbolizer) {}

  // Valid as long as this object lives.
  const TextLocation& Lookup(uintptr_t return_address);

  // The logical frames of a stack, innermost first.
  std::vector<StackLine> AllLines(std::span<const uintptr_t> return_addresses);

  // The same without what a user does not care for: machinery is left out up to the first other frame, unless there is
  // no other. Valid as long as this object lives.
  std::vector<StackLine> VisibleLines(std::span<const uintptr_t> return_addresses);

 private:
  Symbolizer& symbolizer_;
  absl::node_hash_map<uintptr_t, TextLocation> locations_;
};

// "FUNCTION(...)\n\tFILE:LINE +0xOFFSET\n", as dumps (debug=2) print a frame. An unknown function is "??".
void AppendDumpFrame(std::string& out, const StackLine& line);

// The second of these lines. The offset is that of the return address. An inlined call has none; nothing returns to the first byte
// after a function's first, so a line there is the entry of a fiber that has not run, and has none either, as in Go.
void AppendDumpPosition(std::string& out, const StackLine& line);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_TEXT_FRAMES_H_
