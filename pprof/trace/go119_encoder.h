// Execution traces in the older of Go's two formats, which every `go tool trace` since 1.19 opens.
//
// Choose go122_encoder.h unless the reader's Go is older than 1.22: this format holds the trace in memory as a whole,
// knows only a fixed list of reasons to wait (others become "GoBlock"), and shows a blocking call that kept its
// processor without its length.
#ifndef FIBERSCOPE_PPROF_TRACE_GO119_ENCODER_H_
#define FIBERSCOPE_PPROF_TRACE_GO119_ENCODER_H_

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_timeline.h"

namespace fiberscope::pprof {

// Times are those of the timeline, moved on by a nanosecond where two events have the same one: the format's readers
// refuse a whole file if its clocks contradict the order of events. A fiber that was there at the beginning is named
// after the outermost function of its first stack, for want of the one that was spawned.
//
// kInvalidArgument if a fiber's number is used again after its end, which the format cannot express; what was written
// until then is of no use. Otherwise the sink's first error. Thread-compatible. Blocks the thread as `frames` and
// `sink` do.
absl::Status WriteGo119Trace(const TraceTimeline& timeline, TraceFrames& frames, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_GO119_ENCODER_H_
