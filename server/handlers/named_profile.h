// GET /debug/pprof/NAME: any profile of the catalog.
//
//   debug   0 (default): gzip-compressed profile.proto, as a download. 1: text. 2 and more: for goroutine, every fiber's stack.
//   gc      an integer; more than 0: before heap is taken, free memory goes back to the system. Without effect on other profiles
//   seconds 1 to 300: what changes in so many seconds (profile_delta.h), of a profile that has_delta(), of others a 400; debug=0
//           only. The head goes out at once. A client that leaves ends it
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

// Whether `request` asks for a delta: Route::timed of the handler's route.
bool IsDeltaRequest(const Request& request);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_NAMED_PROFILE_H_
