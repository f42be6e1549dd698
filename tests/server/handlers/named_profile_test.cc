#include "server/handlers/named_profile.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "pprof/sources/goroutine_source.h"
#include "proto/profile.pb.h"
#include "tests/pprof/encode/gunzip.h"
#include "tests/server/handlers/fake_source.h"
#include "tests/testing/recording_writer.h"
#include "tests/testing/shop.h"

namespace fiberscope::server {
namespace {

using testing::FakeSource;
using testing::RecordingWriter;

class NamedProfileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Add({.name = "heap", .collected = &collected_});
    Add({.name = "example.com/x.files"});
    Add({.name = "a\"b\\c"});
    ASSERT_TRUE(catalog_.Add(std::make_unique<pprof::GoroutineSource>(shop_.symbolizer(), shop_.Inputs())).ok());
    Add({.name = "broken", .failure = absl::InternalError("no memory")});
  }

  void Add(FakeSource::Options options) {
    ASSERT_TRUE(catalog_.Add(std::make_unique<FakeSource>(std::move(options))).ok());
  }

  RecordingWriter Get(std::string name, std::string query = "", Method method = Method::kGet) {
    return testing::Answer(handler_,
                           {.method = method, .path = "/debug/pprof/" + name, .raw_query = std::move(query), .body = {}});
  }

  int collected_ = 0;
  pprof::Shop shop_;
  pprof::ProfileCatalog catalog_;
  Handler handler_ = MakeNamedProfileHandler(catalog_, "/debug/pprof/");
};

constexpr char kText[] = "text/plain; charset=utf-8";
constexpr char kBinary[] = "application/octet-stream";

TEST_F(NamedProfileTest, AnswersInTheFormAskedFor) {
  struct Row {
    const char* name;
    const char* query;
    const char* content_type;
    const char* disposition;
    const char* body;  // of text
  };
  static constexpr Row kRows[] = {
      {"heap", "", kBinary, "attachment; filename=\"heap\"", nullptr},
      {"heap", "debug=0", kBinary, "attachment; filename=\"heap\"", nullptr},
      {"heap", "debug=", kBinary, "attachment; filename=\"heap\"", nullptr},
      {"heap", "gc=1&other=%zz&other", kBinary, "attachment; filename=\"heap\"", nullptr},
      {"heap", "seconds=", kBinary, "attachment; filename=\"heap\"", nullptr},
      {"heap", "debug=1", kText, "", "heap text 1\n"},
      {"heap", "debug=01", kText, "", "heap text 1\n"},
      {"heap", "debug=2", kText, "", "heap text 2\n"},
      {"heap", "debug=3", kText, "", "heap text 2\n"},
      {"heap", "debug=2147483647", kText, "", "heap text 2\n"},
      {"example.com/x.files", "", kBinary, "attachment; filename=\"example.com/x.files\"", nullptr},
      {"a\"b\\c", "", kBinary, "attachment; filename=\"a\\\"b\\\\c\"", nullptr},
  };
  for (const Row& row : kRows) {
    const RecordingWriter answer = Get(row.name, row.query);
    EXPECT_EQ(answer.head().status, 200) << row.name << "?" << row.query;
    EXPECT_TRUE(answer.ended());
    EXPECT_EQ(answer.head().content_type, row.content_type) << row.query;
    EXPECT_EQ(answer.Field("Content-Disposition"), row.disposition) << row.query;
    if (row.body != nullptr) {
      EXPECT_EQ(answer.body(), row.body) << row.query;
    } else {
      EXPECT_EQ(answer.body().substr(0, 2), "\x1f\x8b") << row.query;  // gzip
    }
  }
}

