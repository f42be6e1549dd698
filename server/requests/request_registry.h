// The requests of a program, by route: those that are being served, and of the finished ones how many, how long, and the slowest.
// What /debug/requests shows, and what /metrics counts as http_server_*:
//
//   http_server_requests_total{route,code}        code: the status, or "none" if it ended without an answer
//   http_server_request_duration_seconds{route}   a histogram
//   http_server_in_flight{route}
//
// A service puts a ServedRequest (served_request.h) around each request; nobody else calls Begin() and End().
//
// Routes are what the service calls them, "/orders/{id}" and not "/orders/17": they are never given back. After max_routes all
// others are one, "other". In memory: an entry for each request in flight, and slowest_per_route requests for each route.
#ifndef FIBERSCOPE_SERVER_REQUESTS_REQUEST_REGISTRY_H_
#define FIBERSCOPE_SERVER_REQUESTS_REQUEST_REGISTRY_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/fiber_id.h"
#include "runtime/metrics.h"
#include "runtime/request.h"

namespace fiberscope::server {

struct RequestRegistryOptions {
  size_t slowest_per_route = 10;
  // For so long a finished request is among the slowest, at most: what was slow as the program began is not what is slow now.
  std::chrono::nanoseconds keep = std::chrono::hours(1);
  size_t max_routes = 100;

  int64_t (*now_ns)() = &MonotonicNowNs;
};

// One request, as it was at one instant.
struct RequestSnapshot {
  RequestIdentity identity;
  std::string method;                    // "" if nobody said
  FiberId fiber;                         // that serves it, or has
  std::chrono::nanoseconds duration{0};  // until now, if it is in flight
  std::chrono::nanoseconds ended{0};     // how long ago; 0 if it is in flight
  int status = 0;                        // 0: none, yet or at all
};

struct RouteSnapshot {
  std::string route;
  size_t in_flight = 0;
  std::map<int, uint64_t> finished;      // by status
  DurationHistogram durations;           // of those
  std::vector<RequestSnapshot> oldest;   // in flight, the oldest first
  std::vector<RequestSnapshot> slowest;  // finished, the slowest first
};

struct ReadRequestsOptions {
  std::string route = {};                    // "": all
  std::chrono::nanoseconds min_duration{0};  // only requests that take, or took, so long
  size_t limit = 100;                        // of each list of each route
};

// Thread-safe. Blocks the thread for a few dozen instructions; those who serve requests of a route wait while Read() copies its
// lists. Must outlive the requests. Resource: neither copied nor moved.
class RequestRegistry : public prometheus::Collectable {
 private:
  struct Route;
  struct InFlight;

 public:
  static constexpr size_t kMaxNameBytes = 256;  // of a route, 32 of a method; what is longer is cut

  explicit RequestRegistry(RequestRegistryOptions options = {});
  ~RequestRegistry() override;

  // A request in flight.
  struct Place {
    Route* route;
    std::list<InFlight>::iterator at;
  };
  // `identity` stays as it is and where it is until End(). Cost: 0.13 us with End(),
  // 0.19 us while two threads serve the same route (tests/bench:request_bench).
  Place Begin(std::string_view route, std::string_view method, const RequestIdentity& identity, FiberId fiber);
  // `status` beyond 100 to 599: none.
  void End(const Place& place, int status);

  // Sorted by route.
  std::vector<RouteSnapshot> Read(const ReadRequestsOptions& options = {}) const;

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  Route& FindRoute(std::string_view name);
  std::vector<const Route*> Routes() const;

  const RequestRegistryOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Route>, std::less<>> routes_;  // GUARDED_BY(mutex_)
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_REQUESTS_REQUEST_REGISTRY_H_
