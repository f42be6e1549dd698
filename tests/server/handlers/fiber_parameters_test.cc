#include "server/handlers/fiber_parameters.h"

#include <chrono>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

using ::testing::ElementsAre;
using std::chrono::nanoseconds;

absl::StatusOr<FiberParameters> Parse(const std::string& raw, int debug = 2) {
  const absl::StatusOr<Query> query = Query::Parse(raw);
  EXPECT_TRUE(query.ok()) << raw;
  return ParseFiberParameters(*query, debug);
}

std::string Error(const std::string& raw, int debug = 2) {
  const absl::Status status = Parse(raw, debug).status();
  return std::string(status.message().data(), status.message().size());
}

TEST(FiberParametersTest, NothingGivenIsNoFilterAndNoPage) {
  for (const char* const raw : {"", "debug=2&gc=1", "state=&reason=&minwait=&label=&fn=&limit=&after=", "State=x&FN=("}) {
    const absl::StatusOr<FiberParameters> parameters = Parse(raw);
    ASSERT_TRUE(parameters.ok()) << raw;
    EXPECT_TRUE(parameters->filter.empty()) << raw;
    EXPECT_FALSE(parameters->page.has_value()) << raw;
  }
}

TEST(FiberParametersTest, ReadsAllOfThem) {
  const absl::StatusOr<FiberParameters> parameters =
      Parse("state=waiting&reason=chan+receive&minwait=1m30s&label=route:/a:b&label=tenant:&fn=%5Eshop::&limit=10&after=77");
  ASSERT_TRUE(parameters.ok()) << parameters.status();
  const pprof::FiberFilter& filter = parameters->filter;
  EXPECT_EQ(filter.state, FiberState::kWaiting);
  EXPECT_EQ(filter.reason, WaitReason::kChannelReceive);
  EXPECT_EQ(filter.min_wait, std::chrono::seconds(90));
  EXPECT_THAT(filter.labels, ElementsAre(Label{"route", "/a:b"}, Label{"tenant", ""}));
  ASSERT_TRUE(filter.function.has_value());
  EXPECT_TRUE(filter.function->Matches("shop::Worker()"));
  EXPECT_FALSE(filter.function->Matches("my::shop::Worker()"));
  ASSERT_TRUE(parameters->page.has_value());
  EXPECT_EQ(parameters->page->limit, 10u);
  EXPECT_EQ(parameters->page->after.value, 77u);
}

TEST(FiberParametersTest, ReadsStatesAsGoCallsThem) {
  EXPECT_EQ(Parse("state=runnable")->filter.state, FiberState::kRunnable);
  EXPECT_EQ(Parse("state=running")->filter.state, FiberState::kRunning);
  EXPECT_EQ(Parse("state=syscall")->filter.state, FiberState::kBlocking);
  EXPECT_EQ(Parse("state=waiting")->filter.state, FiberState::kWaiting);
}

TEST(FiberParametersTest, ReadsDurations) {
  const struct Row {
    const char* text;
    nanoseconds duration;
  } rows[] = {
      {"90s", std::chrono::seconds(90)},
      {"5m", std::chrono::minutes(5)},
      {"1h30m", std::chrono::minutes(90)},
      {"1.5h", std::chrono::minutes(90)},
      {"2h0m0.5s", std::chrono::hours(2) + std::chrono::milliseconds(500)},
      {"100ms", std::chrono::milliseconds(100)},
      {"7us", std::chrono::microseconds(7)},
      {"7%C2%B5s", std::chrono::microseconds(7)},
      {"7%CE%BCs", std::chrono::microseconds(7)},
      {"7ns", nanoseconds(7)},
      {"0", nanoseconds(0)},
      {"0s", nanoseconds(0)},
      {"90", std::chrono::seconds(90)},
      {"1.5", std::chrono::milliseconds(1500)},
      {"10000000000h", nanoseconds::max()},  // longer than any fiber waits
  };
  for (const Row& row : rows) {
    const absl::StatusOr<FiberParameters> parameters = Parse(std::string("minwait=") + row.text);
    ASSERT_TRUE(parameters.ok()) << row.text;
    EXPECT_EQ(parameters->filter.min_wait, row.duration) << row.text;
  }
}

