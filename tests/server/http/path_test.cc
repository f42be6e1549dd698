#include "server/http/path.h"

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

TEST(ParseTargetTest, SplitsOriginAndAbsoluteForm) {
  struct Row {
    const char* target;
    const char* authority;
    const char* path;
    const char* query;
  };
  static constexpr Row kRows[] = {
      {"/", "", "/", ""},
      {"/a/b?x=1&y=2", "", "/a/b", "x=1&y=2"},
      {"/a?b?c", "", "/a", "b?c"},
      {"/?", "", "/", ""},
      {"//evil/a", "", "//evil/a", ""},
      {"http://localhost:6060/a?b", "localhost:6060", "/a", "b"},
      {"HTTP://LocalHost", "LocalHost", "/", ""},
      {"http://localhost?q", "localhost", "/", "q"},
      {"http://[::1]:6060/a", "[::1]:6060", "/a", ""},
      {"http://user@localhost/", "user@localhost", "/", ""},
  };
  for (const Row& row : kRows) {
    const std::optional<Target> target = ParseTarget(row.target);
    ASSERT_TRUE(target.has_value()) << row.target;
    EXPECT_EQ(target->authority, row.authority) << row.target;
    EXPECT_EQ(target->path, row.path) << row.target;
    EXPECT_EQ(target->query, row.query) << row.target;
  }
}

TEST(ParseTargetTest, RefusesEverythingElse) {
  for (const char* const target : {"", "*", "a/b", "http://", "http:///a", "https://localhost/", "ftp://localhost/", "http:/a",
                                   "localhost:80", "\\a", "?a"}) {
    EXPECT_FALSE(ParseTarget(target).has_value()) << target;
  }
}

TEST(CleanPathTest, LeavesNoEmptyAndNoDotSegments) {
  struct Row {
    const char* path;
    const char* clean;
  };
  static constexpr Row kRows[] = {
      {"/", "/"},
      {"", "/"},
      {"//", "/"},
      {"/.", "/"},
      {"/..", "/"},
      {"/../..", "/"},
      {"/a", "/a"},
      {"/a/", "/a/"},
      {"/a//b/../c/", "/a/c/"},
      {"/a/.", "/a/"},
      {"/a/..", "/"},
      {"/a/b/..", "/a/"},
      {"/../a", "/a"},
      {"/a/./b", "/a/b"},
      {"/.a/..b/c..", "/.a/..b/c.."},
      {"/...", "/..."},
      {"/debug//pprof/./", "/debug/pprof/"},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(CleanPath(row.path), row.clean) << row.path;
    EXPECT_EQ(CleanPath(row.clean), row.clean) << "cleaning twice changes " << row.clean;
  }
}

TEST(IsSafeQueryTest, TakesWhatRfc3986AllowsInAQuery) {
  for (const char* const query : {"", "a=1&b=%20+x", "a/b?c:@!$'()*,;~._-"}) EXPECT_TRUE(IsSafeQuery(query)) << query;
  for (const char* const query : {"<", ">", "\"", " ", "a\r\nb", "#", "\\", "\x80", "\x7f", "{", "|", "^", "`", "["}) {
    EXPECT_FALSE(IsSafeQuery(query)) << query;
  }
}

}  // namespace
}  // namespace fiberscope::server
