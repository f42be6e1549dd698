// The requests of a program as text, for people, and as JSON. Thread-safe (pure functions).
#ifndef FIBERSCOPE_SERVER_REQUESTS_REQUESTS_PAGE_H_
#define FIBERSCOPE_SERVER_REQUESTS_REQUESTS_PAGE_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/requests/request_fibers.h"
#include "server/requests/request_registry.h"

namespace fiberscope::server {

// `now`: when the snapshots were taken.
std::string RequestsText(const std::vector<RouteSnapshot>& routes, const RequestFibers& fibers, absl::Time now);

// One object on one line. Durations in seconds, times as RFC 3339, in UTC.
std::string RequestsJson(const std::vector<RouteSnapshot>& routes, const RequestFibers& fibers, absl::Time now);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_REQUESTS_REQUESTS_PAGE_H_
