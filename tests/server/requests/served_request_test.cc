// What a request looks like from outside while it is served.
#include "server/requests/served_request.h"

#include <stdexcept>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/context.h"
#include "runtime/request.h"
#include "runtime/scheduler.h"
#include "runtime/scope.h"
#include "runtime/this_fiber.h"
#include "server/requests/request_fibers.h"

namespace fiberscope::server {
namespace {

const ReceivedIdentity kReceived{.request_id = "r-1", .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"};

class ServedRequestTest : public ::testing::Test {
 protected:
  template <typename F>
  void OnFiber(const F& function) {
    scheduler_.Spawn(function).Join();
  }
  RouteSnapshot Only() const {
    const std::vector<RouteSnapshot> routes = requests_.Read();
    EXPECT_EQ(routes.size(), 1u);
    return routes.empty() ? RouteSnapshot() : routes[0];
  }

  RequestRegistry requests_;
  Scheduler scheduler_{{.processors = 2}};
};

TEST_F(ServedRequestTest, LabelsAndContextAndRegistryKnowIt) {
  OnFiber([&] {
    {
      ServedRequest served(requests_, {.identity = AcceptRequest(kReceived), .route = "/order", .method = "GET"});
      ASSERT_NE(this_fiber::request(), nullptr);
      EXPECT_EQ(this_fiber::request()->id.text(), "r-1");
      EXPECT_EQ(this_fiber::labels().Get("request_id"), "r-1");
      EXPECT_EQ(this_fiber::labels().Get("trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
      EXPECT_EQ(this_fiber::labels().Get("route"), "/order");
      const RouteSnapshot route = Only();
      ASSERT_EQ(route.oldest.size(), 1u);
      EXPECT_EQ(route.oldest[0].identity, *this_fiber::request());
      EXPECT_EQ(route.oldest[0].fiber, this_fiber::id());
      served.set_status(200);
      served.set_status(503);
    }
    EXPECT_EQ(this_fiber::request(), nullptr);
    EXPECT_TRUE(this_fiber::labels().empty());
  });
  const RouteSnapshot route = Only();
  EXPECT_EQ(route.in_flight, 0u);
  ASSERT_EQ(route.slowest.size(), 1u);
  EXPECT_EQ(route.slowest[0].status, 503);
  EXPECT_EQ(route.slowest[0].identity.id.text(), "r-1");
  EXPECT_EQ(route.slowest[0].method, "GET");
}

TEST_F(ServedRequestTest, OneThatThrowsEndsWithoutAnAnswer) {
  OnFiber([&] {
    try {
      const ServedRequest served(requests_, {.identity = AcceptRequest(), .route = "/order"});
      throw std::runtime_error("no");
    } catch (const std::runtime_error&) {
    }
  });
  EXPECT_EQ(Only().finished, (std::map<int, uint64_t>{{0, 1}}));
}

TEST_F(ServedRequestTest, AllItsFibersAreFound) {
  std::vector<FiberId> expected;
  RequestFibers found;
  OnFiber([&] {
    ServedRequest served(requests_, {.identity = AcceptRequest(kReceived), .route = "/order"});
    CancelSource stop = this_fiber::context().WithCancel();
    Scope scope;
    expected.push_back(this_fiber::id());
    for (int i = 0; i < 2; ++i) {
      expected.push_back(scope.Spawn([&] { (void)stop.context().WaitDone(); }).id());
    }
    // A listing must not run on a fiber.
    std::thread([&] { found = FindRequestFibers(requests_.Read()); }).join();
    stop.Cancel();
    scope.Join();
  });
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found["r-1"], expected);
}

TEST_F(ServedRequestTest, WithoutRequestsNoFiberIsLookedAt) { EXPECT_TRUE(FindRequestFibers(requests_.Read()).empty()); }

}  // namespace
}  // namespace fiberscope::server
