// Frames of a trace's stacks: symbolized, without Fiberscope's own machinery, and numbered as trace readers need it.
//
// A reader takes a frame's pc for its identity: it keeps one function, file and line for it, and merges stacks by it. So every
// logical frame, an inlined one too, has a number of its own, the same in all generations of a trace.
#ifndef FIBERSCOPE_PPROF_TRACE_TRACE_FRAMES_H_
#define FIBERSCOPE_PPROF_TRACE_TRACE_FRAMES_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

struct TraceFrame {
  uint64_t pc = 0;
  std::string function = {};  // never empty
  std::string file = {};
  int line = 0;
};

// Thread-compatible.
class TraceFrames {
 public:
  virtual ~TraceFrames() = default;

  // Of a stack's return addresses, innermost first. Without machinery at the innermost end, unless nothing else is left, and
  // without root machinery: the last frame is the function that was spawned. At most 128, the outermost ones.
  virtual std::vector<TraceFrame> Frames(std::span<const uintptr_t> pcs) = 0;
};

// `symbolizer` must outlive it.
std::unique_ptr<TraceFrames> MakeTraceFrames(Symbolizer& symbolizer);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_TRACE_FRAMES_H_
