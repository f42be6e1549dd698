// GET /debug/requests: the requests in flight, the oldest first, with all fibers that work for them, and the slowest of those that
// have ended, by route.
//
//   format   text (default) or json
//   route    of this route only
//   minage   only requests that take, or took, at least so long: a duration as Go writes it (500ms, 2s), or seconds
//   limit    at most so many of each list, 1 to 1000; 100
#ifndef FIBERSCOPE_SERVER_HANDLERS_REQUESTS_H_
#define FIBERSCOPE_SERVER_HANDLERS_REQUESTS_H_

#include "server/http/router.h"
#include "server/requests/request_registry.h"

namespace fiberscope::server {

// For a slow route. `requests` must outlive the handler.
Handler MakeRequestsHandler(const RequestRegistry& requests);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_REQUESTS_H_
