#include "server/handlers/wall_profile.h"

#include <chrono>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "proto/profile.pb.h"
#include "tests/pprof/encode/gunzip.h"
#include "tests/testing/recording_writer.h"
#include "tests/testing/shop.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;

// The shop's fibers, and a clock that goes on as far as the handler waits.
class WallProfileTest : public ::testing::Test {
 protected:
  Handler MakeHandler(RecordingWriter& writer) {
    const pprof::GoroutineInputs shop = shop_.Inputs();
    return MakeWallProfileHandler(shop_.symbolizer(), {.for_each_fiber =
                                                           [this, all = shop.for_each_fiber](const auto& options, auto visit) {
                                                             ++passes_;
                                                             return all(options, visit);
                                                           },
                                                       .monotonic_now = [&writer] { return writer.waited(); },
                                                       .now = shop.now,
                                                       .mappings = shop.mappings});
  }

  RecordingWriter Get(std::string query, Method method = Method::kGet) {
    RecordingWriter writer;
    Answer(writer, std::move(query), method);
    EXPECT_EQ(writer.answers(), 1);
    return writer;
  }

  void Answer(RecordingWriter& writer, std::string query, Method method = Method::kGet) {
    MakeHandler(writer)({.method = method, .path = "/debug/pprof/wall", .raw_query = std::move(query), .body = {}}, writer);
  }

  pprof::Shop shop_;
  int passes_ = 0;
};

TEST_F(WallProfileTest, LooksAsOftenAndAsLongAsItIsAsked) {
  const struct Row {
    const char* query;
    int seconds;
    int64_t period;
  } rows[] = {
      {"", 30, 10'101'010},
      {"seconds=&hz=&format=", 30, 10'101'010},
      {"seconds=1&debug=abc", 1, 10'101'010},
      {"seconds=300&hz=1", 300, 1'000'000'000},
      {"hz=1000&seconds=2&format=pprof", 2, 1'000'000},
  };
  for (const Row& row : rows) {
    passes_ = 0;
    const RecordingWriter answer = Get(row.query);
    EXPECT_EQ(answer.head().status, 200) << row.query;
    EXPECT_EQ(answer.head().content_type, "application/octet-stream");
    EXPECT_EQ(answer.Field("Content-Disposition"), "attachment; filename=\"wall\"");
    EXPECT_TRUE(answer.ended());
    EXPECT_EQ(answer.waited(), std::chrono::seconds(row.seconds)) << row.query;
    EXPECT_EQ(passes_, (std::chrono::nanoseconds(std::chrono::seconds(row.seconds)).count() + row.period - 1) / row.period)
        << row.query;
    perftools::profiles::Profile profile;
    ASSERT_TRUE(profile.ParseFromString(pprof::Gunzip(answer.body()).value_or(""))) << row.query;
    EXPECT_EQ(profile.period(), row.period) << row.query;
    EXPECT_EQ(profile.duration_nanos(), row.seconds * int64_t{1'000'000'000});
    int64_t time_ns = 0;
    for (const auto& sample : profile.sample()) time_ns += sample.value(1);
    EXPECT_EQ(time_ns, 7 * profile.duration_nanos());  // as many fibers
  }
}

TEST_F(WallProfileTest, FoldedIsText) {
  const RecordingWriter answer = Get("seconds=10&hz=10&format=folded");
  EXPECT_EQ(answer.head().status, 200);
  EXPECT_EQ(answer.head().content_type, "text/plain; charset=utf-8");
  EXPECT_EQ(answer.Field("Content-Disposition"), "");
  EXPECT_EQ(answer.body(),
            "shop::Start::{lambda#1}::operator();shop::(anonymous)::Process<...>;0x8fff;epoll_wait 100\n"
            "shop::Start::{lambda#1}::operator();shop::Start 100\n"
            "shop::Worker 100\n"
            "shop::Worker;shop::(anonymous)::Process<...> 100\n"
            "shop::Worker;shop::Queue::Take 300\n");
}

TEST_F(WallProfileTest, RefusesWhatItCannotReadAndNamesTheRange) {
  const std::string seconds = "invalid value for \"seconds\" - must be an integer from 1 to 300\n";
  const std::string hz = "invalid value for \"hz\" - must be an integer from 1 to 1000\n";
  const std::string format = "invalid value for \"format\" - must be pprof or folded\n";
  const struct Row {
    const char* query;
    std::string body;
  } rows[] = {
      {"seconds=0", seconds},      {"seconds=301", seconds},       {"seconds=-1", seconds},
      {"seconds=1.5", seconds},    {"seconds=1s", seconds},        {"seconds=99999999999999999999", seconds},
      {"hz=0", hz},                {"hz=1001", hz},                {"seconds=5&hz=fast", hz},
      {"format=svg", format},      {"format=Folded", format},      {"format=%66olded%20", format},
      {"seconds=1&seconds=1", "invalid value for \"seconds\" - given more than once\n"},
      {"format=folded&format=folded", "invalid value for \"format\" - given more than once\n"},
      {"hz=%f", "invalid value for \"hz\" - bad percent-encoding\n"},
  };
  for (const Row& row : rows) {
    for (const Method method : {Method::kGet, Method::kHead}) {
      const RecordingWriter answer = Get(row.query, method);
      EXPECT_EQ(answer.head().status, 400) << row.query;
      EXPECT_EQ(answer.Field("X-Go-Pprof"), "1") << row.query;
      EXPECT_EQ(answer.body(), row.body) << row.query;
    }
  }
  EXPECT_EQ(passes_, 0);
}

TEST_F(WallProfileTest, HeadTakesNone) {
  const RecordingWriter answer = Get("seconds=5", Method::kHead);
  EXPECT_EQ(answer.head().status, 200);
  EXPECT_EQ(answer.head().content_type, "application/octet-stream");
  EXPECT_TRUE(answer.ended());
  EXPECT_EQ(answer.body(), "");
  EXPECT_EQ(passes_, 0);
}

TEST_F(WallProfileTest, AClientThatLeavesEndsIt) {
  RecordingWriter writer;
  writer.set_on_wait([&writer] {
    return writer.waited() < std::chrono::seconds(1) ? absl::OkStatus() : absl::CancelledError("the client has left");
  });
  Answer(writer, "hz=10");
  EXPECT_EQ(writer.failure().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(writer.ended());
  EXPECT_EQ(passes_, 9);
  EXPECT_EQ(writer.body(), "");
  RecordingWriter full(10);  // leaves while it is being sent the profile
  Answer(full, "seconds=1");
  EXPECT_EQ(full.failure().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(full.ended());
}

}  // namespace
}  // namespace fiberscope::server
