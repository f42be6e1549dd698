#include "runtime/trace_context.h"

#include <optional>
#include <random>
#include <set>
#include <string>

#include "gtest/gtest.h"

namespace fiberscope {
namespace {

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kSpan[] = "00f067aa0ba902b7";

// Printed again; "" if it is malformed.
std::string Read(std::string_view text) {
  const std::optional<TraceContext> context = ParseTraceparent(text);
  return context.has_value() ? PrintTraceparent(*context) : "";
}

std::string Traceparent(std::string version = "00", std::string trace = kTrace, std::string span = kSpan,
                        std::string flags = "01") {
  return version + "-" + trace + "-" + span + "-" + flags;
}

TEST(TraceparentTest, IsReadAsTheRecommendationSays) {
  const std::string usual = Traceparent();
  struct Row {
    std::string text;
    std::string printed;  // "": refused
  };
  const Row rows[] = {
      {usual, usual},
      {Traceparent("00", kTrace, kSpan, "00"), Traceparent("00", kTrace, kSpan, "00")},
      // Of the flags only the lowest one is known.
      {Traceparent("00", kTrace, kSpan, "ff"), usual},
      {Traceparent("00", kTrace, kSpan, "02"), Traceparent("00", kTrace, kSpan, "00")},
      // Later versions are read as far as 00 goes.
      {Traceparent("01"), usual},
      {Traceparent("fe"), usual},
      {Traceparent("cc") + "-what-the-future-will-be-like", usual},
      {Traceparent("cc") + "-", usual},
      {Traceparent("cc") + ".what-the-future-will-not-be-like", ""},
      {Traceparent("cc") + "0", ""},
      {Traceparent("01", kTrace, kSpan, "0"), ""},
      // 00 is exactly as long as it is.
      {usual + "-", ""},
      {usual + "-00", ""},
      {usual + " ", ""},
      {" " + usual, ""},
      {usual.substr(0, 54), ""},
      {"", ""},
      {usual + "," + usual, ""},
      {Traceparent("cc") + "," + Traceparent("cc"), ""},
      // Not versions.
      {Traceparent("ff"), ""},
      {Traceparent("0"), ""},
      {Traceparent("0x"), ""},
      {Traceparent("FE"), ""},
      {Traceparent(".0"), ""},
      // Not ids.
      {Traceparent("00", std::string(32, '0')), ""},
      {Traceparent("00", kTrace, std::string(16, '0')), ""},
      {Traceparent("00", "4BF92F3577B34DA6A3CE929D0E0E4736"), ""},
      {Traceparent("00", kTrace, "00F067AA0BA902B7"), ""},
      {Traceparent("00", std::string(kTrace).substr(1)), ""},
      {Traceparent("00", std::string(kTrace) + "0"), ""},
      {Traceparent("00", kTrace, std::string(kSpan).substr(1)), ""},
      {Traceparent("00", kTrace, kSpan, "0g"), ""},
      {Traceparent("00", kTrace, kSpan, "0A"), ""},
      // Not dashes.
      {"00_" + usual.substr(3), ""},
      {usual.substr(0, 35) + "_" + usual.substr(36), ""},
      {usual.substr(0, 52) + "_" + usual.substr(53), ""},
      {usual.substr(0, 10) + std::string(1, '\0') + usual.substr(11), ""},
  };
  for (const Row& row : rows) EXPECT_EQ(Read(row.text), row.printed) << row.text;
}

// Property: what is printed is read as it was; and if one byte of it is changed to anything, it is either refused or means what it
// then says.
TEST(TraceparentTest, WhatIsPrintedIsReadAndNoByteMayBeWrong) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 2000; ++i) {
    const TraceContext context{.trace_id = TraceId::New(), .span_id = SpanId::New(), .sampled = random() % 2 != 0, .state = {}};
    const std::string text = PrintTraceparent(context);
    EXPECT_EQ(ParseTraceparent(text), context);
    std::string wrong = text;
    const size_t at = random() % text.size();
    wrong[at] = static_cast<char>(random());
    const std::string again = Read(wrong);
    if (again.empty()) continue;
    EXPECT_EQ(again.substr(3, 50), wrong.substr(3, 50)) << wrong;
    EXPECT_EQ(again.back() - '0', (wrong.back() <= '9' ? wrong.back() - '0' : wrong.back() - 'a' + 10) & 1) << wrong;
  }
}

TEST(HexIdTest, NewOnesAreNeverZeroAndNeverTheSame) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const SpanId id = SpanId::New();
    EXPECT_TRUE(id);
    EXPECT_EQ(SpanId::Parse(id.ToString()), id);
    ids.insert(id.ToString());
  }
  EXPECT_EQ(ids.size(), 1000);
  EXPECT_FALSE(TraceId());
}

TEST(TracestateTest, IsReadAsTheRecommendationSays) {
  std::string most = "k0=v";
  for (int i = 1; i < 32; ++i) most += ",k" + std::to_string(i) + "=v";
  const std::string long_key(256, 'k');
  const std::string long_value(256, 'v');
  struct Row {
    std::string text;
    std::optional<std::string> list;
  };
  const Row rows[] = {
      {"", ""},
      {"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"},
      {"a=1 ,\t b=2,, ,", "a=1,b=2"},
      {"fw529a3039@dt=x;y:z", "fw529a3039@dt=x;y:z"},
      {"0a@b=1", "0a@b=1"},
      {"a=in the middle", "a=in the middle"},
      {"a= x", "a= x"},
      {"a_-*/0=~!", "a_-*/0=~!"},
      {most, most},
      {long_key + "=" + long_value, long_key + "=" + long_value},
      {std::string(241, 't') + "@" + std::string(14, 'v') + "=1", std::string(241, 't') + "@" + std::string(14, 'v') + "=1"},
      {most + ",more=v", {}},
      {"a=1,a=2", {}},
      {"a", {}},
      {"a=", {}},
      {"=1", {}},
      {"a=b=c", {}},
      {"A=1", {}},
      {"0a=1", {}},
      {"a =1", {}},
      {"a@=1", {}},
      {"@a=1", {}},
      {"a@0=1", {}},
      {"a@b@c=1", {}},
      {"a.b=1", {}},
      {"a=\x7f", {}},
      {"a=x\ty", {}},
      {"a=\xc3\xa9", {}},
      {long_key + "k=1", {}},
      {"a=" + long_value + "v", {}},
      {std::string(242, 't') + "@v=1", {}},
      {"t@" + std::string(15, 'v') + "=1", {}},
  };
  for (const Row& row : rows) EXPECT_EQ(ParseTracestate(row.text), row.list) << row.text;
}

}  // namespace
}  // namespace fiberscope
