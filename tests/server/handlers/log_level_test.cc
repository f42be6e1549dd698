#include "server/handlers/log_level.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;

class LogLevelHandlerTest : public ::testing::Test {
 protected:
  RecordingWriter Get(std::string query = "") { return testing::Answer(handler_, {.raw_query = std::move(query)}); }
  RecordingWriter Put(std::string body, std::string query = "") {
    return testing::Answer(handler_, {.method = Method::kPut, .raw_query = std::move(query), .body = std::move(body)});
  }

  log::Levels levels_{log::Level::kInfo};
  Handler handler_ = MakeLogLevelHandler(levels_);
};

TEST_F(LogLevelHandlerTest, ShowsTheLevelOfAllOrOfAModule) {
  ASSERT_TRUE(levels_.Set("orders", log::Level::kDebug).ok());
  EXPECT_EQ(Get().body(), "{\"level\":\"info\"}\n");
  EXPECT_EQ(Get().head().status, 200);
  EXPECT_EQ(Get().head().content_type, "application/json");
  EXPECT_EQ(Get("module=orders").body(), "{\"level\":\"debug\"}\n");
  EXPECT_EQ(Get("module=orders%2Finventory").body(), "{\"level\":\"debug\"}\n");
  EXPECT_EQ(Get("module=gateway").body(), "{\"level\":\"info\"}\n");
  EXPECT_EQ(Get("module=").body(), "{\"level\":\"info\"}\n");
}

TEST_F(LogLevelHandlerTest, SetsTheLevelByJsonOrForm) {
  struct Row {
    const char* query;
    const char* body;
    const char* level;
  };
  static constexpr Row kRows[] = {
      {"", R"({"level":"debug"})", "debug"},
      {"", R"({ "level" : "warn", "more": [1] })", "warn"},
      {"", "level=error", "error"},
      {"", "level=%69nfo&other=1", "info"},
      {"module=orders", R"({"level":"debug"})", "debug"},
      {"module=orders/inventory", R"({"level":"error"})", "error"},
      {"module=orders/inventory", R"({"level":"inherit"})", "debug"},
      {"module=orders", "level=inherit", "info"},
  };
  for (const Row& row : kRows) {
    const RecordingWriter put = Put(row.body, row.query);
    EXPECT_EQ(put.head().status, 200) << row.body;
    EXPECT_EQ(put.body(), std::string("{\"level\":\"") + row.level + "\"}\n") << row.body;
    EXPECT_EQ(Get(row.query).body(), put.body());
  }
}

TEST_F(LogLevelHandlerTest, WhatItCannotReadChangesNothingAndIsNamed) {
  struct Row {
    const char* query;
    const char* body;
    const char* error;
  };
  static constexpr Row kRows[] = {
      {"", R"({"level":"verbose"})", "unknown level; there are debug, info, warn, error, and for a module inherit"},
      {"", "level=INFO", "unknown level; there are debug, info, warn, error, and for a module inherit"},
      {"", R"({"level":"inherit"})", "unknown level; there are debug, info, warn, error, and for a module inherit"},
      {"", R"({"level":3})", R"(the body has no string \"level\")"},
      {"", "{}", R"(the body has no string \"level\")"},
      {"", "", "the body is neither a JSON object nor a form with a level"},
      {"", "debug", "the body is neither a JSON object nor a form with a level"},
      {"", "level=debug&level=info", R"(invalid value for \"level\" - )"},
      {"", R"({"level":"debug")", "the body is not JSON: "},
      {"module=a&module=b", "level=debug", R"(invalid value for \"module\" - )"},
      {"module=%zz", "level=debug", R"(invalid value for \"module\" - )"},
  };
  for (const Row& row : kRows) {
    const RecordingWriter put = Put(row.body, row.query);
    EXPECT_EQ(put.head().status, 400) << row.body;
    EXPECT_EQ(put.head().content_type, "application/json");
    EXPECT_TRUE(put.body().starts_with(std::string("{\"error\":\"") + row.error)) << put.body();
    EXPECT_EQ(Get().body(), "{\"level\":\"info\"}\n");
  }
  EXPECT_EQ(Put("level=debug", "module=" + std::string(257, 'x')).head().status, 400);
  // Deeply nested: the parser has a limit.
  EXPECT_EQ(Put("{\"level\":" + std::string(100'000, '[')).head().status, 400);
}

}  // namespace
}  // namespace fiberscope::server
