#include "server/handlers/cpu_profile.h"

#include <signal.h>

#include <chrono>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "proto/profile.pb.h"
#include "runtime/cpu_profiler.h"
#include "tests/pprof/encode/gunzip.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;

class CpuProfileTest : public ::testing::Test {
 protected:
  RecordingWriter Get(std::string query, Method method = Method::kGet, CpuProfileFormat format = CpuProfileFormat::kProto) {
    return testing::Answer(MakeCpuProfileHandler(*symbolizer_, format),
                           {.method = method, .path = "/debug/pprof/profile", .raw_query = std::move(query), .body = {}});
  }

  const std::unique_ptr<pprof::Symbolizer> symbolizer_ = pprof::MakeProcessSymbolizer();
};

TEST_F(CpuProfileTest, WaitsForTheSecondsAskedFor) {
  const struct Row {
    const char* query;
    int seconds;
    int64_t period;
  } rows[] = {
      {"", 30, 10'000'000},
      {"seconds=", 30, 10'000'000},
      {"seconds=1&debug=abc", 1, 10'000'000},
      {"seconds=300&hz=1000", 300, 1'000'000},
      {"hz=1", 30, 1'000'000'000},
  };
  for (const Row& row : rows) {
    const RecordingWriter answer = Get(row.query);
    EXPECT_EQ(answer.head().status, 200) << row.query;
    EXPECT_EQ(answer.head().content_type, "application/octet-stream");
    EXPECT_EQ(answer.Field("Content-Disposition"), "attachment; filename=\"profile\"");
    EXPECT_EQ(answer.waited(), std::chrono::seconds(row.seconds)) << row.query;
    EXPECT_TRUE(answer.ended());
    perftools::profiles::Profile profile;
    ASSERT_TRUE(profile.ParseFromString(pprof::Gunzip(answer.body()).value_or(""))) << row.query;
    EXPECT_EQ(profile.period(), row.period) << row.query;
  }
}

TEST_F(CpuProfileTest, RefusesWhatItCannotReadAndNamesTheRange) {
  const std::string seconds = "invalid value for \"seconds\" - must be an integer from 1 to 300\n";
  const std::string hz = "invalid value for \"hz\" - must be an integer from 1 to 1000\n";
  const struct Row {
    const char* query;
    std::string body;
  } rows[] = {
      {"seconds=0", seconds},      {"seconds=301", seconds},  {"seconds=-1", seconds}, {"seconds=1.5", seconds},
      {"seconds=1s", seconds},     {"seconds=abc", seconds},  {"hz=0", hz},            {"hz=1001", hz},
      {"seconds=5&hz=fast", hz},   {"seconds=99999999999999999999", seconds},
      {"seconds=1&seconds=1", "invalid value for \"seconds\" - given more than once\n"},
      {"hz=%f", "invalid value for \"hz\" - bad percent-encoding\n"},
  };
  for (const Row& row : rows) {
    const RecordingWriter answer = Get(row.query);
    EXPECT_EQ(answer.head().status, 400) << row.query;
    EXPECT_EQ(answer.Field("X-Go-Pprof"), "1") << row.query;
    EXPECT_EQ(answer.body(), row.body) << row.query;
    EXPECT_EQ(answer.waited(), std::chrono::seconds(0));
  }
}

TEST_F(CpuProfileTest, HeadTakesNone) {
  const auto profiler = CpuProfiler::Start();  // would be in the way
  const RecordingWriter answer = Get("seconds=5", Method::kHead);
  EXPECT_EQ(answer.head().status, 200);
  EXPECT_EQ(answer.head().content_type, "application/octet-stream");
  EXPECT_EQ(answer.waited(), std::chrono::seconds(0));
  EXPECT_TRUE(answer.ended());
}

TEST_F(CpuProfileTest, ASecondOneHasToWait) {
  const Handler handler = MakeCpuProfileHandler(*symbolizer_, CpuProfileFormat::kProto);
  RecordingWriter first;
  first.set_on_wait([&] {
    const RecordingWriter second = Get("seconds=1");
    EXPECT_EQ(second.head().status, 429);
    EXPECT_EQ(second.Field("X-Go-Pprof"), "1");
    EXPECT_EQ(second.Field("Retry-After"), "20");
    EXPECT_EQ(second.body(), "Could not enable CPU profiling: cpu profiling already in use\n");
    return absl::OkStatus();
  });
  handler({.method = Method::kGet, .path = "/debug/pprof/profile", .raw_query = "seconds=20", .body = {}}, first);
  EXPECT_TRUE(first.ended());
  EXPECT_EQ(Get("seconds=1").head().status, 200);
}

TEST_F(CpuProfileTest, AClientThatLeavesFreesIt) {
  for (int i = 0; i < 100; ++i) {
    RecordingWriter writer;
    writer.set_on_wait([] { return absl::CancelledError("the client has left"); });
    MakeCpuProfileHandler(*symbolizer_, CpuProfileFormat::kProto)({.method = Method::kGet, .path = {}, .raw_query = {}, .body = {}},
                                                                  writer);
    EXPECT_EQ(writer.failure().code(), absl::StatusCode::kCancelled);
    EXPECT_FALSE(writer.ended());
    EXPECT_EQ(writer.body(), "");
  }
  EXPECT_EQ(Get("seconds=1").head().status, 200);
}

TEST_F(CpuProfileTest, SaysThatTheApplicationHasTheSignal) {
  struct sigaction theirs = {};
  theirs.sa_handler = SIG_IGN;
  struct sigaction before;
  sigaction(SIGPROF, &theirs, &before);
  const RecordingWriter answer = Get("seconds=1");
  sigaction(SIGPROF, &before, nullptr);
  EXPECT_EQ(answer.head().status, 500);
  EXPECT_EQ(answer.Field("X-Go-Pprof"), "1");
  EXPECT_EQ(answer.body().find("Could not enable CPU profiling: signal 27 (SIGPROF) is ignored by the application"), 0u)
      << answer.body();
  EXPECT_EQ(answer.waited(), std::chrono::seconds(0));
}

TEST_F(CpuProfileTest, TheLegacyFormBeginsWithItsHeader) {
  const RecordingWriter answer = Get("seconds=2", Method::kGet, CpuProfileFormat::kLegacy);
  EXPECT_EQ(answer.head().status, 200);
  ASSERT_GT(answer.body().size(), 8u * 8);
  EXPECT_EQ(answer.body().substr(0, 16), std::string("\0\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 16));
  EXPECT_NE(answer.body().find("r-xp"), std::string::npos);
}

}  // namespace
}  // namespace fiberscope::server
