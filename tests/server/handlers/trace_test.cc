#include "server/handlers/trace.h"

#include <chrono>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "runtime/execution_trace.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;

class TraceTest : public ::testing::Test {
 protected:
  RecordingWriter Get(std::string query, Method method = Method::kGet) {
    return testing::Answer(MakeTraceHandler(*symbolizer_),
                           {.method = method, .path = "/debug/pprof/trace", .raw_query = std::move(query), .body = {}});
  }

  const std::unique_ptr<pprof::Symbolizer> symbolizer_ = pprof::MakeProcessSymbolizer();
};

TEST_F(TraceTest, BeginsWithTheHeadOfTheFormat) {
  for (const char* query : {"seconds=0.01", "seconds=0.01&format=go1.22", "seconds=.01&format=", "seconds=0.01&other=x"}) {
    const RecordingWriter answer = Get(query);
    EXPECT_EQ(answer.head().status, 200) << query;
    EXPECT_EQ(answer.head().content_type, "application/octet-stream");
    EXPECT_EQ(answer.Field("Content-Disposition"), "attachment; filename=\"trace\"");
    EXPECT_EQ(answer.waited(), std::chrono::milliseconds(10)) << query;
    EXPECT_TRUE(answer.ended());
    EXPECT_EQ(answer.body().substr(0, 16), std::string("go 1.22 trace\0\0\0", 16)) << query;
  }
}

TEST_F(TraceTest, AnotherFormatHasAnotherHead) {
  EXPECT_EQ(Get("seconds=0.01&format=go1.23").body().substr(0, 16), std::string("go 1.23 trace\0\0\0", 16));
}

TEST_F(TraceTest, RefusesWhatItCannotReadAndSaysWhatItTakes) {
  const std::string seconds =
      "invalid value for \"seconds\" - must be a number of seconds, more than 0 and at most 300, such as 5 or 0.5\n";
  for (const char* query : {"seconds=0", "seconds=-1", "seconds=300.1", "seconds=1e2", "seconds=x", "seconds=1s", "seconds=.",
                            "seconds=nan", "seconds=inf", "seconds=0x1", "seconds=1.2.3"}) {
    const RecordingWriter answer = Get(query);
    EXPECT_EQ(answer.head().status, 400) << query;
    EXPECT_EQ(answer.body(), seconds) << query;
    EXPECT_EQ(answer.waited(), std::chrono::nanoseconds(0));
  }
  EXPECT_EQ(Get("seconds=1&seconds=2").head().status, 400);
  EXPECT_EQ(Get("format=go1.7").body(), "invalid value for \"format\" - must be go1.22, go1.23, go1.19 or json\n");
  EXPECT_EQ(Get("format=go1.7").head().status, 400);
}

TEST_F(TraceTest, AnotherOneMustWait) {
  const auto taken = ExecutionTrace::Start();
  ASSERT_TRUE(taken.ok());
  const RecordingWriter answer = Get("seconds=1");
  EXPECT_EQ(answer.head().status, 429);
  EXPECT_EQ(answer.Field("Retry-After"), "1");
  EXPECT_EQ(answer.body(), "Could not enable tracing: tracing is already enabled\n");
}

TEST_F(TraceTest, HeadTakesNone) {
  const auto taken = ExecutionTrace::Start();
  const RecordingWriter answer = Get("seconds=1", Method::kHead);
  EXPECT_EQ(answer.head().status, 200);
  EXPECT_EQ(answer.waited(), std::chrono::nanoseconds(0));
}

}  // namespace
}  // namespace fiberscope::server
