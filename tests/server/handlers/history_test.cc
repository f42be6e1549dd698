#include "server/handlers/history.h"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_writer.h"
#include "tests/testing/virtual_clock.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;
using ::testing::AllOf;
using ::testing::HasSubstr;

RecordingWriter Get(const HealthWatch* watch, std::string query) {
  return testing::Answer(MakeHistoryHandler(watch),
                         {.method = Method::kGet, .path = "/debug/history", .raw_query = std::move(query), .body = {}});
}

class HistoryHandlerTest : public ::testing::Test {
 protected:
  HistoryHandlerTest() {
    HealthWatchOptions options;
    options.clock = &clock_;
    options.read = [this] {
      HealthReading reading;
      reading.at = clock_.Now();
      reading.time = std::chrono::system_clock::time_point(clock_.Now());
      return reading;
    };
    options.thresholds = {{.name = "queue", .figure = QueuedFigure(), .bounds = {.raise_above = 5, .clear_below = 1}}};
    watch_ = *HealthWatch::Start(std::move(options));
    clock_.Advance(std::chrono::minutes(2));
  }

  testing::VirtualClock clock_;
  std::unique_ptr<HealthWatch> watch_;
};

TEST(HistoryHandlerNoneTest, WithoutAWatchSaysHowToHaveOne) {
  const RecordingWriter answer = Get(nullptr, "");
  EXPECT_EQ(answer.head().status, 404);
  EXPECT_THAT(answer.body(), AllOf(HasSubstr("HealthWatch::Start"), HasSubstr("DebugServerOptions::health_watch")));
}

TEST_F(HistoryHandlerTest, ShowsAllTiersAndThresholds) {
  const RecordingWriter answer = Get(watch_.get(), "other=x");
  EXPECT_EQ(answer.head().status, 200);
  EXPECT_EQ(answer.head().content_type, "application/json; charset=utf-8");
  const boost::json::value all = boost::json::parse(answer.body());
  EXPECT_EQ(all.at("period_seconds").to_number<double>(), 1);
  EXPECT_EQ(all.at("samples").to_number<int>(), 120);
  EXPECT_EQ(all.at("missed_samples").to_number<int>(), 0);
  EXPECT_EQ(all.at("failed_calls").to_number<int>(), 0);
  EXPECT_EQ(all.at("thresholds").at(0).at("name").as_string(), "queue");
  EXPECT_EQ(all.at("history").at(0).at("columns").at("end").as_array().size(), 120u);
  EXPECT_EQ(all.at("history").at(1).at("columns").at("end").at(1).to_number<double>(), 120);
}

TEST_F(HistoryHandlerTest, ShowsTheLastSeconds) {
  const boost::json::value all = boost::json::parse(Get(watch_.get(), "last=30").body());
  EXPECT_EQ(all.at("history").at(0).at("columns").at("end").as_array().size(), 30u);
  EXPECT_EQ(all.at("history").at(1).at("columns").at("end").as_array().size(), 1u);
}

TEST_F(HistoryHandlerTest, RefusesWhatItCannotRead) {
  for (const char* query : {"last=0", "last=-1", "last=x", "last=1.5", "last=31536001", "last=1&last=2", "last=%zz"}) {
    const RecordingWriter answer = Get(watch_.get(), query);
    EXPECT_EQ(answer.head().status, 400) << query;
    EXPECT_THAT(answer.body(), HasSubstr("invalid value for \"last\"")) << query;
  }
}

}  // namespace
}  // namespace fiberscope::server