// R-H7: a parameter that does not parse, repeats or is out of range is a 400 that names it, in the form that go tool pprof shows.
TEST_F(NamedProfileTest, RefusesParametersThatItCannotRead) {
  const std::string debug = "invalid value for \"debug\" - must be an integer from 0 to 2147483647\n";
  const std::string gc = "invalid value for \"gc\" - must be an integer from 0 to 9223372036854775807\n";
  const std::string seconds = "invalid value for \"seconds\" - must be a positive integer\n";
  const std::string unsupported = "\"seconds\" parameter is not supported for this profile type\n";
  const struct Row {
    const char* query;
    std::string body;
  } rows[] = {
      {"debug=abc", debug},
      {"debug=99999999999999999999", debug},
      {"debug=2147483648", debug},
      {"debug=-1", debug},
      {"debug=1.5", debug},
      {"debug=1;x=2", debug},
      {"debug=+1", debug},
      {"debug=1&debug=1", "invalid value for \"debug\" - given more than once\n"},
      {"debug=%zz", "invalid value for \"debug\" - bad percent-encoding\n"},
      {"gc=abc", gc},
      {"gc=-1", gc},
      {"gc=99999999999999999999", gc},
      {"gc=1&gc=0", "invalid value for \"gc\" - given more than once\n"},
      {"seconds=0", seconds},
      {"seconds=-1", seconds},
      {"seconds=1.5", seconds},
      {"seconds=1s", seconds},
      {"seconds=abc", seconds},
      {"seconds=99999999999999999999", seconds},
      {"seconds=1&seconds=1", "invalid value for \"seconds\" - given more than once\n"},
      {"seconds=%f", "invalid value for \"seconds\" - bad percent-encoding\n"},
      {"seconds=1", unsupported},
      {"seconds=30&debug=1", unsupported},
      {"a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a", "more than 32 query parameters\n"},
  };
  for (const Row& row : rows) {
    const RecordingWriter answer = Get("heap", row.query);
    EXPECT_EQ(answer.head().status, 400) << row.query;
    EXPECT_EQ(answer.head().content_type, kText) << row.query;
    EXPECT_EQ(answer.Field("X-Go-Pprof"), "1") << row.query;
    EXPECT_EQ(answer.Field("Content-Disposition"), "") << row.query;
    EXPECT_EQ(answer.body(), row.body) << row.query;
  }
  EXPECT_EQ(collected_, 0);
}

