#include "server/handlers/flight_recorder.h"

#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;
using ::testing::AllOf;
using ::testing::HasSubstr;

class FlightRecorderHandlerTest : public ::testing::Test {
 protected:
  RecordingWriter Get(FlightRecorder* recorder, std::string query, Method method = Method::kGet) {
    return testing::Answer(MakeFlightRecorderHandler(recorder, *symbolizer_),
                           {.method = method, .path = "/debug/pprof/flightrecorder", .raw_query = std::move(query), .body = {}});
  }

  const std::unique_ptr<pprof::Symbolizer> symbolizer_ = pprof::MakeProcessSymbolizer();
};

TEST_F(FlightRecorderHandlerTest, WithoutARecorderSaysHowToHaveOne) {
  const RecordingWriter answer = Get(nullptr, "");
  EXPECT_EQ(answer.head().status, 404);
  EXPECT_THAT(answer.body(), AllOf(HasSubstr("FlightRecorder::Start"), HasSubstr("DebugServerOptions::flight_recorder")));
}

TEST_F(FlightRecorderHandlerTest, GivesOutWhatWasKept) {
  const auto recorder = FlightRecorder::Start({});
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  const RecordingWriter trace = Get(recorder->get(), "other=x");
  EXPECT_EQ(trace.head().status, 200);
  EXPECT_EQ(trace.Field("Content-Disposition"), "attachment; filename=\"trace\"");
  EXPECT_EQ(trace.body().substr(0, 13), "go 1.22 trace");
  EXPECT_TRUE(trace.ended());
  EXPECT_EQ(Get(recorder->get(), "format=json").head().content_type, "application/json");
  EXPECT_EQ(Get(recorder->get(), "profile=sched").body().substr(0, 2), "\x1f\x8b");

  const RecordingWriter head = Get(recorder->get(), "", Method::kHead);
  EXPECT_EQ(head.head().status, 200);
  EXPECT_EQ(head.body(), "");
}

TEST_F(FlightRecorderHandlerTest, RefusesWhatItCannotRead) {
  const auto recorder = FlightRecorder::Start({});
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  for (const char* query : {"format=go1.18", "profile=x", "format=json&profile=net", "format=%zz"}) {
    EXPECT_EQ(Get(recorder->get(), query).head().status, 400) << query;
  }
}

TEST_F(FlightRecorderHandlerTest, AClientThatLeavesEndsIt) {
  const auto recorder = FlightRecorder::Start({});
  ASSERT_TRUE(recorder.ok()) << recorder.status();
  RecordingWriter writer(5);
  MakeFlightRecorderHandler(recorder->get(), *symbolizer_)({.method = Method::kGet, .path = "/", .raw_query = ""}, writer);
  EXPECT_EQ(writer.failure().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace fiberscope::server
