#include "server/http/router.h"

#include <string>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

Router TestRouter() {
  // Not sorted: the order must not matter.
  return Router({
      {.path = "/debug/pprof/"},
      {.path = "/debug/pprof/", .exact = true},
      {.path = "/", .exact = true},
      {.path = "/debug/pprof/symbol", .post = true},
      {.path = "/debug/pprof/cmdline"},
      {.path = "/debug/log/level", .put = true},
  });
}

Decision Decide(const Router& router, Method method, std::string path, std::string query = "") {
  return router.Decide({.method = method, .path = std::move(path), .raw_query = std::move(query), .body = {}});
}

// "path", with '=' in front if exact, of the route; else the status, and Location or Allow.
std::string Outcome(const Decision& decision) {
  if (decision.route != nullptr) return (decision.route->exact ? "=" : "") + decision.route->path;
  std::string outcome = std::to_string(decision.response.head.status);
  for (const auto& [name, value] : decision.response.head.fields) outcome += " " + name + ": " + value;
  return outcome;
}

// R-B5: GET and HEAD everywhere, POST where a route takes it, 405 with Allow otherwise.
TEST(RouterTest, DecidesByPathAndMethod) {
  struct Row {
    Method method;
    const char* path;
    const char* outcome;
  };
  static constexpr Row kRows[] = {
      {Method::kGet, "/", "=/"},
      {Method::kGet, "/debug/pprof/", "=/debug/pprof/"},
      {Method::kHead, "/debug/pprof/", "=/debug/pprof/"},
      {Method::kGet, "/debug/pprof/heap", "/debug/pprof/"},
      {Method::kGet, "/debug/pprof/example.com/x.files", "/debug/pprof/"},
      {Method::kGet, "/debug/pprof/cmdline", "/debug/pprof/cmdline"},
      {Method::kGet, "/debug/pprof/cmdline/", "/debug/pprof/"},
      {Method::kHead, "/debug/pprof/symbol", "/debug/pprof/symbol"},
      {Method::kPost, "/debug/pprof/symbol", "/debug/pprof/symbol"},
      {Method::kPost, "/debug/pprof/symbols", "405 Allow: GET, HEAD"},
      {Method::kPost, "/debug/pprof/cmdline", "405 Allow: GET, HEAD"},
      {Method::kPost, "/debug/pprof/", "405 Allow: GET, HEAD"},
      {Method::kOther, "/debug/pprof/heap", "405 Allow: GET, HEAD"},
      {Method::kOther, "/debug/pprof/symbol", "405 Allow: GET, HEAD, POST"},
      {Method::kOther, "/", "405 Allow: GET, HEAD"},
      {Method::kGet, "/nope", "404"},
      {Method::kOther, "/nope", "404"},
      {Method::kGet, "/Debug/pprof/", "404"},
      {Method::kGet, "/debug/", "404"},
      // To a path with a slash, and to the clean path.
      {Method::kGet, "/debug/pprof", "307 Location: /debug/pprof/"},
      {Method::kPost, "/debug/pprof", "307 Location: /debug/pprof/"},
      {Method::kGet, "//debug/pprof/", "307 Location: /debug/pprof/"},
      {Method::kGet, "/debug//pprof", "307 Location: /debug/pprof/"},
      {Method::kGet, "/debug/./pprof/cmdline", "307 Location: /debug/pprof/cmdline"},
      {Method::kGet, "/debug/pprof/heap/..", "307 Location: /debug/pprof/"},
      {Method::kGet, "/debug/pprof/../../..", "307 Location: /"},
      // Never to a path that the client made up.
      {Method::kGet, "/debug/pprof//heap", "404"},
      {Method::kGet, "//evil.example/..//x", "404"},
      {Method::kGet, "", "307 Location: /"},
  };
  const Router router = TestRouter();
  for (const Row& row : kRows) EXPECT_EQ(Outcome(Decide(router, row.method, row.path)), row.outcome) << row.path;
}

// R-B4: what changes a setting is taken only with the header that no form or link sends.
TEST(RouterTest, APutMustBeOneThatMayChangeSomething) {
  const Router router = TestRouter();
  Request request{.method = Method::kPut, .path = "/debug/log/level"};
  const Decision forbidden = router.Decide(request);
  EXPECT_EQ(forbidden.route, nullptr);
  EXPECT_EQ(forbidden.response.head.status, 403);
  EXPECT_NE(forbidden.response.body.find("X-Fiberscope-Change"), std::string::npos);
  request.may_change = true;
  EXPECT_EQ(Outcome(router.Decide(request)), "/debug/log/level");
  request.path = "/debug/pprof/symbol";
  EXPECT_EQ(Outcome(router.Decide(request)), "405 Allow: GET, HEAD, POST");
  request = {.method = Method::kPost, .path = "/debug/log/level"};
  EXPECT_EQ(Outcome(router.Decide(request)), "405 Allow: GET, HEAD, PUT");
}

TEST(RouterTest, ARedirectKeepsAHarmlessQueryAndDropsOthers) {
  const Router router = TestRouter();
  const Decision kept = Decide(router, Method::kGet, "/debug/pprof", "a=1&b='2'");
  EXPECT_EQ(Outcome(kept), "307 Location: /debug/pprof/?a=1&b='2'");
  EXPECT_EQ(kept.response.head.content_type, "text/html; charset=utf-8");
  EXPECT_EQ(kept.response.body, "<a href=\"/debug/pprof/?a=1&amp;b=&#39;2&#39;\">Temporary Redirect</a>.\n\n");
  EXPECT_EQ(Outcome(Decide(router, Method::kGet, "/debug/pprof", "\"><script>")), "307 Location: /debug/pprof/");
  EXPECT_EQ(Outcome(Decide(router, Method::kGet, "/debug/pprof", "a\r\nSet-Cookie: b")), "307 Location: /debug/pprof/");
}

TEST(RouterTest, ErrorsHaveGosWords) {
  const Router router = TestRouter();
  const Decision missing = Decide(router, Method::kGet, "/<script>");
  EXPECT_EQ(missing.response.body, "404 page not found\n");
  EXPECT_EQ(missing.response.head.content_type, "text/plain; charset=utf-8");
  const Decision method = Decide(router, Method::kPost, "/");
  EXPECT_EQ(method.response.body, "Method Not Allowed\n");
  EXPECT_EQ(method.response.head.content_type, "text/plain; charset=utf-8");
}

}  // namespace
}  // namespace fiberscope::server
