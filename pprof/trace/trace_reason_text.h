// How Go spells why a fiber stopped running in an execution trace.
//
// Its tools sort by these words: "network" is the network profile; what contains "chan", "sync" or "select", the synchronisation
// profile. Source: Go 1.23, runtime/traceruntime.go and internal/trace/traceviewer.
#ifndef FIBERSCOPE_PPROF_TRACE_TRACE_REASON_TEXT_H_
#define FIBERSCOPE_PPROF_TRACE_TRACE_REASON_TEXT_H_

#include "runtime/trace/trace_generation.h"

namespace fiberscope::pprof {

// Adds the texts of all reasons (runtime/trace/trace_reason.h) to the generation's strings. Once for each, before it is encoded.
void AddTraceReasons(TraceGeneration& generation);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_TRACE_REASON_TEXT_H_
