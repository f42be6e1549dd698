#include "server/render/json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(text, out);
  return out;
}

std::string Number(double number) {
  std::string out;
  AppendJsonNumber(number, out);
  return out;
}

std::string Json(const boost::json::value& value) {
  std::string out;
  AppendJson(value, out);
  return out;
}

// The expectations here are what Go 1.23 prints (tests/conformance/vars_test.sh).
TEST(AppendJsonStringTest, EscapesAsGoDoes) {
  struct Row {
    std::string_view text;
    const char* json;
  };
  using namespace std::string_view_literals;
  static constexpr Row kRows[] = {
      {"", R"("")"},
      {"plain", R"("plain")"},
      {"a\"b\\c/'", R"("a\"b\\c/'")"},
      {"\n\r\t", R"("\n\r\t")"},
      {"\b\f\x01\x1f\0"sv, R"("\u0008\u000c\u0001\u001f\u0000")"},
      {"\x7f", "\"\x7f\""},
      {"<b>&", R"("\u003cb\u003e\u0026")"},
      {"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\"\\u2028\\u2029\xe2\x80\xaa\""},
      {"\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\""},
      {"a\xff\xc3", "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},  // a surrogate
  };
  for (const Row& row : kRows) EXPECT_EQ(Quoted(row.text), row.json);
}

TEST(AppendJsonNumberTest, IsTheShortestThatReadsBack) {
  struct Row {
    double number;
    const char* json;
  };
  static constexpr Row kRows[] = {
      {0, "0"},
      {-0.0, "-0"},
      {1.5, "1.5"},
      {-2, "-2"},
      {0.1, "0.1"},
      {1e6, "1000000"},
      {123456789, "123456789"},
      {1e20, "100000000000000000000"},
      {1e21, "1e+21"},
      {1e-6, "0.000001"},
      {1e-7, "1e-7"},
      {1.5e-9, "1.5e-9"},
      {1e-10, "1e-10"},
      {5e-324, "5e-324"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {std::numeric_limits<double>::quiet_NaN(), "null"},
      {std::numeric_limits<double>::infinity(), "null"},
      {-std::numeric_limits<double>::infinity(), "null"},
  };
  for (const Row& row : kRows) EXPECT_EQ(Number(row.number), row.json);
}

TEST(AppendJsonTest, WritesEveryKindWithoutSpaces) {
  EXPECT_EQ(Json(nullptr), "null");
  EXPECT_EQ(Json(true), "true");
  EXPECT_EQ(Json(false), "false");
  EXPECT_EQ(Json(-7), "-7");
  EXPECT_EQ(Json(UINT64_MAX), "18446744073709551615");
  EXPECT_EQ(Json(INT64_MIN), "-9223372036854775808");
  EXPECT_EQ(Json("a<"), R"("a\u003c")");
  EXPECT_EQ(Json(boost::json::array()), "[]");
  EXPECT_EQ(Json(boost::json::object()), "{}");
  EXPECT_EQ(Json(boost::json::array({1, "x", nullptr, 0.5})), R"([1,"x",null,0.5])");
  EXPECT_EQ(Json(boost::json::object{{"b", 1}, {"a>", {{"x", boost::json::array({1})}}}}), R"({"b":1,"a\u003e":{"x":[1]}})");
}

}  // namespace
}  // namespace fiberscope::server
