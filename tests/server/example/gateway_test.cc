// The demo's two HTTP services, one behind the other, as a client sees them and as the registry of requests does.
#include "server/example/gateway.h"

#include <unistd.h>

#include <boost/asio/ip/address_v4.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/scheduler.h"
#include "server/example/order_log.h"
#include "server/example/order_service.h"
#include "tests/server/example/quiet_instruments.h"
#include "tests/testing/raw_client.h"

namespace demo {
namespace {

using fiberscope::server::RequestSnapshot;
using fiberscope::server::RouteSnapshot;
using fiberscope::testing::Fetch;
using fiberscope::testing::HttpReply;
using tcp = boost::asio::ip::tcp;

constexpr char kCheckout[] = "/checkout?item=apple&quantity=2";
const tcp::endpoint kAnyPort(boost::asio::ip::address_v4::loopback(), 0);

class GatewayTest : public ::testing::TestWithParam<int> {
 protected:
  // Where the order service listens.
  tcp::endpoint StartOrders(OrderService::Options options = {}) {
    absl::StatusOr<OrderLog> log = OrderLog::Create(::testing::TempDir());
    EXPECT_TRUE(log.ok()) << log.status();
    options.endpoint = kAnyPort;
    orders_ = std::make_unique<OrderService>(scheduler_, *std::move(log), instruments_.all(), options);
    const auto endpoint = orders_->Start();
    EXPECT_TRUE(endpoint.ok()) << endpoint.status();
    return *endpoint;
  }
  void StartGateway(Gateway::Options options) {
    options.endpoint = kAnyPort;
    gateway_ = std::make_unique<Gateway>(scheduler_, instruments_.all(), options);
    const auto endpoint = gateway_->Start();
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    port_ = endpoint->port();
  }
  HttpReply Get(const std::string& target = kCheckout, const std::string& fields = "") {
    return Fetch(port_, target, "GET", fields);
  }
  // The only one that has ended on the route.
  RequestSnapshot Served(const std::string& route) const {
    const std::vector<RouteSnapshot> routes = instruments_.requests.Read({.route = route});
    EXPECT_EQ(routes.size(), 1u) << route;
    if (routes.size() != 1 || routes[0].slowest.size() != 1) return {};
    return routes[0].slowest[0];
  }

  void TearDown() override { scheduler_.Stop(); }

