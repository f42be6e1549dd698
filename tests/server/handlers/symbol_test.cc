#include "server/handlers/symbol.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/fake_symbolizer.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;

class SymbolHandlerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    symbolizer_.Function(0x1000, 0x2000, Named("ns::First(int)"));
    symbolizer_.Function(0x2000, 0x3000, Named("Second"));
    symbolizer_.Call(0x2010, 7, {Named("Inlined")});
    symbolizer_.Function(0x4000, 0x5000, Named(std::string("evil\n0x1 forged\r\x7f\xff", 18)));
  }

  static pprof::Frame Named(std::string function) {
    pprof::Frame frame;
    frame.function = std::move(function);
    return frame;
  }

  RecordingWriter Get(std::string query) { return testing::Answer(handler_, {.raw_query = std::move(query), .body = {}}); }
  RecordingWriter Post(std::string body, std::string query = "") {
    return testing::Answer(handler_, {.method = Method::kPost, .path = {}, .raw_query = std::move(query), .body = std::move(body)});
  }

  pprof::FakeSymbolizer symbolizer_;
  Handler handler_ = MakeSymbolHandler(symbolizer_);
};

TEST_F(SymbolHandlerTest, NamesTheAddressesItKnows) {
  struct Row {
    const char* addresses;
    const char* lines;
  };
  static constexpr Row kRows[] = {
      {"", ""},
      {"+", ""},
      {"0x1000", "0x1000 ns::First(int)\n"},
      {"0x1000+0x2000", "0x1000 ns::First(int)\n0x2000 Second\n"},
      {"0x2000+0x1000+0x2000", "0x2000 Second\n0x1000 ns::First(int)\n0x2000 Second\n"},
      {"++0x1000++", "0x1000 ns::First(int)\n"},
      {"0x0000000000001fff", "0x1fff ns::First(int)\n"},
      {"4096", "0x1000 ns::First(int)\n"},
      {"010000", "0x1000 ns::First(int)\n"},
      {"0X1FFF", "0x1fff ns::First(int)\n"},
      // Only the outermost function: what is inlined into it has no line.
      {"0x2010", "0x2010 Second\n"},
      // Unknown or unreadable: no line, and the others are not disturbed.
      {"0x9000+0x1000", "0x1000 ns::First(int)\n"},
      {"0+0x0+nonsense+0x+-1+0x1000%2B0x2000+ 0x1000+0x1000", "0x1000 ns::First(int)\n"},
      {"0x10000000000001000", ""},
  };
  for (const Row& row : kRows) {
    const std::string body = std::string("num_symbols: 1\n") + row.lines;
    const RecordingWriter get = Get(row.addresses);
    EXPECT_EQ(get.head().status, 200) << row.addresses;
    EXPECT_EQ(get.head().content_type, "text/plain; charset=utf-8");
    EXPECT_EQ(get.body(), body) << row.addresses;
    EXPECT_TRUE(get.ended());
    EXPECT_EQ(Post(row.addresses).body(), body) << row.addresses;
  }
}

TEST_F(SymbolHandlerTest, APostIsReadFromItsBodyOnly) {
  EXPECT_EQ(Post("0x1000", "0x2000").body(), "num_symbols: 1\n0x1000 ns::First(int)\n");
  EXPECT_EQ(Post("", "0x2000").body(), "num_symbols: 1\n");
}

// R-O3: a name from a foreign object file cannot forge a line.
TEST_F(SymbolHandlerTest, NamesStayOnTheirLine) {
  EXPECT_EQ(Get("0x4000").body(), "num_symbols: 1\n0x4000 evil\\n0x1 forged\\r\\x7f\\xff\n");
}

TEST_F(SymbolHandlerTest, AWordThatIsTooLongEndsTheAnswer) {
  const std::string longest(kMaxSymbolWordBytes - 1, 'x');
  EXPECT_EQ(Post(longest + "+0x1000").body(), "num_symbols: 1\n0x1000 ns::First(int)\n");
  EXPECT_EQ(Post("0x1000+" + longest + "x+0x2000").body(),
            "num_symbols: 1\n0x1000 ns::First(int)\nreading request: bufio: buffer full\n");
}

// R-H4: 65,536 addresses, and not one more.
TEST_F(SymbolHandlerTest, LimitsTheNumberOfAddresses) {
  std::string most;
  for (size_t i = 0; i < kMaxSymbolAddresses; ++i) most += "+0x9000";
  EXPECT_EQ(Post(most).head().status, 200);
  const RecordingWriter more = Post(most + "+0x9000");
  EXPECT_EQ(more.head().status, 413);
  EXPECT_EQ(more.Field("X-Go-Pprof"), "1");
  EXPECT_EQ(more.body(), "more than 65536 addresses\n");
}

// R-D1: names are written as they are found, not collected first.
TEST_F(SymbolHandlerTest, StopsWhenTheClientLeaves) {
  RecordingWriter writer(/*client_leaves_after=*/100);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "+0x1000";
  handler_({.raw_query = many, .body = {}}, writer);
  EXPECT_FALSE(writer.ended());
  EXPECT_EQ(writer.failure().code(), absl::StatusCode::kCancelled);
  EXPECT_LT(writer.writes(), 10);
}

// Format: strconv.ParseUint(word, 0, 64) of Go 1.27; each row was run there.
TEST(ParseAddressTest, ReadsNumbersAsGoDoes) {
  struct Row {
    const char* word;
    std::optional<uint64_t> value;
  };
  static const Row kRows[] = {
      {"0", 0},          {"00", 0},           {"1_0", 10},        {"0_1", 1},          {"0x_1", 1},
      {"0o17", 15},      {"0O17", 15},        {"017", 15},        {"0b11", 3},         {"0B11", 3},
      {"0X1F", 31},      {"0xabcdef", 0xabcdef}, {"18446744073709551615", UINT64_MAX}, {"0xffffffffffffffff", UINT64_MAX},
      {"", {}},          {"0x", {}},          {"0b", {}},         {"_1", {}},          {"1_", {}},
      {"0_", {}},        {"0x1__2", {}},      {"08", {}},         {"0b2", {}},         {"0xg", {}},
      {" 1", {}},        {"1 ", {}},          {"+1", {}},         {"-1", {}},          {"0x-1", {}},
      {"0x0x1", {}},     {"1f", {}},          {"18446744073709551616", {}},            {"0x10000000000000000", {}},
  };
  for (const Row& row : kRows) EXPECT_EQ(ParseAddress(row.word), row.value) << row.word;
}

}  // namespace
}  // namespace fiberscope::server
