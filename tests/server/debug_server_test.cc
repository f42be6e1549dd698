// The debug server as its users and its clients see it: options in, bytes out.
#include "server/debug_server.h"

#include <prometheus/counter.h>
#include <prometheus/registry.h>
#include <sched.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "pprof/custom_profile.h"
#include "runtime/fiber.h"
#include "runtime/labels.h"
#include "runtime/request.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "server/log/levels.h"
#include "server/requests/request_registry.h"
#include "tests/server/handlers/fake_source.h"
#include "tests/testing/raw_client.h"

namespace fiberscope::server {

// To be looked up by its address.
__attribute__((noinline)) int WellKnownFunction(int value) { return value + 1; }

namespace {

using std::chrono::milliseconds;
using testing::FakeSource;
using testing::Fetch;
using testing::HttpReply;
using testing::RawClient;

constexpr char kText[] = "text/plain; charset=utf-8";
constexpr char kHtml[] = "text/html; charset=utf-8";
constexpr char kJson[] = "application/json; charset=utf-8";
constexpr char kMetrics[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr char kBinary[] = "application/octet-stream";

std::unique_ptr<DebugServer> StartServer(DebugServerOptions options = {}) {
  options.port = 0;
  auto server = DebugServer::Start(std::move(options));
  EXPECT_TRUE(server.ok()) << server.status();
  return server.ok() ? *std::move(server) : nullptr;
}

absl::Status StartError(DebugServerOptions options) { return DebugServer::Start(std::move(options)).status(); }

TEST(DebugServerTest, AnswersEveryEndpointInItsForm) {
  struct Row {
    const char* method;
    const char* target;
    int status;
    const char* content_type;
    const char* disposition;
    const char* body;  // which it contains
  };
  static constexpr Row kRows[] = {
      {"GET", "/", 200, kText, "", "/debug/pprof/"},
      {"GET", "/debug/pprof/", 200, kHtml, "", "<a href='goroutine?debug=1'>goroutine</a>"},
      {"GET", "/debug/pprof/?debug=abc", 200, kHtml, "", "<a href='symbol?debug=1'>symbol</a>"},
      {"HEAD", "/debug/pprof/", 200, kHtml, "", ""},
      {"GET", "/debug/pprof", 307, kHtml, "", "<a href=\"/debug/pprof/\">Temporary Redirect</a>.\n\n"},
      {"GET", "/debug/pprof/goroutine", 200, kBinary, "attachment; filename=\"goroutine\"", "\x1f\x8b"},
      {"GET", "/debug/pprof/%67oroutine", 200, kBinary, "attachment; filename=\"goroutine\"", "\x1f\x8b"},
      {"GET", "/debug/pprof/goroutine?debug=1", 200, kText, "", "goroutine profile: total "},
      {"GET", "/debug/pprof/goroutine?debug=2", 200, kText, "", ""},
      {"HEAD", "/debug/pprof/goroutine", 200, kBinary, "attachment; filename=\"goroutine\"", ""},
      {"GET", "/debug/pprof/cmdline", 200, kText, "", "debug_server_test"},
      {"GET", "/debug/pprof/symbol", 200, kText, "", "num_symbols: 1\n"},
      {"HEAD", "/debug/pprof/symbol", 200, kText, "", ""},
      {"POST", "/debug/pprof/symbol", 200, kText, "", "num_symbols: 1\n"},
      {"GET", "/debug/pprof/goroutine?debug=abc", 400, kText, "", "invalid value for \"debug\""},
      {"GET", "/debug/pprof/goroutine?debug=99999999999999999999", 400, kText, "", "invalid value for \"debug\""},
      {"GET", "/debug/pprof/goroutine?debug=-1", 400, kText, "", "invalid value for \"debug\""},
      {"GET", "/debug/pprof/goroutine?debug=1&debug=2", 400, kText, "", "invalid value for \"debug\""},
      {"GET", "/debug/pprof/goroutine?seconds=-1", 400, kText, "", "invalid value for \"seconds\""},
      {"GET", "/debug/pprof/goroutine?state=waiting&fn=nothing", 200, kBinary, "attachment; filename=\"goroutine\"", "\x1f\x8b"},
      {"GET", "/debug/pprof/goroutine?debug=2&limit=5", 200, kText, "", ""},
      {"GET", "/debug/pprof/goroutine?fn=(", 400, kText, "", "invalid value for \"fn\""},
      {"GET", "/debug/pprof/goroutine?limit=5", 400, kText, "", "\"limit\" parameter needs debug=2"},
      {"GET", "/debug/pprof/block", 200, kBinary, "attachment; filename=\"block\"", "\x1f\x8b"},
      {"GET", "/debug/pprof/block?debug=1", 200, kText, "", "--- contention:\ncycles/second=1000000000\n"},
      {"GET", "/debug/pprof/mutex", 200, kBinary, "attachment; filename=\"mutex\"", "\x1f\x8b"},
      {"GET", "/debug/pprof/mutex?debug=1", 200, kText, "", "--- mutex:\ncycles/second=1000000000\nsampling period=0\n"},
      {"GET", "/debug/pprof/heap", 501, kText, "", "this program does not allocate with tcmalloc: link it with -ltcmalloc"},
      {"GET", "/debug/pprof/heap?gc=1&debug=1", 501, kText, "", "this program does not allocate with tcmalloc"},
      {"GET", "/debug/pprof/allocs", 501, kText, "", "this program does not allocate with tcmalloc"},
      {"GET", "/debug/pprof/profile?seconds=1", 200, kBinary, "attachment; filename=\"profile\"", "\x1f\x8b"},
      {"HEAD", "/debug/pprof/profile", 200, kBinary, "attachment; filename=\"profile\"", ""},
      {"GET", "/debug/pprof/profile?seconds=301", 400, kText, "", "must be an integer from 1 to 300\n"},
      {"GET", "/debug/pprof/goroutine?seconds=1", 200, kBinary, "attachment; filename=\"goroutine-delta\"", "\x1f\x8b"},
      {"GET", "/debug/pprof/goroutine?seconds=1&debug=1", 400, kText, "", "seconds and debug params are incompatible\n"},
      {"GET", "/debug/pprof/threads?seconds=1", 400, kText, "", "\"seconds\" parameter is not supported for this profile type\n"},
      {"GET", "/debug/vars", 200, kJson, "", "\"memstats\": {\"Alloc\":null,"},
      {"HEAD", "/debug/vars", 200, kJson, "", ""},
      {"GET", "/metrics", 200, kMetrics, "", "\n# TYPE go_goroutines gauge\ngo_goroutines 0\n"},
      {"GET", "/metrics?name%5B%5D=x", 200, kMetrics, "", "\nprocess_start_time_seconds "},
      {"HEAD", "/metrics", 200, kMetrics, "", ""},
      {"POST", "/metrics", 405, kText, "", "Method Not Allowed\n"},
      {"POST", "/debug/vars", 405, kText, "", "Method Not Allowed\n"},
      {"GET", "/debug/vars/x", 404, kText, "", "404 page not found\n"},
      {"GET", "/pprof/cmdline", 200, kText, "", "debug_server_test"},
      {"GET", "/pprof/contention", 200, kText, "", "--- contention:\ncycles/second=1000000000\nsampling period=1\n"},
      {"HEAD", "/pprof/contention", 200, kText, "", ""},
      {"GET", "/pprof/growth", 501, kText, "", "this program does not allocate with tcmalloc"},
      {"GET", "/pprof/heap", 501, kText, "", "this program does not allocate with tcmalloc"},
      {"GET", "/pprof/profile?seconds=1", 200, kBinary, "attachment; filename=\"profile\"", "r-xp"},
      {"GET", "/pprof/profile?seconds=0", 400, kText, "", "must be an integer from 1 to 300\n"},
      {"GET", "/pprof/symbol", 200, kText, "", "num_symbols: 1\n"},
      {"POST", "/pprof/symbol", 200, kText, "", "num_symbols: 1\n"},
      {"POST", "/pprof/heap", 405, kText, "", "Method Not Allowed\n"},
      {"GET", "/pprof/", 404, kText, "", "404 page not found\n"},
      {"GET", "/debug/pprof/goroutineleak", 404, kText, "", "Unknown profile\n"},
      {"GET", "/debug/pprof/", 200, kHtml, "", "<a href='wall?debug=1'>wall</a>"},
      {"GET", "/debug/pprof/wall?seconds=1", 200, kBinary, "attachment; filename=\"wall\"", "\x1f\x8b"},
      {"HEAD", "/debug/pprof/wall", 200, kBinary, "attachment; filename=\"wall\"", ""},
      {"GET", "/debug/pprof/wall?seconds=301", 400, kText, "", "invalid value for \"seconds\""},
      {"POST", "/debug/pprof/wall", 405, kText, "", "Method Not Allowed"},
      {"HEAD", "/debug/fgprof", 200, kBinary, "attachment; filename=\"wall\"", ""},
      {"GET", "/debug/fgprof?seconds=1&format=folded", 200, kText, "", ""},
      {"GET", "/debug/fgprof?format=svg", 400, kText, "", "invalid value for \"format\""},
      {"GET", "/debug/fgprof/", 404, kText, "", ""},
      {"GET", "/debug/pprof/threadcreate", 200, kBinary, "attachment; filename=\"threadcreate\"", "\x1f\x8b"},
      {"GET", "/debug/pprof/threadcreate?debug=1", 200, kText, "", "threadcreate profile: total "},
      {"GET", "/debug/pprof/goroutineleak?debug=1", 404, kText, "", "Unknown profile\n"},
      {"GET", "/debug/pprof/nope", 404, kText, "", "Unknown profile\n"},
      {"GET", "/debug/pprof/Goroutine", 404, kText, "", "Unknown profile\n"},
      {"GET", "/debug/pprof/symbol/", 404, kText, "", "Unknown profile\n"},
      {"GET", "/elsewhere", 404, kText, "", "404 page not found\n"},
      {"POST", "/debug/pprof/goroutine", 405, kText, "", "Method Not Allowed\n"},
      {"DELETE", "/debug/pprof/", 405, kText, "", "Method Not Allowed\n"},
      {"PUT", "/debug/pprof/symbol", 405, kText, "", "Method Not Allowed\n"},
  };
  const auto server = StartServer();
  for (const Row& row : kRows) {
    const HttpReply reply = Fetch(server->port(), row.target, row.method);
    EXPECT_EQ(reply.status, row.status) << row.method << " " << row.target;
    EXPECT_TRUE(reply.complete) << row.method << " " << row.target;
    EXPECT_EQ(reply.Field("Content-Type"), row.content_type) << row.method << " " << row.target;
    EXPECT_EQ(reply.Field("Content-Disposition"), row.disposition) << row.method << " " << row.target;
    EXPECT_NE(reply.body.find(row.body), std::string::npos) << row.method << " " << row.target << ": " << reply.body;
    EXPECT_EQ(reply.Field("X-Content-Type-Options"), "nosniff");
    const bool by_handler = row.status == 400 || row.status == 501 || row.body == std::string("Unknown profile\n");
    EXPECT_EQ(reply.Field("X-Go-Pprof"), by_handler ? "1" : "");
    EXPECT_FALSE(reply.Has("Content-Encoding"));
  }
}

TEST(DebugServerTest, NeverEchoesWhatTheClientSays) {
  const auto server = StartServer();
  for (const std::string target : {"/debug/pprof/evil%3Cscript%3E", "/evil", "/debug/pprof/goroutine?debug=evil",
                                   "/debug/pprof/goroutine?evil=1&debug=x",
                                   "/debug/pprof/goroutine?state=evil", "/debug/pprof/goroutine?reason=evil",
                                   "/debug/pprof/goroutine?minwait=evil", "/debug/pprof/goroutine?label=evil",
                                   "/debug/pprof/goroutine?fn=(evil", "/debug/pprof/goroutine?debug=2&limit=evil",
                                   "/debug/pprof/goroutine?debug=2&limit=1&after=evil", "/debug/pprof/symbol?evil", "/%zzevil"}) {
    const HttpReply reply = Fetch(server->port(), target);
    EXPECT_NE(reply.status, 0) << target;
    EXPECT_EQ(reply.body.find("evil"), std::string::npos) << target;
    for (const auto& [name, value] : reply.fields) EXPECT_EQ(value.find("evil"), std::string::npos) << target;
  }
}

TEST(DebugServerTest, TheRedirectKeepsTheQuery) {
  const auto server = StartServer();
  EXPECT_EQ(Fetch(server->port(), "/debug/pprof?a=1&b=2").Field("Location"), "/debug/pprof/?a=1&b=2");
  EXPECT_EQ(Fetch(server->port(), "//debug/./pprof?a=1").Field("Location"), "/debug/pprof/?a=1");
}

TEST(DebugServerTest, ShowsVariablesThatArePublishedInIt) {
  const auto server = StartServer();
  (*server->vars().NewInt("orders"))->Add(3);
  const std::string body = Fetch(server->port(), "/debug/vars").body;
  EXPECT_EQ(body.find("{\n\"cmdline\": [\""), 0u) << body;
  EXPECT_NE(body.find("},\n\"orders\": 3\n}\n"), std::string::npos) << body;
}

TEST(DebugServerTest, ServersMayShareVariables) {
  auto vars = std::make_shared<VarRegistry>();
  (*vars->NewString("cmdline"))->Set("secret");
  const auto one = StartServer({.vars = vars});
  const auto two = StartServer({.vars = vars});
  EXPECT_EQ(&one->vars(), vars.get());
  for (const auto* server : {&one, &two}) {
    EXPECT_EQ(Fetch((*server)->port(), "/debug/vars").body.find("{\n\"cmdline\": \"secret\",\n\"fiberscope\": {"), 0u);
  }
}

TEST(DebugServerTest, ShowsWhatAHealthWatchHasKept) {
  EXPECT_EQ(Fetch(StartServer()->port(), "/debug/history").status, 404);
  const auto watch = HealthWatch::Start({.period = milliseconds(10)});
  ASSERT_TRUE(watch.ok()) << watch.status();
  while ((*watch)->samples() == 0) sched_yield();
  const auto server = StartServer({.health_watch = watch->get()});
  const HttpReply reply = Fetch(server->port(), "/debug/history");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.Field("Content-Type"), kJson);
  EXPECT_EQ(reply.body.find("{\"period_seconds\":0.01,\"samples\":"), 0u) << reply.body;
  EXPECT_NE(Fetch(server->port(), "/metrics").body.find("\nfiber_watch_samples_total "), std::string::npos);
}

TEST(DebugServerTest, ShowsMetricsOfTheApplicationsOwn) {
  auto registry = std::make_shared<prometheus::Registry>();
  const auto server = StartServer({.metrics = {registry}});
  auto& orders = prometheus::BuildCounter().Name("shop_orders_total").Help("Orders.").Register(*registry);
  orders.Add({{"route", "a\"b\\c\nd"}}).Increment(3);
  const std::string body = Fetch(server->port(), "/metrics").body;
  EXPECT_NE(body.find("# HELP shop_orders_total Orders.\n"
                      "# TYPE shop_orders_total counter\n"
                      "shop_orders_total{route=\"a\\\"b\\\\c\\nd\"} 3\n"),
            std::string::npos)
      << body;
}

TEST(DebugServerTest, ShowsAndCountsTheApplicationsRequests) {
  EXPECT_EQ(Fetch(StartServer()->port(), "/debug/requests").status, 404);
  const auto requests = std::make_shared<RequestRegistry>();
  const auto server = StartServer({.requests = requests});
  const RequestIdentity identity = AcceptRequest({.request_id = "r-1"});
  const RequestRegistry::Place place = requests->Begin("/order", "GET", identity, FiberId{7});
  EXPECT_NE(Fetch(server->port(), "/debug/requests").body.find(" request_id=r-1 "), std::string::npos);
  EXPECT_EQ(Fetch(server->port(), "/debug/requests?format=json").Field("Content-Type"), kJson);
  EXPECT_EQ(Fetch(server->port(), "/debug/requests?limit=x").status, 400);
  EXPECT_EQ(Fetch(server->port(), "/debug/requests", "POST").status, 405);
  EXPECT_NE(Fetch(server->port(), "/metrics").body.find("\nhttp_server_in_flight{route=\"/order\"} 1\n"), std::string::npos);
  requests->End(place, 200);
}

TEST(DebugServerTest, CountsItsOwnAnswersByEndpoint) {
  const auto server = StartServer();
  for (const char* target : {"/debug/pprof/goroutine?debug=1", "/debug/pprof/x1", "/debug/pprof/x2", "/debug/pprof/"}) {
    Fetch(server->port(), target);
  }
  const std::string body = Fetch(server->port(), "/metrics").body;
  for (const char* line : {"fiber_debug_request_seconds_count{endpoint=\"/debug/pprof/goroutine\"} 1\n",
                           "fiber_debug_request_seconds_count{endpoint=\"/debug/pprof/no such profile\"} 2\n",
                           "fiber_debug_request_seconds_count{endpoint=\"/debug/pprof/\"} 1\n",
                           "fiber_debug_requests_in_flight{endpoint=\"/metrics\"} 1\n"}) {
    EXPECT_NE(body.find(line), std::string::npos) << line << body;
  }
}

TEST(DebugServerTest, NamesAFunctionByItsAddress) {
  const auto server = StartServer();
  const std::string address = absl::StrFormat("0x%x", reinterpret_cast<uintptr_t>(&WellKnownFunction));
  const HttpReply reply = Fetch(server->port(), "/debug/pprof/symbol", "POST", "", address);
  EXPECT_EQ(reply.body.find("num_symbols: 1\n" + address + " "), 0u) << reply.body;
  EXPECT_NE(reply.body.find("WellKnownFunction"), std::string::npos) << reply.body;
}

TEST(DebugServerTest, ServesTheCatalogItIsGiven) {
  auto catalog = std::make_shared<pprof::ProfileCatalog>();
  ASSERT_TRUE(catalog->Add(std::make_unique<FakeSource>(FakeSource::Options{.name = "shop/orders"})).ok());
  ASSERT_TRUE(
      catalog->Add(std::make_unique<FakeSource>(FakeSource::Options{.name = "x\x01y\"z"})).ok());
  ASSERT_TRUE(
      catalog->Add(std::make_unique<FakeSource>(FakeSource::Options{.name = "bad", .failure = absl::InternalError("why")})).ok());
  const auto server = StartServer({.catalog = catalog});
  EXPECT_EQ(Fetch(server->port(), "/debug/pprof/shop/orders?debug=1").body, "shop/orders text 1\n");
  EXPECT_EQ(Fetch(server->port(), "/debug/pprof/goroutine").status, 404);
  const HttpReply failed = Fetch(server->port(), "/debug/pprof/bad");
  EXPECT_EQ(failed.status, 500);
  EXPECT_EQ(failed.body, "failed to collect profile: why\n");
  EXPECT_FALSE(failed.Has("Content-Disposition"));
  // R-H6: a name that would break the field loses the field, not the answer.
  const HttpReply odd = Fetch(server->port(), "/debug/pprof/x%01y%22z");
  EXPECT_EQ(odd.status, 200);
  EXPECT_FALSE(odd.Has("Content-Disposition"));
}

// R-O3: whoever names a fiber or sets a label writes no line of the dump.
TEST(DebugServerTest, ServesProfilesThatAreMadeLater) {
  const auto server = StartServer();
  EXPECT_EQ(Fetch(server->port(), "/debug/pprof/example.com/x.files").status, 404);
  const absl::StatusOr<pprof::CustomProfile*> files = pprof::NewProfile("example.com/x.files");
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_TRUE((*files)->Add(1).ok());
  ASSERT_TRUE(pprof::NewProfile("<b>&'x?y#z%").ok());

  const HttpReply text = Fetch(server->port(), "/debug/pprof/example.com/x.files?debug=1");
  EXPECT_EQ(text.status, 200);
  EXPECT_EQ(text.body.find("example.com/x.files profile: total 1\n1 @ 0x"), 0u) << text.body;
  const HttpReply binary = Fetch(server->port(), "/debug/pprof/example.com/x.files");
  EXPECT_EQ(binary.status, 200);
  EXPECT_EQ(binary.Field("Content-Disposition"), "attachment; filename=\"example.com/x.files\"");
  const HttpReply delta = Fetch(server->port(), "/debug/pprof/example.com/x.files?seconds=1");
  EXPECT_EQ(delta.status, 400);
  EXPECT_EQ(delta.body, "\"seconds\" parameter is not supported for this profile type\n");
  const HttpReply odd = Fetch(server->port(), "/debug/pprof/%3Cb%3E%26%27x%3Fy%23z%25?debug=1");
  EXPECT_EQ(odd.body, "<b>&'x?y#z% profile: total 0\n");
  EXPECT_EQ(odd.Field("Content-Type"), kText);

  const std::string index = Fetch(server->port(), "/debug/pprof/").body;
  for (const char* line : {"<td>1</td><td><a href='example.com/x.files?debug=1'>example.com/x.files</a></td>",
                           "<td>0</td><td><a href='%3Cb%3E%26%27x%3Fy%23z%25?debug=1'>&lt;b&gt;&amp;&#39;x?y#z%</a></td>",
                           "<li><div class=profile-name>example.com/x.files: </div> </li>"}) {
    EXPECT_NE(index.find(line), std::string::npos) << line << " is not in " << index;
  }
}

TEST(DebugServerTest, NamesAndLabelsCannotForgeALineOfTheDump) {
  const auto server = StartServer();
  Scheduler scheduler({.processors = 1});
  Channel<int> never(0, "evil channel\nforged by channel");
  Fiber fiber = scheduler.Spawn([&] { (void)never.Receive(); },
                                {.name = "evil\nforged by name\x7f\xff",
                                 .labels = Labels{{"k\nforged by key", "v\r\nforged by label"}}});
  while (fiber.state() != FiberState::kWaiting) sched_yield();
  for (const char* const form : {"debug=1", "debug=2"}) {
    const HttpReply reply = Fetch(server->port(), std::string("/debug/pprof/goroutine?") + form);
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.body.find("forged by label"), std::string::npos) << reply.body;
    EXPECT_EQ(reply.body.find("\nforged"), std::string::npos) << reply.body;
    EXPECT_EQ(reply.body.find('\r'), std::string::npos);
    EXPECT_EQ(reply.body.find('\x7f'), std::string::npos);
    EXPECT_EQ(reply.body.find('\xff'), std::string::npos);
  }
  never.Close();
  fiber.Join();
}

TEST(DebugServerTest, SaysWhereTheNextPageBegins) {
  const auto server = StartServer();
  Scheduler scheduler({.processors = 1});
  Channel<int> never(0, "never");
  std::vector<Fiber> fibers;
  for (int i = 0; i < 3; ++i) {
    fibers.push_back(scheduler.Spawn([&] { (void)never.Receive(); }, {.name = "parked"}));
    while (fibers.back().state() != FiberState::kWaiting) sched_yield();
  }
  const std::string target = "/debug/pprof/goroutine?debug=2&label=name:parked&limit=2";
  const HttpReply first = Fetch(server->port(), target);
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.Field("X-Fiberscope-Next-After"), std::to_string(fibers[1].id().value));
  const HttpReply last = Fetch(server->port(), target + "&after=" + first.Field("X-Fiberscope-Next-After"));
  EXPECT_EQ(last.body.find("goroutine " + std::to_string(fibers[2].id().value) + " [chan receive] {name: parked}:\n"), 0u);
  EXPECT_FALSE(last.Has("X-Fiberscope-Next-After"));
  never.Close();
  for (Fiber& fiber : fibers) fiber.Join();
}

