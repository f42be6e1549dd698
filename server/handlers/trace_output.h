// What becomes of a recorded execution trace: a file for `go tool trace`, JSON for ui.perfetto.dev, or a profile.
//
//   format   go1.22, which is the default; go1.23, which Go 1.22 does not read: there the status of a fiber to which nothing
//            happens has its entry function as its stack; go1.19, which every go tool trace since then reads; json (or perfetto),
//            which ui.perfetto.dev and chrome://tracing open
//   profile  sched, sync, net or syscall: what fibers waited for, as `go tool trace -pprof=` gives it; instead of a format
//
// go1.22 and go1.23 are written generation by generation. For the others all of the trace is needed at once, ~20 times its size in
// memory: they are for shorter traces.
#ifndef FIBERSCOPE_SERVER_HANDLERS_TRACE_OUTPUT_H_
#define FIBERSCOPE_SERVER_HANDLERS_TRACE_OUTPUT_H_

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/byte_sink.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_profile.h"
#include "runtime/execution_trace.h"
#include "server/http/message.h"
#include "server/http/query.h"

namespace fiberscope::server {

enum class TraceOutputKind { kGo122, kGo119, kJson, kProfile };

struct TraceOutput {
  TraceOutputKind kind = TraceOutputKind::kGo122;
  pprof::TraceFormat format = pprof::TraceFormat::kGo122;                // of kGo122
  pprof::TraceProfileKind profile = pprof::TraceProfileKind::kSched;  // of kProfile
  std::string_view file_name = "trace";

  bool is_streamed() const { return kind == TraceOutputKind::kGo122; }
  // Of recorded batches; a trace that is larger ends there.
  uint64_t max_bytes() const { return is_streamed() ? 256 << 20 : 16 << 20; }
};

// From the request's parameters. An error is for the client (400).
absl::StatusOr<TraceOutput> ParseTraceOutput(const Query& query);

ResponseHead TraceHead(const TraceOutput& output);

// All of a trace. An error is the sink's, or kInternal: the trace contradicts itself, which is a fault in Fiberscope.
// Blocks the thread as `frames` and `sink` do.
absl::Status WriteTrace(const TraceGenerations& generations, const TraceOutput& output, pprof::TraceFrames& frames,
                        pprof::ByteSink& sink);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_TRACE_OUTPUT_H_
