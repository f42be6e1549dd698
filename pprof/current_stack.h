// The calling fiber's or thread's own stack as text. Go: runtime/debug.Stack.
#ifndef FIBERSCOPE_PPROF_CURRENT_STACK_H_
#define FIBERSCOPE_PPROF_CURRENT_STACK_H_

#include <string>

#include "pprof/symbolizer.h"
#include "runtime/fiber_id.h"
#include "runtime/labels.h"
#include "runtime/stack/stack_bounds.h"

namespace fiberscope::pprof {

// Who is calling, and where its stack lies.
struct StackOwner {
  FiberId id = {};  // none on a plain thread: printed as goroutine 0
  std::string name = {};
  Labels labels = {};
  StackBounds stack = {};
};

// One block of the dump format (encode/goroutine_text.h), without an end: "goroutine 7 [running]:", then the frames
// from the caller of this function outwards. No "created by".
//
// For log lines and error reports. Deeper than 1024 frames the outer ones are left out, and the text says so.
// Thread-safe. Blocks the thread while the symbolizer works, but does not wait for file names and lines that are not
// loaded yet. Needs ~10 KiB of stack. Not async-signal-safe. Cost: tens of microseconds, more for addresses that are
// new to the symbolizer.
std::string CurrentStackText(Symbolizer& symbolizer, const StackOwner& owner);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_CURRENT_STACK_H_
