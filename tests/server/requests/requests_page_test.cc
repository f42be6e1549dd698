#include "server/requests/requests_page.h"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_to.hpp>
#include <chrono>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

using std::chrono::milliseconds;

const absl::Time kNow = absl::FromCivil(absl::CivilSecond(2026, 11, 27, 22, 31, 0), absl::UTCTimeZone());

RequestSnapshot Snapshot(const char* id, milliseconds duration, int status = 0, milliseconds ended = milliseconds(0)) {
  RequestIdentity identity = AcceptRequest(
      {.request_id = id, .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
  identity.trace.span_id = *SpanId::Parse("835b25b75c981400");
  return {.identity = identity, .method = "GET", .fiber = {17}, .duration = duration, .ended = ended, .status = status};
}

std::vector<RouteSnapshot> Routes() {
  RouteSnapshot order;
  order.route = "/order";
  order.in_flight = 2;
  order.finished = {{0, 1}, {200, 40}, {500, 3}};
  order.oldest = {Snapshot("r-1", milliseconds(1500))};
  order.slowest = {Snapshot("r-2", milliseconds(700), 500, milliseconds(300)), Snapshot("r-3", milliseconds(1))};
  RouteSnapshot basket;
  basket.route = "/bas\nket";
  return {basket, order};
}

const RequestFibers kFibers = {{"r-1", {{17}, {18}}}};

TEST(RequestsPageTest, TextHasALineForEachRequest) {
  EXPECT_EQ(RequestsText(Routes(), kFibers, kNow),
            "requests: 2 in flight, 44 finished\n"
            "\n"
            "/bas\\nket: 0 in flight, 0 finished\n"
            "\n"
            "/order: 2 in flight, 44 finished: 1 with no answer, 40 with 200, 3 with 500\n"
            "  in flight, oldest first\n"
            "    1.500000 s     GET began 2026-11-27T22:30:58.500000Z request_id=r-1 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 "
            "span_id=835b25b75c981400 fiber=17 fibers=17,18\n"
            "  finished, slowest first\n"
            "    0.700000 s 500 GET began 2026-11-27T22:30:59.000000Z request_id=r-2 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 "
            "span_id=835b25b75c981400 fiber=17\n"
            "    0.001000 s none GET began 2026-11-27T22:30:59.999000Z request_id=r-3 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 "
            "span_id=835b25b75c981400 fiber=17\n");
  EXPECT_EQ(RequestsText({}, {}, kNow), "requests: 0 in flight, 0 finished\n");
}

TEST(RequestsPageTest, JsonHasTheSame) {
  const boost::json::value page = boost::json::parse(RequestsJson(Routes(), kFibers, kNow));
  const boost::json::value& order = page.at("routes").at(1);
  EXPECT_EQ(order.at("route").as_string(), "/order");
  EXPECT_EQ(order.at("in_flight").to_number<int>(), 2);
  EXPECT_EQ(order.at("finished").at("200").to_number<int>(), 40);
  EXPECT_EQ(order.at("finished").at("none").to_number<int>(), 1);
  EXPECT_EQ(boost::json::value_to<std::vector<int>>(order.at("oldest").at(0).at("fibers")), (std::vector<int>{17, 18}));
  EXPECT_EQ(RequestsJson({Routes()[1]}, kFibers, kNow).find(
                R"({"routes":[{"route":"/order","in_flight":2,"finished":{"none":1,"200":40,"500":3},"oldest":[{)"
                R"("request_id":"r-1",)"
                R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"835b25b75c981400",)"
                R"("parent_span_id":"00f067aa0ba902b7",)"
                R"("method":"GET","fiber":17,"start":"2026-11-27T22:30:58.500000Z","duration":1.5,)"
                R"("fibers":[17,18]}],"slowest":[{)"),
            0u);
  EXPECT_EQ(order.at("slowest").at(0).at("status").to_number<int>(), 500);
  EXPECT_TRUE(order.at("slowest").at(1).at("status").is_null());
  EXPECT_EQ(RequestsJson({}, {}, kNow), "{\"routes\":[]}\n");
}

}  // namespace
}  // namespace fiberscope::server
