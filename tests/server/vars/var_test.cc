#include "server/vars/var.h"

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/object.hpp>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

std::string Json(const Var& var) {
  std::string json;
  var.AppendTo(json);
  return json;
}

TEST(IntVarTest, AddsAndSets) {
  IntVar var;
  EXPECT_EQ(Json(var), "0");
  var.Add(5);
  var.Add(-7);
  EXPECT_EQ(Json(var), "-2");
  var.Set(INT64_MAX);
  EXPECT_EQ(Json(var), "9223372036854775807");
}

// The expectations are what Go 1.23 prints, but for those that are no JSON.
TEST(FloatVarTest, IsSpelledAsGoDoes) {
  struct Row {
    double number;
    const char* json;
  };
  static constexpr Row kRows[] = {
      {0, "0"},
      {-0.0, "-0"},
      {-1.5, "-1.5"},
      {100000, "100000"},
      {1e6, "1e+06"},
      {1234567, "1.234567e+06"},
      {1e21, "1e+21"},
      {0.0001, "0.0001"},
      {1e-5, "1e-05"},
      {1e100, "1e+100"},
      {5e-324, "5e-324"},
      {3.141592653589793, "3.141592653589793"},
      {std::numeric_limits<double>::quiet_NaN(), "null"},
      {std::numeric_limits<double>::infinity(), "null"},
  };
  FloatVar var;
  for (const Row& row : kRows) {
    var.Set(row.number);
    EXPECT_EQ(Json(var), row.json);
  }
  var.Set(1);
  var.Add(0.25);
  EXPECT_EQ(var.value(), 1.25);
}

TEST(StringVarTest, IsQuoted) {
  StringVar var;
  EXPECT_EQ(Json(var), R"("")");
  var.Set("a\n\"<");
  EXPECT_EQ(Json(var), R"("a\n\"\u003c")");
  EXPECT_EQ(var.value(), "a\n\"<");
}

TEST(MapVarTest, IsSortedAndOnOneLine) {
  MapVar map;
  EXPECT_EQ(Json(map), "{}");
  EXPECT_TRUE(map.Add("b", 1));
  EXPECT_TRUE(map.Add("b", 1));
  EXPECT_TRUE(map.AddFloat("a", 2.5));
  auto inner = std::make_shared<MapVar>();
  inner->Add("x<\n", 1);
  map.Set("c", inner);
  EXPECT_EQ(Json(map), R"({"a": 2.5, "b": 2, "c": {"x\u003c\n": 1}})");
  map.Delete("b");
  map.Delete("nothing");
  EXPECT_EQ(Json(map), R"({"a": 2.5, "c": {"x\u003c\n": 1}})");
  EXPECT_EQ(map.Get("b"), nullptr);
  EXPECT_EQ(map.Get("c"), inner);
  map.Clear();
  EXPECT_EQ(Json(map), "{}");
}

TEST(MapVarTest, DoesNotAddToWhatIsSomethingElse) {
  MapVar map;
  map.Set("text", std::make_shared<StringVar>());
  EXPECT_FALSE(map.Add("text", 1));
  EXPECT_TRUE(map.Add("number", 1));
  EXPECT_FALSE(map.AddFloat("number", 1));
  EXPECT_EQ(Json(map), R"({"number": 1, "text": ""})");
}

TEST(FuncVarTest, AsksEveryTime) {
  int calls = 0;
  const FuncVar var([&] { return boost::json::value{{"calls", ++calls}}; });
  EXPECT_EQ(Json(var), R"({"calls":1})");
  EXPECT_EQ(Json(var), R"({"calls":2})");
}

TEST(FuncVarTest, IsNullWhenItThrows) {
  const FuncVar var([]() -> boost::json::value { throw std::runtime_error("no"); });
  EXPECT_EQ(Json(var), "null");
  EXPECT_EQ(Json(FuncVar(nullptr)), "null");
}

TEST(MapVarTest, IsChangedAndReadByManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kTurns = 2'000;
  MapVar map;
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&map, i] {
      for (int turn = 0; turn < kTurns; ++turn) {
        EXPECT_TRUE(map.Add("shared", 1));
        EXPECT_TRUE(map.AddFloat(std::to_string(i), 0.5));
        map.Set("replaced", std::make_shared<IntVar>());
        if (turn % 7 == 0) map.Delete("replaced");
        EXPECT_EQ(Json(map).front(), '{');
      }
    });
  }
  threads.clear();
  map.Delete("replaced");
  EXPECT_EQ(Json(map), R"({"0": 1000, "1": 1000, "2": 1000, "3": 1000, "shared": 8000})");
}

}  // namespace
}  // namespace fiberscope::server
