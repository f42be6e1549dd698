// What the debug=1 texts have in common: the list of addresses of a stack, and its frames in columns.
//
// Format: Go 1.27 runtime/pprof, printStackRecord behind text/tabwriter with cells of at least one character, tab width 8, padding
// of one tab: a column is as wide as the next multiple of 8 beyond its widest cell, over a run of lines that have the column.
#ifndef FIBERSCOPE_PPROF_ENCODE_ALIGNED_FRAMES_H_
#define FIBERSCOPE_PPROF_ENCODE_ALIGNED_FRAMES_H_

#include <cstdint>
#include <span>
#include <string>

#include "pprof/encode/text_frames.h"

namespace fiberscope::pprof {

// "0x1f".
std::string HexAddress(uintptr_t address);

// " @ 0x1 0x2".
void AppendAddresses(std::string& out, std::span<const uintptr_t> stack);

// One line per frame: "#\t0xCALL\tFUNCTION+0xOFFSET\tFILE:LINE\n", or "#\t0xADDRESS\n" for one without a name.
void AppendAlignedFrames(std::string& out, std::span<const StackLine> lines);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_ALIGNED_FRAMES_H_
