// What the numbers of runtime/trace/trace_reason.h are called in Go's execution trace.
//
// Its tools sort by these words: "network" is the network profile; what contains "chan", "sync" or "select", the synchronisation
// profile. Source: Go 1.23, runtime/traceruntime.go and internal/trace/traceviewer.
#ifndef FIBERSCOPE_PPROF_TRACE_TRACE_REASON_TEXT_H_
#define FIBERSCOPE_PPROF_TRACE_TRACE_REASON_TEXT_H_

#include <cstdint>
#include <string_view>

namespace fiberscope::pprof {

// Of a string's number below kFirstTraceString; "" if it is no reason's. Thread-safe.
std::string_view TraceReasonText(uint64_t number);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_TRACE_REASON_TEXT_H_
