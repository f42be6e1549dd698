// What fibers waited for during an execution trace, as profiles: what `go tool trace -pprof=` makes of a trace's file.
#ifndef FIBERSCOPE_PPROF_TRACE_TRACE_PROFILE_H_
#define FIBERSCOPE_PPROF_TRACE_TRACE_PROFILE_H_

#include "pprof/profile.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_timeline.h"

namespace fiberscope::pprof {

enum class TraceProfileKind {
  kSched,    // runnable, until it ran
  kSync,     // waiting for a channel, a select or a primitive of runtime/sync
  kNet,      // waiting for I/O
  kSyscall,  // in a blocking call
};

// Sample types contentions/count and delay/nanoseconds: how often, and how long together. One sample per stack, that of
// the event with which the waiting began: of the fiber itself, or in kSched, of whoever spawned or woke it or of itself
// when it yielded. Counted are waits that began and ended within the trace, and began with a stack. kSync and kNet are
// what every version of the tool gives. Those up to Go 1.24 give less in kSched and kSyscall: 1.19 leaves out yields
// and calls that kept their processor, the others see no wait end with an event that has no stack.
//
// Locations are frames, with TraceFrame::pc as address, in one mapping without a file.
// Blocks the thread as `frames` does.
Profile MakeTraceProfile(const TraceTimeline& timeline, TraceProfileKind kind, TraceFrames& frames);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_TRACE_PROFILE_H_
