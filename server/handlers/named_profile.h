// GET /debug/pprof/NAME: any profile of the catalog.
//
//   debug   0 (default): gzip-compressed profile.proto, as a download. 1: text. 2 and more: for goroutine, every fiber's stack.
//   gc      accepted, an integer; no profile of this server collects garbage
//   seconds a delta over an interval, which no profile of this server supports: a positive integer is answered with 400, too
//   state, reason, minwait, label, fn, limit, after
//           of a profile of fibers, some fibers only (fiber_parameters.h); of any other a 400. A page that is not the last says
//           in X-Fiberscope-Next-After what `after` gets the next one
//
// HEAD collects nothing: it gets the head that GET would get, without a length and without X-Fiberscope-Next-After.
//
// A parameter that is given twice (label may be) or does not parse is a 400 that names it. The profile's name is looked at first:
// an unknown one is a 404 whatever the parameters, and is never echoed. Format: Go 1.27 net/http/pprof, handler.ServeHTTP.
#ifndef FIBERSCOPE_SERVER_HANDLERS_NAMED_PROFILE_H_
#define FIBERSCOPE_SERVER_HANDLERS_NAMED_PROFILE_H_

#include <string>

#include "pprof/profile_catalog.h"
#include "server/http/router.h"

namespace fiberscope::server {

// Answers every path below `prefix`. `catalog` must outlive the handler.
Handler MakeNamedProfileHandler(const pprof::ProfileCatalog& catalog, std::string prefix);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_NAMED_PROFILE_H_