  QuietInstruments instruments_;
  fiberscope::Scheduler scheduler_{{.processors = GetParam()}};
  std::unique_ptr<OrderService> orders_;
  std::unique_ptr<Gateway> gateway_;
  uint16_t port_ = 0;
};

TEST_P(GatewayTest, PassesTheOrderServicesAnswersOn) {
  struct Row {
    const char* target;
    int status;
    const char* body;
  };
  static constexpr Row kRows[] = {
      {"/checkout?item=apple&quantity=2", 200, "{\"order\":1,\"item\":\"apple\",\"quantity\":2,\"left\":9998}\n"},
      {"/checkout?item=apple&quantity=2", 500, "{\"error\":\"the credit check failed\"}\n"},
      {"/checkout?item=nut&quantity=1", 409, "{\"error\":\"sold out\"}\n"},
      {"/checkout", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/order?item=apple&quantity=2", 404, "{\"error\":\"ask for /checkout?item=apple&quantity=2\"}\n"},
      {"/", 404, "{\"error\":\"ask for /checkout?item=apple&quantity=2\"}\n"},
  };
  StartGateway({.orders = StartOrders({.error_every = 2})});
  for (const Row& row : kRows) {
    const HttpReply reply = Get(row.target);
    EXPECT_EQ(reply.status, row.status) << row.target;
    EXPECT_EQ(reply.body, row.body) << row.target;
    EXPECT_EQ(reply.Field("Content-Type"), "application/json");
    EXPECT_FALSE(reply.Field("X-Request-Id").empty());
  }
  const std::string metrics = instruments_.MetricsText();
  for (const char* line : {"demo_checkouts_total{outcome=\"answered\"} 1\n", "demo_checkouts_total{outcome=\"failed\"} 1\n",
                           "demo_checkouts_total{outcome=\"refused\"} 4\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  }
}

TEST_P(GatewayTest, OneRequestIsTheSameInBothServices) {
  StartGateway({.orders = StartOrders()});
  const HttpReply reply = Get(kCheckout,
                              "X-Request-Id: r-1\r\n"
                              "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
                              "tracestate: congo=t61rcWkgMzE\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.Field("X-Request-Id"), "r-1");
  const RequestSnapshot gateway = Served("/checkout");
  const RequestSnapshot orders = Served("/order");
  for (const RequestSnapshot* each : {&gateway, &orders}) {
    EXPECT_EQ(each->identity.id.text(), "r-1");
    EXPECT_EQ(each->identity.trace.trace_id.ToString(), "4bf92f3577b34da6a3ce929d0e0e4736");
    EXPECT_TRUE(each->identity.trace.sampled);
    EXPECT_EQ(each->identity.trace.state, "congo=t61rcWkgMzE");
    EXPECT_EQ(each->method, "GET");
    EXPECT_EQ(each->status, 200);
  }
  // Span by span: the client's, the gateway's, that of the call, which nobody records, the order service's.
  EXPECT_EQ(gateway.identity.parent_span_id.ToString(), "00f067aa0ba902b7");
  EXPECT_TRUE(orders.identity.parent_span_id);
  EXPECT_NE(orders.identity.parent_span_id, gateway.identity.parent_span_id);
  EXPECT_NE(orders.identity.trace.span_id, gateway.identity.trace.span_id);
}

TEST_P(GatewayTest, WhatIsMalformedIsMadeAnew) {
  StartGateway({.orders = StartOrders()});
  const HttpReply reply = Get(kCheckout, "X-Request-Id: a b\r\ntraceparent: 00-0-0-0\r\n");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.Field("X-Request-Id").size(), 36u);
  EXPECT_EQ(Served("/order").identity.id.text(), reply.Field("X-Request-Id"));
  EXPECT_EQ(Served("/order").identity.trace.trace_id, Served("/checkout").identity.trace.trace_id);
}

// Two traceparents are none.
TEST_P(GatewayTest, AFieldThatComesTwiceIsOneWithAComma) {
  StartGateway({.orders = StartOrders()});
  const std::string field = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
  EXPECT_EQ(Get(kCheckout, field + field).status, 200);
  EXPECT_NE(Served("/checkout").identity.trace.trace_id.ToString(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST_P(GatewayTest, AnOrderServiceThatIsNotThereIsABadGateway) {
  StartGateway({.orders = {boost::asio::ip::address_v4::loopback(), 1}});
  const HttpReply reply = Get();
  EXPECT_EQ(reply.status, 502);
  EXPECT_EQ(reply.body, "{\"error\":\"order service: connect: Connection refused\"}\n");
}

TEST_P(GatewayTest, AnOrderServiceThatIsTooSlowIsATimeout) {
  StartGateway({.orders = StartOrders({.slow_every = 1, .slow_by = std::chrono::hours(1)}),
                .timeout = std::chrono::milliseconds(20)});
  const HttpReply reply = Get();
  EXPECT_EQ(reply.status, 504);
  EXPECT_EQ(reply.body, "{\"error\":\"the order service did not answer in time\"}\n");
}

TEST_P(GatewayTest, AnAddressInUseIsOneClearError) {
  const tcp::endpoint orders = StartOrders();
  Gateway gateway(scheduler_, instruments_.all(), {.endpoint = orders, .orders = orders});
  const absl::Status status = gateway.Start().status();
  EXPECT_EQ(status.message(), "gateway: listen on 127.0.0.1:" + std::to_string(orders.port()) + ": Address already in use");
}

INSTANTIATE_TEST_SUITE_P(Processors, GatewayTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace demo
