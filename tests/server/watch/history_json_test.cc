#include "server/watch/history_json.h"

#include <chrono>
#include <string>

#include "gtest/gtest.h"
#include "server/render/json.h"

namespace fiberscope::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string Text(const boost::json::value& value) {
  std::string text;
  AppendJson(value, text);
  return text;
}

HealthWatch::Tier Rows() {
  HealthWatch::Tier tier{.tier = {.samples = 60, .rows = 100}, .rows = {}};
  for (int i = 1; i <= 3; ++i) {
    HealthRow& row = tier.rows.emplace_back();
    row.end = std::chrono::system_clock::time_point(seconds(1'700'000'000 + i));
    row.length = seconds(1);
    row.fibers = static_cast<uint64_t>(10 * i);
  }
  HealthRow& newest = tier.rows.back();
  newest.by_state[static_cast<size_t>(FiberState::kWaiting)] = 30;
  newest.oldest_wait = milliseconds(2500);
  newest.oldest_wait_reason = "channel send";
  newest.queued = 2;
  newest.latency_p50 = std::chrono::microseconds(5);
  newest.latency_p99 = milliseconds(1);
  newest.cpus = 1.5;
  newest.heap_bytes = 100;
  newest.heap_backed_bytes = 200;
  newest.resident_bytes = 300;
  return tier;
}

TEST(HistoryJsonTest, HasAColumnPerFigureAndNullForWhatIsNotKnown) {
  EXPECT_EQ(Text(HistoryJson(Rows(), seconds(2))),
            R"({"samples_per_row":60,"rows_kept":100,"columns":{"end":[1700000002,1700000003],"seconds":[1,1],"fibers":[20,30],)"
            R"("runnable":[0,0],"running":[0,0],"waiting":[0,30],"blocking":[0,0],"queued":[0,2],"oldest_wait_seconds":[0,2.5],)"
            R"("oldest_wait":[null,"channel send"],"latency_p50_seconds":[null,0.000005],"latency_p99_seconds":[null,0.001],)"
            R"("cpus":[0,1.5],"heap_bytes":[null,100],"heap_backed_bytes":[null,200],"resident_bytes":[null,300]}})");
}

TEST(HistoryJsonTest, ShowsAllOrTheLast) {
  const auto rows = [](const HealthWatch::Tier& tier, std::optional<seconds> last) {
    return HistoryJson(tier, last).at("columns").at("end").as_array().size();
  };
  EXPECT_EQ(rows(Rows(), std::nullopt), 3u);
  EXPECT_EQ(rows(Rows(), seconds(1)), 1u);
  EXPECT_EQ(rows(Rows(), seconds(1000)), 3u);
  EXPECT_EQ(rows({}, seconds(1)), 0u);
}

TEST(ThresholdJsonTest, HasBoundsAndState) {
  ThresholdStatus status{.name = "a \"queue\"", .bounds = {.raise_above = 10, .clear_below = 0.5}};
  EXPECT_EQ(Text(ThresholdJson(status)),
            R"({"name":"a \"queue\"","raised":false,"since":null,"value":null,"raise_above":10,"raise_after":3,)"
            R"("clear_below":0.5,"clear_after":3,"raises":0})");
  status.raised = true;
  status.since = std::chrono::system_clock::time_point(seconds(5));
  status.value = 11.5;
  status.raises = 2;
  EXPECT_EQ(Text(ThresholdJson(status)),
            R"({"name":"a \"queue\"","raised":true,"since":5,"value":11.5,"raise_above":10,"raise_after":3,)"
            R"("clear_below":0.5,"clear_after":3,"raises":2})");
}

}  // namespace
}  // namespace fiberscope::server
