// The demo's service as its clients see it, also when what is behind it fails.
#include "server/example/order_service.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/ip/address_v4.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/fiber_state.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/wait_reason.h"
#include "server/example/order_log.h"
#include "tests/server/example/quiet_instruments.h"
#include "tests/testing/raw_client.h"

namespace demo {
namespace {

using fiberscope::testing::Fetch;
using fiberscope::testing::HttpReply;
using fiberscope::testing::RawClient;

constexpr char kOrder[] = "/order?item=apple&quantity=2";

class OrderServiceTest : public ::testing::TestWithParam<int> {
 protected:
  void Start(OrderLog log, OrderService::Options options) {
    options.endpoint = {boost::asio::ip::address_v4::loopback(), 0};
    scheduler_ = std::make_unique<fiberscope::Scheduler>(fiberscope::SchedulerOptions{.processors = GetParam()});
    service_ = std::make_unique<OrderService>(*scheduler_, std::move(log), instruments_.all(), options);
    const auto endpoint = service_->Start();
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    port_ = endpoint->port();
  }
  void StartWithFile(OrderService::Options options) {
    absl::StatusOr<OrderLog> log = OrderLog::Create(::testing::TempDir());
    ASSERT_TRUE(log.ok()) << log.status();
    Start(*std::move(log), options);
  }
  // The log is a pipe that is full, so its write does not return before the end of the test.
  void StartWithStuckLog(OrderService::Options options) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    stuck_end_ = ends[0];
    const std::string all(static_cast<size_t>(fcntl(ends[1], F_GETPIPE_SZ)), 'x');
    ASSERT_EQ(write(ends[1], all.data(), all.size()), static_cast<ssize_t>(all.size()));
    Start(OrderLog(ends[1]), options);
  }

  uint16_t port() const { return port_; }
  const QuietInstruments& instruments() const { return instruments_; }
  HttpReply Order(const std::string& target = kOrder) { return Fetch(port_, target); }

  void TearDown() override {
    std::thread reader;
    if (stuck_end_ >= 0) {
      reader = std::thread([this] {
        char bytes[4096];
        while (read(stuck_end_, bytes, sizeof(bytes)) > 0) {
        }
        close(stuck_end_);
      });
    }
    scheduler_->Stop();
    service_.reset();  // with it the log, at whose end the reader ends
    if (reader.joinable()) reader.join();
    scheduler_.reset();
    EXPECT_EQ(fiberscope::FiberCount(), 0);
  }

