#include "server/requests/request_registry.h"

#include <prometheus/text_serializer.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

class RequestRegistryTest : public ::testing::Test {
 protected:
  static inline int64_t now_ns = 0;
  static int64_t Now() { return now_ns; }
  static void Pass(nanoseconds time) { now_ns += time.count(); }

  void SetUp() override { now_ns = 1'000'000'000; }

  RequestRegistry::Place Begin(RequestRegistry& registry, std::string_view route = "/order") {
    return registry.Begin(route, "GET", identity_, FiberId{7});
  }
  // One that takes so long.
  void Serve(RequestRegistry& registry, nanoseconds time, int status = 200, std::string_view route = "/order") {
    const RequestRegistry::Place place = Begin(registry, route);
    Pass(time);
    registry.End(place, status);
  }
  static std::vector<int64_t> Milliseconds(const std::vector<RequestSnapshot>& requests) {
    std::vector<int64_t> durations;
    for (const RequestSnapshot& each : requests) durations.push_back(each.duration / milliseconds(1));
    return durations;
  }

  const RequestIdentity identity_ = AcceptRequest({.request_id = "r-1"});
};

TEST_F(RequestRegistryTest, ShowsWhatIsInFlightTheOldestFirst) {
  RequestRegistry registry({.now_ns = &Now});
  const RequestRegistry::Place first = Begin(registry);
  Pass(milliseconds(5));
  const RequestRegistry::Place second = Begin(registry);
  Pass(milliseconds(1));
  std::vector<RouteSnapshot> routes = registry.Read();
  ASSERT_EQ(routes.size(), 1u);
  EXPECT_EQ(routes[0].route, "/order");
  EXPECT_EQ(routes[0].in_flight, 2u);
  EXPECT_EQ(Milliseconds(routes[0].oldest), (std::vector<int64_t>{6, 1}));
  const RequestSnapshot& oldest = routes[0].oldest[0];
  EXPECT_EQ(oldest.identity, identity_);
  EXPECT_EQ(oldest.method, "GET");
  EXPECT_EQ(oldest.fiber, FiberId{7});
  EXPECT_EQ(oldest.status, 0);
  EXPECT_TRUE(routes[0].slowest.empty());
  EXPECT_TRUE(routes[0].finished.empty());

  registry.End(first, 200);
  routes = registry.Read();
  EXPECT_EQ(Milliseconds(routes[0].oldest), std::vector<int64_t>{1});
  EXPECT_EQ(Milliseconds(routes[0].slowest), std::vector<int64_t>{6});
  registry.End(second, 503);
  EXPECT_EQ(registry.Read()[0].in_flight, 0u);
  EXPECT_EQ(registry.Read()[0].finished, (std::map<int, uint64_t>{{200, 1}, {503, 1}}));
}

TEST_F(RequestRegistryTest, KeepsTheSlowestOfEachRoute) {
  RequestRegistry registry({.slowest_per_route = 3, .now_ns = &Now});
  for (const int ms : {5, 1, 9, 3, 7, 9, 2}) Serve(registry, milliseconds(ms));
  Serve(registry, milliseconds(4), 500, "/basket");
  const std::vector<RouteSnapshot> routes = registry.Read();
  ASSERT_EQ(routes.size(), 2u);
  EXPECT_EQ(routes[0].route, "/basket");
  EXPECT_EQ(Milliseconds(routes[0].slowest), std::vector<int64_t>{4});
  EXPECT_EQ(routes[0].slowest[0].status, 500);
  EXPECT_EQ(Milliseconds(routes[1].slowest), (std::vector<int64_t>{9, 9, 7}));
  EXPECT_EQ(routes[1].slowest[2].ended, milliseconds(9 + 2 + 4));
}

TEST_F(RequestRegistryTest, ForgetsWhatWasSlowLongAgo) {
  RequestRegistry registry({.slowest_per_route = 2, .keep = std::chrono::minutes(10), .now_ns = &Now});
  Serve(registry, milliseconds(900));
  Serve(registry, milliseconds(800));
  Pass(std::chrono::minutes(10) + milliseconds(1));
  EXPECT_TRUE(registry.Read()[0].slowest.empty());
  Serve(registry, milliseconds(3));
  Serve(registry, milliseconds(2));
  Serve(registry, milliseconds(1));
  EXPECT_EQ(Milliseconds(registry.Read()[0].slowest), (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(registry.Read()[0].finished, (std::map<int, uint64_t>{{200, 5}}));
}

TEST_F(RequestRegistryTest, ReadsAsMuchAsIsAskedFor) {
  RequestRegistry registry({.now_ns = &Now});
  for (const int ms : {5, 1, 9}) Serve(registry, milliseconds(ms));
  std::vector<RequestRegistry::Place> places;
  for (int i = 0; i < 4; ++i) {
    places.push_back(Begin(registry));
    Pass(milliseconds(2));
  }
  Serve(registry, milliseconds(0), 200, "/basket");
  const std::vector<RouteSnapshot> limited = registry.Read({.route = "/order", .limit = 2});
  ASSERT_EQ(limited.size(), 1u);
  EXPECT_EQ(Milliseconds(limited[0].oldest), (std::vector<int64_t>{8, 6}));
  EXPECT_EQ(Milliseconds(limited[0].slowest), (std::vector<int64_t>{9, 5}));
  EXPECT_EQ(limited[0].in_flight, 4u);
  const std::vector<RouteSnapshot> slow = registry.Read({.min_duration = milliseconds(6)});
  ASSERT_EQ(slow.size(), 2u);
  EXPECT_EQ(Milliseconds(slow[1].oldest), (std::vector<int64_t>{8, 6}));
  EXPECT_EQ(Milliseconds(slow[1].slowest), std::vector<int64_t>{9});
  EXPECT_TRUE(slow[0].slowest.empty());
  EXPECT_TRUE(registry.Read({.route = "/nobody's"}).empty());
  for (const RequestRegistry::Place& place : places) registry.End(place, 200);
}

TEST_F(RequestRegistryTest, RoutesAndTextsAreBounded) {
  RequestRegistry registry({.max_routes = 2, .now_ns = &Now});
  Serve(registry, milliseconds(1), 200, std::string(10'000, 'x'));
  for (int i = 0; i < 1000; ++i) Serve(registry, milliseconds(1), 200, "/" + std::to_string(i));
  std::vector<RouteSnapshot> routes = registry.Read();
  ASSERT_EQ(routes.size(), 3u);
  EXPECT_EQ(routes[0].route, "/0");
  EXPECT_EQ(routes[1].route, "other");
  EXPECT_EQ(routes[1].finished, (std::map<int, uint64_t>{{200, 999}}));
  EXPECT_EQ(routes[2].route, std::string(RequestRegistry::kMaxNameBytes, 'x'));

  const RequestRegistry::Place place = registry.Begin("/0", std::string(10'000, 'M'), identity_, FiberId{1});
  EXPECT_EQ(registry.Read()[0].oldest[0].method.size(), 32u);
  registry.End(place, 200);
}

TEST_F(RequestRegistryTest, AStatusThatIsNoneCountsAsNone) {
  RequestRegistry registry({.now_ns = &Now});
  for (const int status : {0, -1, 99, 600, 1'000'000}) Serve(registry, milliseconds(1), status);
  for (const int status : {100, 599}) Serve(registry, milliseconds(1), status);
  EXPECT_EQ(registry.Read()[0].finished, (std::map<int, uint64_t>{{0, 5}, {100, 1}, {599, 1}}));
}

TEST_F(RequestRegistryTest, MayKeepNone) {
  RequestRegistry registry({.slowest_per_route = 0, .now_ns = &Now});
  Serve(registry, milliseconds(1));
  EXPECT_TRUE(registry.Read()[0].slowest.empty());
  EXPECT_EQ(registry.Read()[0].durations.count(), 1u);
}

TEST_F(RequestRegistryTest, IsOnTheMetricsPage) {
  RequestRegistry registry({.now_ns = &Now});
  EXPECT_TRUE(registry.Collect().empty());
  Serve(registry, nanoseconds(1500));
  Serve(registry, milliseconds(250), 500);
  Serve(registry, milliseconds(1), 0);
  const RequestRegistry::Place place = Begin(registry);
  const std::string text = "\n" + prometheus::TextSerializer().Serialize(registry.Collect());
  for (const char* line : {
           "# TYPE http_server_requests_total counter",
           "http_server_requests_total{route=\"/order\",code=\"200\"} 1",
           "http_server_requests_total{route=\"/order\",code=\"500\"} 1",
           "http_server_requests_total{route=\"/order\",code=\"none\"} 1",
           "# TYPE http_server_request_duration_seconds histogram",
           "http_server_request_duration_seconds_count{route=\"/order\"} 3",
           "http_server_request_duration_seconds_sum{route=\"/order\"} 0.2510015",
           "http_server_request_duration_seconds_bucket{route=\"/order\",le=\"1.024e-06\"} 0",
           "http_server_request_duration_seconds_bucket{route=\"/order\",le=\"2.048e-06\"} 1",
           "http_server_request_duration_seconds_bucket{route=\"/order\",le=\"0.268435456\"} 3",
           "# TYPE http_server_in_flight gauge",
           "http_server_in_flight{route=\"/order\"} 1",
       }) {
    EXPECT_NE(text.find(std::string("\n") + line + "\n"), std::string::npos) << line << text;
  }
  registry.End(place, 200);
}

// Under ThreadSanitizer: readers look while requests come and go, on routes that are new to begin with.
TEST_F(RequestRegistryTest, CountsEachRequestOnceWhileManyServeAndRead) {
  constexpr int kThreads = 4;
  constexpr int kRequests = 2000;
  RequestRegistry registry({.slowest_per_route = 5, .max_routes = 3});
  std::atomic<int> serving = kThreads;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < kRequests; ++n) {
        const RequestIdentity identity = AcceptRequest();
        registry.End(registry.Begin("/" + std::to_string(n % 5), "GET", identity, FiberId{1}), 200);
      }
      --serving;
    });
  }
  while (serving > 0) {
    for (const RouteSnapshot& route : registry.Read()) EXPECT_LE(route.oldest.size(), static_cast<size_t>(kThreads));
    (void)registry.Collect();
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t finished = 0;
  for (const RouteSnapshot& route : registry.Read()) {
    finished += route.finished.at(200);
    EXPECT_EQ(route.in_flight, 0u);
    EXPECT_EQ(route.slowest.size(), 5u);
  }
  EXPECT_EQ(finished, static_cast<uint64_t>(kThreads * kRequests));
}

}  // namespace
}  // namespace fiberscope::server
