// Which fibers work for a request: those that carry its id as the label request_id, in whatever service of the program.
#ifndef FIBERSCOPE_SERVER_REQUESTS_REQUEST_FIBERS_H_
#define FIBERSCOPE_SERVER_REQUESTS_REQUEST_FIBERS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "runtime/fiber_id.h"
#include "server/requests/request_registry.h"

namespace fiberscope::server {

inline constexpr size_t kMaxFibersOfRequest = 32;  // who wants to see more has goroutine?label=request_id:...

// By request id, sorted; at most kMaxFibersOfRequest of each.
using RequestFibers = std::map<std::string, std::vector<FiberId>, std::less<>>;

// Of the requests in flight among these. They may have ended meanwhile, so that there are none. Blocks the thread for a listing of
// all fibers (runtime/registry.h), if there is a request at all; not on a fiber.
RequestFibers FindRequestFibers(const std::vector<RouteSnapshot>& routes);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_REQUESTS_REQUEST_FIBERS_H_
