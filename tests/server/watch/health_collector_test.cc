#include "server/watch/health_collector.h"

#include <prometheus/text_serializer.h>

#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/virtual_clock.h"

namespace fiberscope::server {
namespace {

using ::testing::HasSubstr;

TEST(HealthCollectorTest, ShowsThresholds) {
  testing::VirtualClock clock;
  HealthWatchOptions options;
  options.clock = &clock;
  options.on_line = [](WatchLineLevel, std::string_view) {};
  for (const double value : {1.0, 3.0}) {
    options.thresholds.push_back({.name = "value " + std::to_string(static_cast<int>(value)),
                                  .figure = [value](const HealthReading&, const HealthRow&) { return value; },
                                  .bounds = {.raise_above = 2, .clear_below = 2}});
  }
  auto watch = HealthWatch::Start(std::move(options));
  ASSERT_TRUE(watch.ok()) << watch.status();
  clock.Advance(std::chrono::seconds(4));
  const std::string text = prometheus::TextSerializer().Serialize(HealthCollector(**watch).Collect());
  EXPECT_THAT(text, HasSubstr("\nfiber_watch_threshold_raised{threshold=\"value 1\"} 0\n"
                              "fiber_watch_threshold_raised{threshold=\"value 3\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("\nfiber_watch_threshold_raises_total{threshold=\"value 3\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("\nfiber_watch_samples_total 4\n"));
  EXPECT_THAT(text, HasSubstr("\nfiber_watch_missed_samples_total 0\n"));
  EXPECT_THAT(text, HasSubstr("\nfiber_watch_failed_calls_total 0\n"));
}

}  // namespace
}  // namespace fiberscope::server