TEST_F(NamedProfileTest, ADeltaIsWhatChangesMeanwhile) {
  const auto get = [&](std::string query, std::function<absl::Status()> meanwhile) {
    RecordingWriter writer;
    writer.set_on_wait(std::move(meanwhile));
    handler_({.method = Method::kGet, .path = "/debug/pprof/goroutine", .raw_query = std::move(query), .body = {}}, writer);
    return writer;
  };
  // One leaves, and a filter chooses the same fibers both times.
  const RecordingWriter left = get("seconds=300&state=running", [&] {
    std::erase_if(shop_.fibers(), [](const pprof::TestFiber& fiber) { return fiber.snapshot.state == FiberState::kRunning; });
    return absl::OkStatus();
  });
  EXPECT_EQ(left.waited(), std::chrono::seconds(300));
  EXPECT_EQ(left.head().content_type, kBinary);
  EXPECT_EQ(left.Field("Content-Disposition"), "attachment; filename=\"goroutine-delta\"");
  perftools::profiles::Profile profile;
  ASSERT_TRUE(profile.ParseFromString(pprof::Gunzip(left.body()).value_or("")));
  ASSERT_EQ(profile.sample_size(), 1);
  EXPECT_EQ(profile.sample(0).value(0), -1);

  const RecordingWriter gone = get("seconds=1", [] { return absl::CancelledError("the client has left"); });
  EXPECT_EQ(gone.failure().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(gone.ended());
}

TEST_F(NamedProfileTest, CollectsGarbageOnlyWhenAsked) {
  int garbage = 0;
  Add({.name = "memory", .garbage_collected = &garbage});
  for (const char* const query : {"", "gc=", "gc=0", "debug=1"}) {
    (void)Get("memory", query);
    EXPECT_EQ(garbage, 0) << query;
  }
  (void)Get("memory", "gc=1", Method::kHead);
  EXPECT_EQ(garbage, 0);
  (void)Get("memory", "gc=1");
  (void)Get("memory", "gc=7&debug=1");
  EXPECT_EQ(garbage, 2);
}

TEST_F(NamedProfileTest, ADeltaThatCannotBeginIsAnError) {
  Add({.name = "cumulative", .failure = absl::InternalError("no memory"), .collected = &collected_, .has_delta = true});
  const RecordingWriter answer = Get("cumulative", "seconds=5");
  EXPECT_EQ(answer.failure().message(), "failed to collect profile: no memory");
  EXPECT_EQ(answer.waited(), std::chrono::seconds(0));
  EXPECT_EQ(collected_, 1);
  const RecordingWriter head = Get("cumulative", "seconds=5", Method::kHead);
  EXPECT_EQ(head.Field("Content-Disposition"), "attachment; filename=\"cumulative-delta\"");
  EXPECT_EQ(head.waited(), std::chrono::seconds(0));
  EXPECT_EQ(collected_, 1);
}

TEST_F(NamedProfileTest, ADeltaIsOfLimitedLengthAndOfOneForm) {
  for (const char* const query : {"seconds=301", "seconds=9223372036854775807"}) {
    EXPECT_EQ(Get("goroutine", query).body(), "invalid value for \"seconds\" - must be at most 300\n");
  }
  for (const char* const query : {"seconds=1&debug=1", "debug=2&seconds=1"}) {
    EXPECT_EQ(Get("goroutine", query).head().status, 400);
    EXPECT_EQ(Get("goroutine", query).body(), "seconds and debug params are incompatible\n");
  }
  EXPECT_EQ(Get("goroutine", "seconds=1&debug=0").head().status, 200);
}

TEST(IsDeltaRequestTest, IsOneThatHasSeconds) {
  const auto is_delta = [](std::string query) { return IsDeltaRequest({.raw_query = std::move(query)}); };
  EXPECT_TRUE(is_delta("seconds=1"));
  EXPECT_TRUE(is_delta("debug=0&seconds=abc"));
  for (const char* const query : {"", "seconds=", "seconds", "seconds=1&seconds=2", "seconds=%zz", "second=1", "debug=1"}) {
    EXPECT_FALSE(is_delta(query)) << query;
  }
}

// The headers of its blocks in short: "2 [chan receive] 3 [chan receive]".
std::string Blocks(const std::string& dump) {
  std::string blocks;
  for (size_t at = 0; at != std::string::npos && at < dump.size();) {
    constexpr size_t kWord = sizeof("goroutine ") - 1;
    if (!blocks.empty()) blocks += " ";
    blocks += dump.substr(at + kWord, dump.find(']', at) - at - kWord + 1);
    at = dump.find("\n\n", at);
    if (at != std::string::npos) at += 2;
  }
  return blocks;
}

TEST_F(NamedProfileTest, ShowsTheFibersThatPassAFilter) {
  const struct Row {
    const char* query;
    const char* blocks;
    int count;
  } rows[] = {
      {"state=running", "5 [running]", 1},
      {"reason=chan+receive", "2 [chan receive] 3 [chan receive] 4 [chan receive]", 3},
      {"reason=chan%20receive&minwait=1m", "", 0},
      {"minwait=2m", "1 [sync.WaitGroup.Wait, 3 minutes]", 1},
      {"label=route:/orders", "5 [running] 6 [runnable]", 2},
      {"label=route:/orders&label=tenant:K%C3%A4se+%26+%22Co%22%0A", "5 [running]", 1},
      {"label=name:main", "1 [sync.WaitGroup.Wait, 3 minutes]", 1},
      {"fn=Process&state=waiting", "7 [IO wait]", 1},
  };
  for (const Row& row : rows) {
    const RecordingWriter dump = Get("goroutine", std::string("debug=2&") + row.query);
    EXPECT_EQ(dump.head().status, 200) << row.query;
    EXPECT_EQ(Blocks(dump.body()), row.blocks) << row.query;
    EXPECT_EQ(dump.Field("X-Fiberscope-Next-After"), "");
    const RecordingWriter text = Get("goroutine", std::string("debug=1&") + row.query);
    EXPECT_EQ(text.body().find("goroutine profile: total " + std::to_string(row.count) + "\n"), 0u) << row.query;
    const RecordingWriter proto = Get("goroutine", row.query);
    EXPECT_EQ(proto.head().content_type, kBinary) << row.query;
    EXPECT_NE(proto.body(), Get("goroutine").body()) << row.query;
  }
}

TEST_F(NamedProfileTest, TagsMakeAnotherProfile) {
  const RecordingWriter tagged = Get("goroutine", "tags=state,id");
  EXPECT_EQ(tagged.head().status, 200);
  EXPECT_EQ(tagged.head().content_type, kBinary);
  EXPECT_NE(tagged.body(), Get("goroutine").body());
  EXPECT_EQ(Get("goroutine", "tags=").body(), Get("goroutine").body());
  EXPECT_EQ(Get("goroutine", "tags=state&debug=1").head().status, 400);
}

TEST_F(NamedProfileTest, ShowsPageAfterPage) {
  const struct Row {
    const char* query;
    const char* blocks;
    const char* next;
  } rows[] = {
      {"limit=2&reason=chan+receive", "2 [chan receive] 3 [chan receive]", "3"},
      {"limit=2&reason=chan+receive&after=3", "4 [chan receive]", ""},
      {"limit=3&reason=chan+receive", "2 [chan receive] 3 [chan receive] 4 [chan receive]", ""},
      {"limit=1&after=4", "5 [running]", "5"},
      {"limit=10000&after=5", "6 [runnable] 7 [IO wait]", ""},
      {"limit=5&after=7", "", ""},
      {"limit=1&fn=epoll", "7 [IO wait]", ""},
  };
  for (const Row& row : rows) {
    for (const char* const debug : {"debug=2&", "debug=9&"}) {
      const RecordingWriter page = Get("goroutine", std::string(debug) + row.query);
      EXPECT_EQ(page.head().status, 200) << row.query;
      EXPECT_EQ(page.head().content_type, kText);
      EXPECT_EQ(Blocks(page.body()), row.blocks) << row.query;
      EXPECT_EQ(page.Field("X-Fiberscope-Next-After"), row.next) << row.query;
      EXPECT_TRUE(page.ended());
    }
  }
  const RecordingWriter head = Get("goroutine", "debug=2&limit=1", Method::kHead);
  EXPECT_EQ(head.head().status, 200);
  EXPECT_EQ(head.body(), "");
  EXPECT_EQ(head.Field("X-Fiberscope-Next-After"), "");
}

TEST_F(NamedProfileTest, RefusesFiltersItCannotReadWithoutRepeatingThem) {
  for (const std::string query :
       {"state=evil", "reason=evil", "minwait=evil", "label=evil", "fn=(evil", "limit=0", "limit=evil", "limit=1&after=evil",
        "after=1", "state=running&state=running", "minwait=1%zz"}) {
    const size_t last = query.rfind('&') + 1;
    const std::string name = query.substr(last, query.find('=', last) - last);
    const RecordingWriter answer = Get("goroutine", "debug=2&" + query);
    EXPECT_EQ(answer.head().status, 400) << query;
    EXPECT_EQ(answer.head().content_type, kText) << query;
    EXPECT_EQ(answer.Field("X-Go-Pprof"), "1") << query;
    EXPECT_NE(answer.body().find("\"" + name + "\""), std::string::npos) << query << ": " << answer.body();
    EXPECT_EQ(answer.body().find("evil"), std::string::npos) << answer.body();
  }
  EXPECT_EQ(Get("goroutine", "debug=1&limit=5").body(), "\"limit\" parameter needs debug=2\n");
  EXPECT_EQ(Get("goroutine", "after=5").body(), "\"after\" parameter needs debug=2\n");
  EXPECT_EQ(Get("heap", "state=running").head().status, 400);
  EXPECT_EQ(Get("heap", "state=running").body(), "\"state\" parameter is not supported for this profile type\n");
  EXPECT_EQ(collected_, 0);
}

TEST_F(NamedProfileTest, AClientThatLeavesEndsAPage) {
  RecordingWriter writer(/*client_leaves_after=*/1);
  handler_({.path = "/debug/pprof/goroutine", .raw_query = "debug=2&limit=3", .body = {}}, writer);
  EXPECT_FALSE(writer.ended());
  EXPECT_EQ(writer.failure().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(writer.writes(), 1);
}

TEST_F(NamedProfileTest, AnUnknownNameIsA404WhateverTheParametersAndIsNotEchoed) {
  for (const char* const name : {"nope", "Heap", "heap/", "<script>alert(1)</script>", ""}) {
    for (const char* const query : {"", "debug=abc", "seconds=1"}) {
      const RecordingWriter answer = Get(name, query);
      EXPECT_EQ(answer.head().status, 404) << name;
      EXPECT_EQ(answer.head().content_type, kText);
      EXPECT_EQ(answer.Field("X-Go-Pprof"), "1");
      EXPECT_EQ(answer.body(), "Unknown profile\n");
    }
  }
}

// R-B5: HEAD answers at once and collects nothing.
TEST_F(NamedProfileTest, HeadCollectsNothing) {
  const RecordingWriter binary = Get("heap", "", Method::kHead);
  EXPECT_EQ(binary.head().status, 200);
  EXPECT_EQ(binary.head().content_type, kBinary);
  EXPECT_EQ(binary.Field("Content-Disposition"), "attachment; filename=\"heap\"");
  EXPECT_EQ(binary.body(), "");
  EXPECT_TRUE(binary.ended());
  EXPECT_EQ(Get("heap", "debug=2", Method::kHead).head().content_type, kText);
  EXPECT_EQ(Get("nope", "", Method::kHead).head().status, 404);
  EXPECT_EQ(Get("heap", "debug=x", Method::kHead).head().status, 400);
  EXPECT_EQ(collected_, 0);
}

TEST_F(NamedProfileTest, AProfileThatCannotBeCollectedFails) {
  for (const char* const query : {"", "debug=1"}) {
    const RecordingWriter answer = Get("broken", query);
    EXPECT_FALSE(answer.ended());
    EXPECT_EQ(answer.failure().message(), "failed to collect profile: no memory") << query;
  }
}

TEST_F(NamedProfileTest, AClientThatLeavesEndsTheAnswer) {
  for (const char* const query : {"", "debug=1"}) {
    RecordingWriter writer(/*client_leaves_after=*/1);
    handler_({.path = "/debug/pprof/heap", .raw_query = query, .body = {}}, writer);
    EXPECT_FALSE(writer.ended());
    EXPECT_EQ(writer.failure().code(), absl::StatusCode::kCancelled) << query;
  }
}

}  // namespace
}  // namespace fiberscope::server
