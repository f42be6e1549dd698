// Execution traces as JSON that ui.perfetto.dev and chrome://tracing open.
//
// For who has no Go at hand. There are:
//   Processors  a track for each: a slice per run of a fiber, named after its entry function; in it its regions and blocking calls
//   Threads     a track for each that was in a blocking call after it had lost its processor, or woke a fiber without having one
//   tasks       a track for each, from its begin to its end
//   arrows      from who spawned or woke a fiber to where it ran next
//   counters    fibers by state; processors; heap bytes
// Not shown are samples of a CPU profile, and of stacks all but the innermost function ("at").
#ifndef FIBERSCOPE_PPROF_TRACE_PERFETTO_H_
#define FIBERSCOPE_PPROF_TRACE_PERFETTO_H_

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_timeline.h"

namespace fiberscope::pprof {

// Format: "Trace Event Format", JSON object form: strict JSON, UTF-8, one event per line, in order of time. A fiber
// whose creation was not seen is named after the outermost function of its first stack. About 200 bytes per event.
//
// Returns the sink's first error. Thread-compatible. Blocks the thread as `frames` and `sink` do.
absl::Status WritePerfettoTrace(const TraceTimeline& timeline, TraceFrames& frames, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_PERFETTO_H_
