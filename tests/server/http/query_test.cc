#include "server/http/query.h"

#include <chrono>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kMax = 1000;

// What GetInteger("n", kMax) says: the number, "absent", or the error's text.
std::string Integer(const std::string& raw) {
  const absl::StatusOr<Query> query = Query::Parse(raw);
  if (!query.ok()) return std::string(query.status().message());
  const auto value = query->GetInteger("n", kMax);
  if (!value.ok()) {
    EXPECT_EQ(value.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(value.status().message());
  }
  return value->has_value() ? std::to_string(**value) : "absent";
}

// R-H7: what does not parse, repeats or is out of range is an error that names the parameter; nothing is guessed.
TEST(QueryTest, ReadsIntegersOrNamesTheParameter) {
  const std::string range = "invalid value for \"n\" - must be an integer from 0 to 1000";
  const std::string repeated = "invalid value for \"n\" - given more than once";
  const std::string encoding = "invalid value for \"n\" - bad percent-encoding";
  const struct Row {
    const char* raw;
    std::string value;
  } rows[] = {
      {"", "absent"},
      {"m=1", "absent"},
      {"N=1", "absent"},
      {"n", "absent"},
      {"n=", "absent"},
      {"&&", "absent"},
      {"n=0", "0"},
      {"n=1", "1"},
      {"n=01", "1"},
      {"n=1000", "1000"},
      {"x&n=7&y=", "7"},
      {"%6e=%37", "7"},
      // Out of range, or no number from beginning to end.
      {"n=1001", range},
      {"n=99999999999999999999", range},
      {"n=-1", range},
      {"n=-0", range},
      {"n=%2B1", range},
      {"n=+1", range},
      {"n=1+", range},
      {"n=1.5", range},
      {"n=1e2", range},
      {"n=0x1", range},
      {"n=1_0", range},
      {"n=abc", range},
      {"n=1a", range},
      {"n=nan", range},
      {"n=inf", range},
      {"n=1=2", range},
      {"n=1%00", range},
      {"n=\xd9\xa1", range},  // a digit, but not one of ours
      // Repeated, even if the values agree or are empty.
      {"n=1&n=1", repeated},
      {"n=&n=1", repeated},
      {"n&%6E", repeated},
      // Escapes.
      {"n=%", encoding},
      {"n=%1", encoding},
      {"n=%g1", encoding},
      {"n=1%zz", encoding},
      // A semicolon separates nothing.
      {"n=1;x=2", range},
      {"x;n=1", "absent"},
      // What nobody asks for may be broken and may repeat.
      {"x=%zz&%zz=1&x=%&n=5", "5"},
      {"x=1&x=2&n=5", "5"},
  };
  for (const Row& row : rows) EXPECT_EQ(Integer(row.raw), row.value) << row.raw;
}

// R-H7: at most 32 parameters, empty pairs not counted.
TEST(QueryTest, TakesThirtyTwoParameters) {
  std::string raw;
  for (size_t i = 0; i < Query::kMaxParameters - 1; ++i) raw += "&&x=" + std::to_string(i);
  EXPECT_EQ(Integer(raw + "&n=7"), "7");
  EXPECT_EQ(Integer(raw + "&y&n=7"), "more than 32 query parameters");
}

TEST(QueryTest, GivesTheDecodedText) {
  const absl::StatusOr<Query> query = Query::Parse("a=x+y%2Bz%26&b=%00%ff&c");
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(**query->Get("a"), "x y+z&");
  EXPECT_EQ(**query->Get("b"), std::string("\0\xff", 2));
  EXPECT_EQ(**query->Get("c"), "");
  EXPECT_FALSE(query->Get("d")->has_value());
}

TEST(QueryTest, ReadsDurations) {
  const absl::StatusOr<Query> query = Query::Parse("a=1h30m&b=1.5&c=250ms&d=&e=-1s&f=inf&g=%zz");
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(**query->GetDuration("a"), std::chrono::minutes(90));
  EXPECT_EQ(**query->GetDuration("b"), std::chrono::milliseconds(1500));
  EXPECT_EQ(**query->GetDuration("c"), std::chrono::milliseconds(250));
  for (const char* none : {"d", "x"}) EXPECT_FALSE(query->GetDuration(none)->has_value());
  for (const char* bad : {"e", "f", "g"}) EXPECT_FALSE(query->GetDuration(bad).ok()) << bad;
}

TEST(QueryTest, GivesEveryValueOfAListInOrder) {
  const absl::StatusOr<Query> query = Query::Parse("a=1&b=2&%61=x+y&a=&bad=1&bad=%zz");
  ASSERT_TRUE(query.ok());
  EXPECT_EQ(*query->GetAll("a"), (std::vector<std::string>{"1", "x y", ""}));
  EXPECT_EQ(*query->GetAll("c"), std::vector<std::string>());
  EXPECT_EQ(query->GetAll("bad").status().message(), "invalid value for \"bad\" - bad percent-encoding");
}

TEST(PercentDecodeTest, PlusIsASpaceOnlyInQueries) {
  EXPECT_EQ(PercentDecode("a+b%41", true), "a bA");
  EXPECT_EQ(PercentDecode("a+b%41", false), "a+bA");
}

TEST(PercentDecodeTest, DecodesOnce) { EXPECT_EQ(PercentDecode("%2541", false), "%41"); }

TEST(PercentDecodeTest, RefusesIncompleteEscapes) {
  for (const char* const text : {"%", "%4", "a%", "%x1", "%1x", "%%41"}) {
    EXPECT_FALSE(PercentDecode(text, false).has_value()) << text;
  }
}

}  // namespace
}  // namespace fiberscope::server
