// GET /debug/pprof/trace: what every fiber does in the next seconds, for `go tool trace` from Go 1.22 on.
//
//   seconds  more than 0, to 300, fractions too; 1 by default
//   format   go1.22, which is the default, or go1.23, which Go 1.22 does not read: there the status of a fiber to which nothing
//            happens has its entry function as its stack
//
// The trace goes out about once a second, as it is recorded. A client that leaves ends it; so does a size of 256 MiB: what was sent
// until then is a whole trace. While one is being taken another request gets 429. HEAD takes none. Other parameters are ignored.
// Format: Go 1.27 net/http/pprof, Trace, but for the 429 (there 500), `format`, and the 400 for a parameter that cannot be read.
#ifndef FIBERSCOPE_SERVER_HANDLERS_TRACE_H_
#define FIBERSCOPE_SERVER_HANDLERS_TRACE_H_

#include "pprof/symbolizer.h"
#include "server/http/router.h"

namespace fiberscope::server {

// Of a route that is timed for every request. `symbolizer` must outlive the handler.
Handler MakeTraceHandler(pprof::Symbolizer& symbolizer);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_TRACE_H_