// R-A1: and nothing else without being told twice.
TEST(DebugServerTest, ListensOnTheLoopbackAddressUnlessToldOtherwise) {
  const auto server = StartServer();
  EXPECT_EQ(server->address(), "127.0.0.1:" + std::to_string(server->port()));
  EXPECT_EQ(StartServer({.address = "::1"})->address().find("[::1]:"), 0u);
  EXPECT_EQ(StartServer({.address = "127.0.0.9"})->address().find("127.0.0.9:"), 0u);
  for (const char* const address : {"0.0.0.0", "::", "192.0.2.1", "::ffff:127.0.0.1", "10.0.0.1", "fe80::1"}) {
    const absl::Status refused = StartError({.address = address, .port = 0});
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << address;
    EXPECT_EQ(refused.message().find("debug server: "), 0u);
    EXPECT_NE(refused.message().find(address), std::string::npos) << refused;
    EXPECT_NE(refused.message().find("allow_insecure_remote"), std::string::npos) << refused;
  }
  EXPECT_NE(StartServer({.address = "0.0.0.0", .allow_insecure_remote = true}), nullptr);
}

TEST(DebugServerTest, APortInUseIsOneClearError) {
  const auto server = StartServer();
  const absl::Status status = StartError({.port = server->port()});
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(status.message(), "debug server: listen on " + server->address() + ": Address already in use");
}

