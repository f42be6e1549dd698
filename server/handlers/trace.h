// GET /debug/pprof/trace: what every fiber does in the next seconds, for `go tool trace`, as JSON, or as a profile.
//
//   seconds  more than 0, to 300, fractions too; 1 by default
//   format, profile  trace_output.h
//
// In the formats of Go 1.22 and 1.23 the trace goes out about once a second, as it is recorded; in the others, when it is over.
// A client that leaves ends it; so does a size of 256 MiB, of the others 16 MiB as recorded: what was sent until then is a whole
// trace. While one is being taken another request gets 429. HEAD takes none. Other parameters are ignored.
// Format: Go 1.27 net/http/pprof, Trace, but for the 429 (there 500), `format`, `profile`, and the 400 for a parameter that
// cannot be read.
#ifndef FIBERSCOPE_SERVER_HANDLERS_TRACE_H_
#define FIBERSCOPE_SERVER_HANDLERS_TRACE_H_

#include "pprof/symbolizer.h"
#include "server/http/router.h"

namespace fiberscope::server {

// Of a route that is timed for every request. `symbolizer` must outlive the handler.
Handler MakeTraceHandler(pprof::Symbolizer& symbolizer);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_TRACE_H_