 private:
  QuietInstruments instruments_;
  std::unique_ptr<fiberscope::Scheduler> scheduler_;
  std::unique_ptr<OrderService> service_;
  uint16_t port_ = 0;
  int stuck_end_ = -1;
};

TEST_P(OrderServiceTest, AnswersEachOrderByWhatBecameOfIt) {
  struct Row {
    const char* target;
    int status;
    const char* body;
  };
  static constexpr Row kRows[] = {
      {"/order?item=apple&quantity=2", 200, "{\"order\":1,\"item\":\"apple\",\"quantity\":2,\"left\":9998}\n"},
      {"/order?item=pear&quantity=10000", 200, "{\"order\":2,\"item\":\"pear\",\"quantity\":10000,\"left\":0}\n"},
      {"/order?quantity=1&item=plum", 200, "{\"order\":3,\"item\":\"plum\",\"quantity\":1,\"left\":9999}\n"},
      {"/order?item=apple&quantity=10001", 409, "{\"error\":\"sold out\"}\n"},
      {"/order?item=nut&quantity=1", 409, "{\"error\":\"sold out\"}\n"},
      {"/order?item=apple&quantity=0", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/order?item=apple&quantity=-1", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/order?item=apple&quantity=2x", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/order?item=apple&quantity=99999999999", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/order?item=apple", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/order?item=&quantity=2", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/order", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
      {"/", 400, "{\"error\":\"ask for /order?item=apple&quantity=2\"}\n"},
  };
  StartWithFile({});
  for (const Row& row : kRows) {
    const HttpReply reply = Order(row.target);
    EXPECT_EQ(reply.status, row.status) << row.target;
    EXPECT_EQ(reply.body, row.body) << row.target;
    EXPECT_EQ(reply.Field("Content-Type"), "application/json") << row.target;
  }
}

TEST_P(OrderServiceTest, OneInSoManyFailsIfThatIsAskedFor) {
  StartWithFile({.error_every = 2});
  EXPECT_EQ(Order().status, 200);
  const HttpReply failed = Order();
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(failed.body, "{\"error\":\"the credit check failed\"}\n");
  EXPECT_EQ(Order("/order?item=apple&quantity=10001").status, 409);
}

TEST_P(OrderServiceTest, ItIsCountedWhatBecameOfEachOrder) {
  StartWithFile({.error_every = 2});
  for (int i = 0; i < 4; ++i) Order();
  Order("/order");
  const std::string metrics = instruments().MetricsText();
  for (const char* line : {"demo_orders_total{outcome=\"placed\"} 2\n", "demo_orders_total{outcome=\"failed\"} 2\n",
                           "demo_orders_total{outcome=\"refused\"} 1\n", "demo_inventory_batch_orders_count 2\n"}) {
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
  }
  EXPECT_EQ(instruments().vars.Json(), "{\n\"orders\": {\"failed\": 2, \"placed\": 2, \"refused\": 1}\n}\n");
  const std::vector<fiberscope::server::RouteSnapshot> routes = instruments().requests.Read();
  ASSERT_EQ(routes.size(), 1u);
  EXPECT_EQ(routes[0].finished, (std::map<int, uint64_t>{{200, 2}, {400, 1}, {500, 2}}));
}

TEST_P(OrderServiceTest, AnAnswerNamesItsRequest) {
  StartWithFile({});
  EXPECT_EQ(Fetch(port(), kOrder, "GET", "X-Request-Id: r-1\r\n").Field("X-Request-Id"), "r-1");
  EXPECT_EQ(Order().Field("X-Request-Id").size(), 36u);  // a UUID
}

// The inventory's fiber works for the request as well, by its labels, while it has the request in hand.
TEST_P(OrderServiceTest, ASlowRequestIsSeenWithTheFiberThatServesIt) {
  StartWithStuckLog({.request_timeout = std::chrono::hours(1), .inventory_timeout = std::chrono::hours(1)});
  RawClient client;
  ASSERT_TRUE(client.Connect(port()));
  ASSERT_TRUE(client.Request("GET", kOrder, "X-Request-Id: r-1\r\n"));
  std::set<std::string> seen;
  while (seen != std::set<std::string>{"order-worker", "request"}) {
    seen.clear();
    fiberscope::ForEachFiber({.stacks = false}, [&](const fiberscope::FiberSnapshot& fiber) {
      for (const fiberscope::Label& label : fiber.labels) {
        if (label.key == "request_id" && label.value == "r-1") seen.insert(std::string(fiber.name));
      }
      return true;
    });
  }
  const std::vector<fiberscope::server::RouteSnapshot> routes = instruments().requests.Read();
  ASSERT_EQ(routes.size(), 1u);
  ASSERT_EQ(routes[0].oldest.size(), 1u);
  EXPECT_EQ(routes[0].oldest[0].identity.id.text(), "r-1");
}

TEST_P(OrderServiceTest, AnOrderThatCannotBeStoredIsRefusedAndItsItemsPutBack) {
  Start(OrderLog(open("/dev/full", O_WRONLY | O_CLOEXEC)), {});
  for (int i = 0; i < 3; ++i) {
    const HttpReply reply = Order("/order?item=apple&quantity=10000");  // all there are
    EXPECT_EQ(reply.status, 500);
    EXPECT_EQ(reply.body, "{\"error\":\"the order could not be stored: No space left on device\"}\n");
  }
}

TEST_P(OrderServiceTest, AnInventoryThatDoesNotAnswerIsNotWaitedForBeyondItsTimeout) {
  StartWithStuckLog({.request_timeout = std::chrono::hours(1), .inventory_timeout = std::chrono::milliseconds(1)});
  const HttpReply reply = Order();
  EXPECT_EQ(reply.status, 504);
  EXPECT_EQ(reply.body, "{\"error\":\"the inventory did not answer in time\"}\n");
}

TEST_P(OrderServiceTest, ARequestEndsAtItsDeadlineWhereverItWaits) {
  StartWithStuckLog({.order_workers = 2,
                     .order_queue = 100,
                     .request_timeout = std::chrono::milliseconds(20),
                     .inventory_timeout = std::chrono::hours(1)});
  // In the select, in front of the inventory, and in the pool's queue.
  std::vector<RawClient> clients(10);
  for (RawClient& client : clients) {
    ASSERT_TRUE(client.Connect(port()));
    ASSERT_TRUE(client.Request("GET", kOrder));
  }
  for (RawClient& client : clients) EXPECT_EQ(client.Read().status, 504);
}

// Until the service's fibers, but for the two that are always there, are these, each "name state".
void AwaitFibers(const std::multiset<std::string>& expected) {
  std::multiset<std::string> seen;
  while (seen != expected) {
    seen.clear();
    fiberscope::ForEachFiber({.stacks = false}, [&](const fiberscope::FiberSnapshot& fiber) {
      if (fiber.name == "accept" || fiber.name == "housekeeper") return true;
      const bool waits = fiber.state == fiberscope::FiberState::kWaiting;
      seen.insert(std::string(fiber.name) + " " +
                  (waits ? fiberscope::WaitReasonName(fiber.wait_reason) : fiberscope::StateName(fiber.state)));
      return true;
    });
  }
}

TEST_P(OrderServiceTest, EachStageIsSeenToWaitForTheNext) {
  StartWithStuckLog(
      {.order_workers = 2, .request_timeout = std::chrono::hours(1), .inventory_timeout = std::chrono::hours(1)});
  std::vector<RawClient> clients(3);
  for (RawClient& client : clients) ASSERT_TRUE(client.Connect(port()));
  std::multiset<std::string> expected = {"connection io", "connection io", "connection io",
                                         "inventory channel receive"};
  AwaitFibers(expected);

  ASSERT_TRUE(clients[0].Request("GET", kOrder));
  expected = {"connection wait group", "connection io",       "connection io",
              "request suspend",       "order-worker select", "inventory blocking"};
  AwaitFibers(expected);

  // Of the other two one has the second worker, which finds the inventory busy, and one is in the pool's queue.
  for (int i : {1, 2}) ASSERT_TRUE(clients[i].Request("GET", kOrder));
  expected = {"connection wait group", "connection wait group",     "connection wait group",
              "request suspend",       "request suspend",           "request suspend",
              "order-worker select",   "order-worker channel send", "inventory blocking"};
  AwaitFibers(expected);
}

TEST_P(OrderServiceTest, MoreOrdersThanThePoolHoldsAreRejected) {
  StartWithStuckLog({.order_workers = 1,
                     .order_queue = 0,
                     .request_timeout = std::chrono::hours(1),
                     .inventory_timeout = std::chrono::hours(1)});
  RawClient first;
  RawClient second;
  for (RawClient* const client : {&first, &second}) {
    ASSERT_TRUE(client->Connect(port()));
    ASSERT_TRUE(client->Request("GET", kOrder));
  }
  // Whichever came first has the worker and keeps it.
  while (!first.Readable(std::chrono::milliseconds(1)) && !second.Readable(std::chrono::milliseconds(1))) {
  }
  RawClient& rejected = first.Readable(std::chrono::milliseconds(0)) ? first : second;
  EXPECT_EQ(rejected.Read().status, 503);
}

TEST_P(OrderServiceTest, WithALeakEveryTenthOrderLeavesAFiberBehind) {
  StartWithFile({.leak = true});
  RawClient client;
  ASSERT_TRUE(client.Connect(port()));
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(client.Request("GET", "/order?item=pear&quantity=1"));
    ASSERT_EQ(client.Read().status, 200);
  }
  int audits = 0;
  int waiting = 0;
  while (waiting < 4) {
    audits = waiting = 0;
    fiberscope::ForEachFiber({.stacks = false}, [&](const fiberscope::FiberSnapshot& fiber) {
      if (fiber.name != "audit") return true;
      ++audits;
      if (fiber.wait_reason == fiberscope::WaitReason::kChannelSend) ++waiting;
      return true;
    });
    ASSERT_EQ(audits, 4);
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, OrderServiceTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace demo