TEST(FiberParametersTest, NamesTheParameterThatIsWrongAndWhatItMayBe) {
  const std::string state = "invalid value for \"state\" - must be one of: runnable, running, syscall, waiting";
  const std::string reason =
      "invalid value for \"reason\" - must be one of: sleep, IO wait, chan receive, chan send, sync.Mutex.Lock, "
      "sync.WaitGroup.Wait, join, suspended, chan receive (nil chan), chan send (nil chan), select, select (no cases), "
      "sync.RWMutex.RLock, sync.RWMutex.Lock, semacquire, sync.Cond.Wait, barrier";
  const std::string minwait =
      "invalid value for \"minwait\" - must be a duration such as 90s, 5m or 1h30m, or a number of seconds";
  const std::string label = "invalid value for \"label\" - must be KEY:VALUE";
  const std::string fn =
      "invalid value for \"fn\" - must be a regular expression in RE2's syntax, of at most 256 bytes and, compiled, 500 "
      "instructions";
  const std::string limit = "invalid value for \"limit\" - must be an integer from 1 to 10000";
  const std::string after = "invalid value for \"after\" - must be an integer from 0 to 9223372036854775807";
  const struct Row {
    std::string raw;
    std::string error;
  } rows[] = {
      {"state=evil", state},
      {"state=Running", state},
      {"state=chan+receive", state},
      {"state=dead", state},
      {"state=running%00", state},
      {"reason=evil", reason},
      {"reason=waiting", reason},
      {"reason=kChannelReceive", reason},
      {"minwait=abc", minwait},
      {"minwait=-5s", minwait},
      {"minwait=%2B5s", minwait},
      {"minwait=inf", minwait},
      {"minwait=5d", minwait},
      {"minwait=5+m", minwait},
      {"minwait=5m3", minwait},
      {"minwait=1.2.3", minwait},
      {"minwait=.", minwait},
      {"minwait=5m%00", minwait},
      {"label=evil", label},
      {"label=:evil", label},
      {"label=a:b&label=evil", label},
      {"fn=(evil", fn},
      {"fn=evil**", fn},
      {"fn=%ff", fn},
      {"fn=" + std::string(257, 'q'), fn},
      {"fn=((evil{100}){100}){100}", fn},
      {"limit=0", limit},
      {"limit=-1", limit},
      {"limit=10001", limit},
      {"limit=evil", limit},
      {"limit=10000", ""},
      {"limit=1&after=evil", after},
      {"limit=1&after=-1", after},
      {"limit=1&after=99999999999999999999", after},
      {"limit=1&after=0", ""},
      {"after=5", "\"after\" parameter needs \"limit\""},
      {"limit=&after=5", "\"after\" parameter needs \"limit\""},
      {"label=%zz", "invalid value for \"label\" - bad percent-encoding"},
      {"state=%zz", "invalid value for \"state\" - bad percent-encoding"},
      {"label=a:b&label=a:b", ""},
  };
  for (const Row& row : rows) EXPECT_EQ(Error(row.raw), row.error) << row.raw;
  for (const std::string name : {"state", "reason", "minwait", "fn", "limit", "after"}) {
    EXPECT_EQ(Error(name + "=&" + name + "="), "invalid value for \"" + name + "\" - given more than once");
  }
}

TEST(FiberParametersTest, PagesAreOfTheFullDump) {
  for (const int debug : {0, 1}) {
    EXPECT_EQ(Error("limit=1", debug), "\"limit\" parameter needs debug=2");
    EXPECT_EQ(Error("limit=1&after=1", debug), "\"limit\" parameter needs debug=2");
    EXPECT_EQ(Error("after=1", debug), "\"after\" parameter needs debug=2");
    EXPECT_EQ(Error("fn=x&label=a:b", debug), "");
  }
}

TEST(FiberParametersTest, TagsAreOfTheProfileAlone) {
  const auto tags = [](const std::string& raw) {
    const auto parameters = ParseFiberParameters(*Query::Parse(raw), /*debug=*/0);
    EXPECT_TRUE(parameters.ok()) << raw;
    return parameters->tags;
  };
  EXPECT_TRUE(tags("tags=").empty());
  EXPECT_EQ(tags("tags=state"), (pprof::FiberTags{.state = true}));
  EXPECT_EQ(tags("tags=id,wait"), (pprof::FiberTags{.wait = true, .id = true}));
  EXPECT_EQ(tags("tags=creator%2Ccreator"), (pprof::FiberTags{.creator = true}));
  const std::string error = "invalid value for \"tags\" - must be some of state, wait, creator, id, separated by commas";
  for (const char* const raw : {"tags=evil", "tags=state,", "tags=state,,id", "tags=State", "tags=state+id", "tags=id%00"}) {
    EXPECT_EQ(Error(raw, 0), error) << raw;
  }
  for (const int debug : {1, 2}) EXPECT_EQ(Error("tags=id", debug), "\"tags\" parameter needs debug=0");
}

TEST(FiberParametersTest, OtherProfilesRefuseThem) {
  for (const std::string name : {"state", "reason", "minwait", "label", "fn", "tags", "limit", "after"}) {
    const auto refusal = [&name](const std::string& value) {
      const absl::Status status = RefuseFiberParameters(*Query::Parse(name + "=" + value));
      return std::string(status.message().data(), status.message().size());
    };
    EXPECT_EQ(refusal("evil"), "\"" + name + "\" parameter is not supported for this profile type");
    EXPECT_EQ(refusal("%zz"), "invalid value for \"" + name + "\" - bad percent-encoding");
    EXPECT_EQ(refusal(""), "");
  }
  EXPECT_TRUE(RefuseFiberParameters(*Query::Parse("debug=1&states=x")).ok());
}

}  // namespace
}  // namespace fiberscope::server