// R-O3: whoever writes the configuration does not write the log.
TEST(DebugServerTest, AnAddressThatIsNoneIsQuotedSafely) {
  EXPECT_EQ(StartError({.address = "localhost"}).message(), "debug server: \"localhost\" is not an IP address");
  EXPECT_EQ(StartError({.address = "a\nforged"}).message(), "debug server: \"a\\nforged\" is not an IP address");
  EXPECT_LT(StartError({.address = std::string(100'000, 'x')}).message().size(), 400u);
}

TEST(DebugServerTest, RefusesOptionsThatMakeNoSense) {
  const DebugServerOptions wrong[] = {
      {.max_connections = 0},
      {.header_timeout = milliseconds(0)},
      {.body_timeout = milliseconds(-1)},
      {.idle_timeout = std::chrono::hours(25)},
      {.write_stall_timeout = milliseconds::max()},
      {.drain_timeout = milliseconds(-1)},
      {.dump_threads = 0},
      {.dump_threads = 65},
      {.dump_queue = -1},
      {.metrics = {nullptr}},
  };
  for (DebugServerOptions options : wrong) {
    options.port = 0;
    const absl::Status status = StartError(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(status.message().find("debug server: "), 0u) << status;
  }
  EXPECT_NE(StartServer({.drain_timeout = milliseconds(0), .dump_queue = 0}), nullptr);
}

// R-L1.
TEST(DebugServerTest, StopsAsOftenAsItIsTold) {
  const auto server = StartServer();
  RawClient idle;
  ASSERT_TRUE(idle.Connect(server->port()));
  server->Stop();
  server->Stop();
  EXPECT_EQ(idle.AwaitEnd(), RawClient::End::kReset);
  EXPECT_NE(server->port(), 0);
}

// R-B4: a page of another site can neither send the header nor hide where it comes from.
TEST(DebugServerTest, LogLevelsAreChangedByThoseWhoMay) {
  log::Levels levels(log::Level::kInfo);
  DebugServerOptions options;
  options.port = 0;
  options.log_levels = &levels;
  const auto server = *DebugServer::Start(options);
  struct Row {
    const char* method;
    const char* fields;
    int status;
    const char* body;  // which it contains
    log::Level level;  // afterwards
  };
  static constexpr Row kRows[] = {
      {"GET", "", 200, "{\"level\":\"info\"}\n", log::Level::kInfo},
      {"HEAD", "", 200, "", log::Level::kInfo},
      {"PUT", "", 403, "X-Fiberscope-Change", log::Level::kInfo},
      {"PUT", "Sec-Fetch-Site: same-origin\r\n", 403, "X-Fiberscope-Change", log::Level::kInfo},
      {"PUT", "X-Fiberscope-Change: 1\r\nSec-Fetch-Site: cross-site\r\n", 403, "", log::Level::kInfo},
      {"PUT", "X-Fiberscope-Change: 1\r\nSec-Fetch-Site: same-site\r\n", 403, "", log::Level::kInfo},
      {"POST", "X-Fiberscope-Change: 1\r\n", 405, "Method Not Allowed", log::Level::kInfo},
      {"PUT", "X-Fiberscope-Change: 1\r\n", 200, "{\"level\":\"debug\"}\n", log::Level::kDebug},
      {"PUT", "X-Fiberscope-Change: 1\r\nSec-Fetch-Site: same-origin\r\n", 200, "debug", log::Level::kDebug},
      {"PUT", "X-Fiberscope-Change: 1\r\nSec-Fetch-Site: none\r\n", 200, "debug", log::Level::kDebug},
  };
  for (const Row& row : kRows) {
    const bool has_body = std::string_view(row.method) == "PUT" || std::string_view(row.method) == "POST";
    const HttpReply reply =
        Fetch(server->port(), "/debug/log/level", row.method, row.fields, has_body ? "{\"level\":\"debug\"}" : "");
    EXPECT_EQ(reply.status, row.status) << row.fields;
    EXPECT_NE(reply.body.find(row.body), std::string::npos) << reply.body;
    EXPECT_EQ(levels.Of(""), row.level) << row.fields;
  }
}

TEST(DebugServerTest, WithoutALogThereIsNoLogLevel) {
  const auto server = StartServer();
  EXPECT_EQ(Fetch(server->port(), "/debug/log/level").status, 404);
}

}  // namespace
}  // namespace fiberscope::server
