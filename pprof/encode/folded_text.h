// A profile as folded stacks, one per line: what flamegraph.pl, speedscope and inferno read.
#ifndef FIBERSCOPE_PPROF_ENCODE_FOLDED_TEXT_H_
#define FIBERSCOPE_PPROF_ENCODE_FOLDED_TEXT_H_

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/profile.h"

namespace fiberscope::pprof {

// "root;caller;leaf 42\n": short function names (ShortFunctionName), outermost first, and the first value of the samples that
// have them. Lines are unlike each other and in the order of their bytes. Labels, files and lines are not in it. A function
// without a name is its address; ';', blanks and control characters within names become '_'. Machinery (machinery.h) is hidden at
// the leaf end, unless nothing else is left; a sample without a stack is "?".
//
// Returns the sink's error. Memory: the text as a whole.
// Format: B. Gregg's FlameGraph, stackcollapse; github.com/felixge/fgprof, toFolded.
absl::Status WriteFolded(const Profile& profile, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_FOLDED_TEXT_H_
