#include "server/requests/request_registry.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include "server/metrics/family_list.h"

namespace fiberscope::server {
namespace {

constexpr std::string_view kOther = "other";
constexpr size_t kMaxMethodBytes = 32;

struct Finished {
  RequestSnapshot request;
  int64_t end_ns = 0;
};

void Count(std::chrono::nanoseconds duration, DurationHistogram& durations) {
  const size_t bucket = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(duration.count())));
  ++durations.counts[std::min(bucket, DurationHistogram::kBuckets - 1)];
  durations.sum += duration;
}

std::string CodeName(int status) { return status == 0 ? "none" : std::to_string(status); }

}  // namespace

struct RequestRegistry::InFlight {
  const RequestIdentity* identity;
  std::string method;
  FiberId fiber;
  int64_t begin_ns;
};

struct RequestRegistry::Route {
  explicit Route(std::string_view its_name) : name(its_name) {}

  RequestSnapshot Copy(const InFlight& request, int64_t now_ns) const {
    return {.identity = *request.identity,
            .method = request.method,
            .fiber = request.fiber,
            .duration = std::chrono::nanoseconds(now_ns - request.begin_ns)};
  }

  const std::string name;
  mutable std::mutex mutex;
  // All below: GUARDED_BY(mutex).
  std::list<InFlight> in_flight;  // in the order of their beginning
  std::map<int, uint64_t> finished;
  DurationHistogram durations;
  std::vector<Finished> slowest;  // in no order
};

RequestRegistry::RequestRegistry(RequestRegistryOptions options) : options_(options) {}
RequestRegistry::~RequestRegistry() = default;

RequestRegistry::Route& RequestRegistry::FindRoute(std::string_view name) {
  name = name.substr(0, kMaxNameBytes);
  const std::lock_guard lock(mutex_);
  auto at = routes_.find(name);
  if (at == routes_.end() && routes_.size() >= options_.max_routes) at = routes_.find(name = kOther);
  if (at == routes_.end()) at = routes_.emplace(name, std::make_unique<Route>(name)).first;
  return *at->second;
}

RequestRegistry::Place RequestRegistry::Begin(std::string_view route_name, std::string_view method, const RequestIdentity& identity,
                                              FiberId fiber) {
  Route& route = FindRoute(route_name);
  // Made before the lock is taken, as in End() it goes after that.
  std::list<InFlight> one;
  one.push_back({&identity, std::string(method.substr(0, kMaxMethodBytes)), fiber, 0});
  const Place place = {&route, one.begin()};
  const std::lock_guard lock(route.mutex);
  one.front().begin_ns = options_.now_ns();
  route.in_flight.splice(route.in_flight.end(), one);
  return place;
}

void RequestRegistry::End(const Place& place, int status) {
  if (status < 100 || status > 599) status = 0;
  Route& route = *place.route;
  std::list<InFlight> one;
  const std::lock_guard lock(route.mutex);
  const int64_t now_ns = options_.now_ns();
  one.splice(one.end(), route.in_flight, place.at);
  const std::chrono::nanoseconds duration(now_ns - one.front().begin_ns);
  ++route.finished[status];
  Count(duration, route.durations);

  // In the place of one that is too old, else of the one that was least slow.
  if (options_.slowest_per_route == 0) return;
  Finished* given_up = nullptr;
  if (route.slowest.size() < options_.slowest_per_route) {
    given_up = &route.slowest.emplace_back();
  } else {
    const auto worth = [&](const Finished& each) {
      return std::chrono::nanoseconds(now_ns - each.end_ns) > options_.keep ? std::chrono::nanoseconds(-1) : each.request.duration;
    };
    given_up = &*std::ranges::min_element(route.slowest, {}, worth);
    if (worth(*given_up) >= duration) return;
  }
  given_up->request = route.Copy(one.front(), now_ns);
  given_up->request.status = status;
  given_up->end_ns = now_ns;
}

std::vector<const RequestRegistry::Route*> RequestRegistry::Routes() const {
  std::vector<const Route*> routes;
  const std::lock_guard lock(mutex_);
  for (const auto& [name, route] : routes_) routes.push_back(route.get());
  return routes;
}

std::vector<RouteSnapshot> RequestRegistry::Read(const ReadRequestsOptions& options) const {
  std::vector<RouteSnapshot> snapshots;
  for (const Route* const route : Routes()) {
    if (!options.route.empty() && route->name != options.route) continue;
    RouteSnapshot& snapshot = snapshots.emplace_back();
    snapshot.route = route->name;
    {
      const std::lock_guard lock(route->mutex);
      const int64_t now_ns = options_.now_ns();
      snapshot.in_flight = route->in_flight.size();
      snapshot.finished = route->finished;
      snapshot.durations = route->durations;
      for (const InFlight& each : route->in_flight) {
        const bool is_too_young = std::chrono::nanoseconds(now_ns - each.begin_ns) < options.min_duration;
        if (is_too_young || snapshot.oldest.size() >= options.limit) break;
        snapshot.oldest.push_back(route->Copy(each, now_ns));
      }
      for (const Finished& each : route->slowest) {
        const std::chrono::nanoseconds ended(now_ns - each.end_ns);
        if (ended > options_.keep || each.request.duration < options.min_duration) continue;
        snapshot.slowest.push_back(each.request);
        snapshot.slowest.back().ended = ended;
      }
    }
    std::ranges::stable_sort(snapshot.slowest, std::greater(), &RequestSnapshot::duration);
    snapshot.slowest.resize(std::min(snapshot.slowest.size(), options.limit));
  }
  return snapshots;
}

std::vector<prometheus::MetricFamily> RequestRegistry::Collect() const {
  const std::vector<RouteSnapshot> routes = Read({.limit = 0});
  FamilyList list;
  for (const RouteSnapshot& each : routes) {
    list.Gauge("http_server_in_flight", "Requests that are being served.", static_cast<double>(each.in_flight),
               {{"route", each.route}});
  }
  for (const RouteSnapshot& each : routes) {
    list.Histogram("http_server_request_duration_seconds", "How long requests took that have ended.", each.durations,
                   {{"route", each.route}});
  }
  for (const RouteSnapshot& each : routes) {
    for (const auto& [status, count] : each.finished) {
      list.Counter("http_server_requests_total", "Requests that have ended, by the answer's status.", static_cast<double>(count),
                   {{"route", each.route}, {"code", CodeName(status)}});
    }
  }
  return list.Take();
}

}  // namespace fiberscope::server
