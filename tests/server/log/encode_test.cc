#include "server/log/encode.h"

#include <boost/json.hpp>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "pprof/utf8.h"

namespace fiberscope::log {
namespace {

namespace json = boost::json;

std::string Text(Encoding encoding, const Line& line) {
  LineBuffer buffer;
  Encode(encoding, line, buffer);
  return std::string(buffer.text());
}

std::string Quoted(std::string_view text) {
  LineBuffer buffer;
  AppendJsonString(text, buffer);
  return std::string(buffer.text());
}

// Judged by a parser that is not ours.
json::object Parse(const std::string& text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  EXPECT_FALSE(error) << error.message() << ": " << text;
  return value.is_object() ? value.as_object() : json::object();
}

// 2026-11-27 22:31:00.000000001
constexpr int64_t kTimeNs = 1'795'818'660'000'000'001;

Line PlainLine(std::span<const Field> fields = {}) {
  return {.time_ns = kTimeNs, .file = "shop/orders.cc", .line = 41, .message = "order placed", .fields = fields};
}

TEST(EncodeTest, ALineHasEverythingInItsPlace) {
  const RequestIdentity request = AcceptRequest(
      {.request_id = "r-1", .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
  const std::string span = request.trace.span_id.ToString();
  const Labels labels({{"route", "/order"}, {"request_id", "r-1"}, {"trace_id", "4bf9"}, {"tenant", "a b"}});
  const Field fields[] = {{"order", 7}, {"ms", 1.5}};
  Line line = PlainLine(fields);
  line.logger = "orders";
  line.fiber = FiberId{1699};
  line.request = &request;
  line.labels = labels.pairs();
  EXPECT_EQ(Text(Encoding::kJson, line),
            R"({"ts":"2026-11-27T22:31:00.000000001Z","level":"info","logger":"orders","caller":"shop/orders.cc:41",)"
            R"("msg":"order placed","order":7,"ms":1.5,"fiber":1699,"request_id":"r-1",)"
            R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":")" + span +
                R"(","labels":{"route":"/order","tenant":"a b"}})");
  EXPECT_EQ(Text(Encoding::kConsole, line),
            "2026-11-27T22:31:00.000000001Z INFO orders shop/orders.cc:41 order placed order=7 ms=1.5 fiber=1699 request_id=r-1 "
            "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=" + span + " labels={route=/order tenant=\"a b\"}");
}

TEST(EncodeTest, WhatIsNotThereIsLeftOut) {
  EXPECT_EQ(Text(Encoding::kJson, PlainLine()),
            R"({"ts":"2026-11-27T22:31:00.000000001Z","level":"info","caller":"shop/orders.cc:41","msg":"order placed"})");
  EXPECT_EQ(Text(Encoding::kConsole, PlainLine()), "2026-11-27T22:31:00.000000001Z INFO shop/orders.cc:41 order placed");
}

TEST(EncodeTest, EveryTypeHasItsForm) {
  using std::chrono::nanoseconds;
  const absl::Status missing = absl::NotFoundError("no \"such\" order");
  const absl::Status ok;
  const std::string path = "/path";
  struct Row {
    Field field;
    const char* json;
    const char* console;
  };
  const Row rows[] = {
      {{"k", -7}, "-7", "-7"},
      {{"k", std::numeric_limits<int64_t>::min()}, "-9223372036854775808", "-9223372036854775808"},
      {{"k", std::numeric_limits<uint64_t>::max()}, "18446744073709551615", "18446744073709551615"},
      {{"k", size_t{0}}, "0", "0"},
      {{"k", true}, "true", "true"},
      {{"k", false}, "false", "false"},
      {{"k", 0.1}, "0.1", "0.1"},
      {{"k", -1e300}, "-1e+300", "-1e+300"},
      {{"k", std::nan("")}, "\"NaN\"", "\"NaN\""},
      {{"k", HUGE_VAL}, "\"+Inf\"", "\"+Inf\""},
      {{"k", -HUGE_VAL}, "\"-Inf\"", "\"-Inf\""},
      {{"k", "word"}, "\"word\"", "word"},
      {{"k", "two words"}, "\"two words\"", "\"two words\""},
      {{"k", ""}, "\"\"", "\"\""},
      {{"k", "a=b"}, "\"a=b\"", "\"a=b\""},
      {{"k", path}, "\"/path\"", "/path"},
      {{"k", std::chrono::milliseconds(1500)}, "1.5", "1.5"},
      {{"k", nanoseconds(-1)}, "-0.000000001", "-0.000000001"},
      {{"k", nanoseconds::min()}, "-9223372036.854775808", "-9223372036.854775808"},
      {{"k", std::chrono::seconds(3)}, "3", "3"},
      {{"k", missing}, R"("NOT_FOUND: no \"such\" order")", R"("NOT_FOUND: no \"such\" order")"},
      {{"k", ok}, "\"OK\"", "OK"},
  };
  const std::string json_begin = Text(Encoding::kJson, PlainLine());
  const std::string console_begin = Text(Encoding::kConsole, PlainLine());
  for (const Row& row : rows) {
    const Line line = PlainLine({&row.field, 1});
    const std::string text = Text(Encoding::kJson, line);
    EXPECT_EQ(text, json_begin.substr(0, json_begin.size() - 1) + ",\"k\":" + row.json + "}");
    EXPECT_EQ(Text(Encoding::kConsole, line), console_begin + " k=" + row.console);
    Parse(text);
  }
}

TEST(EncodeTest, TimesAreRfc3339InUtc) {
  struct Row {
    int64_t time_ns;
    const char* text;
  };
  static constexpr Row kRows[] = {
      {0, "1970-01-01T00:00:00.000000000Z"},
      {-1, "1969-12-31T23:59:59.999999999Z"},
      {951'782'400'000'000'000, "2000-02-29T00:00:00.000000000Z"},
      {1'735'689'599'999'999'999, "2024-12-31T23:59:59.999999999Z"},
      {std::numeric_limits<int64_t>::max(), "2262-04-11T23:47:16.854775807Z"},
  };
  for (const Row& row : kRows) {
    Line line = PlainLine();
    line.time_ns = row.time_ns;
    EXPECT_EQ(Parse(Text(Encoding::kJson, line))["ts"].as_string(), row.text);
  }
}

TEST(EncodeTest, StringsAreEscapedAndInvalidUtf8IsReplaced) {
  struct Row {
    std::string text;
    std::string quoted;
  };
  const Row rows[] = {
      {"plain", R"("plain")"},
      {"a\"b\\c", R"("a\"b\\c")"},
      {"\n\r\t\b\f", R"("\n\r\t\u0008\u000c")"},
      {std::string("\0\x1f\x7f", 3), R"("\u0000\u001f\u007f")"},
      {"\xc2\x9b", R"("\u009b")"},  // the C1 control that begins an escape sequence on some terminals
      {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
      {"\xe2\x80\xa8\xe2\x80\xa9", R"("\u2028\u2029")"},
      {"a/b</script>", R"("a/b<\/script>")"},
      {"\xff", "\"\xef\xbf\xbd\""},
      {"a\xc3", "\"a\xef\xbf\xbd\""},
      {"\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                      // not the shortest form
      {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},      // a surrogate
      {"\xf4\x90\x80\x80z", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\""},
  };
  for (const Row& row : rows) EXPECT_EQ(Quoted(row.text), row.quoted);
}

// Property: whatever the bytes, a parser takes the line, finds the text with invalid bytes replaced, and there is one line of it.
TEST(EncodeTest, AnyBytesMakeOneValidLine) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 3000; ++i) {
    std::string text(random() % 40, '\0');
    // Half of them from the characters that have a meaning.
    const std::string_view odd = "\"\\/<\n\r\xe2\x80\xa8\xc3\xa9\xf0\x9f\x98\x80={} ";
    for (char& c : text) c = random() % 2 == 0 ? odd[random() % odd.size()] : static_cast<char>(random());
    std::string expected;
    for (std::string_view rest = text; !rest.empty();) {
      const pprof::Utf8Character c = pprof::DecodeUtf8(rest);
      expected += c.valid ? rest.substr(0, c.length) : "\xef\xbf\xbd";
      rest.remove_prefix(c.length);
    }
    const std::string key = "x" + text;
    const Field fields[] = {{"k", text}, {key, 1}};
    Line line = PlainLine(fields);
    line.message = text;
    const Labels labels({{text, text}});
    line.labels = labels.pairs();
    for (const Encoding encoding : {Encoding::kJson, Encoding::kConsole}) {
      const std::string out = Text(encoding, line);
      EXPECT_EQ(out.find_first_of("\n\r"), std::string::npos);
      EXPECT_EQ(pprof::ToValidUtf8(out), out);
    }
    const json::object parsed = Parse(Text(Encoding::kJson, line));
    EXPECT_EQ(parsed.at("msg").as_string(), expected);
    EXPECT_EQ(parsed.at("k").as_string(), expected);
    EXPECT_EQ(parsed.at("x" + expected).as_int64(), 1);
    EXPECT_EQ(parsed.at("labels").as_object().at(expected).as_string(), expected);
  }
}

TEST(EncodeTest, AFieldCannotPassForOneOfOurs) {
  const Field fields[] = {{"level", "error"}, {"request_id", "forged"}};
  const std::string text = Text(Encoding::kJson, PlainLine(fields));
  const json::object parsed = Parse(text);
  EXPECT_EQ(parsed.at("level").as_string(), "info");
  EXPECT_EQ(parsed.at("field.level").as_string(), "error");
  EXPECT_EQ(parsed.at("field.request_id").as_string(), "forged");
  EXPECT_FALSE(parsed.contains("request_id"));
  EXPECT_NE(Text(Encoding::kConsole, PlainLine(fields)).find(" field.level=error field.request_id=forged"), std::string::npos);
}

TEST(EncodeTest, LongStringsAreCutAtACharacter) {
  const std::string exact(kMaxStringBytes, 'x');
  EXPECT_EQ(Quoted(exact), "\"" + exact + "\"");
  EXPECT_EQ(Quoted(exact + "x"), "\"" + exact + "...\"");
  const std::string straddling = std::string(kMaxStringBytes - 1, 'x') + "\xc3\xa9";
  EXPECT_EQ(Quoted(straddling), "\"" + std::string(kMaxStringBytes - 1, 'x') + "...\"");
}

TEST(EncodeTest, ALineThatIsLongEnoughSaysHowManyFieldsItLeftOut) {
  const std::string value(kMaxStringBytes, 'x');
  const std::vector<Field> fields(10, Field("k", value));
  Line line = PlainLine(fields);
  line.fiber = FiberId{7};
  const json::object parsed = Parse(Text(Encoding::kJson, line));
  EXPECT_EQ(parsed.at("fields_left_out").as_int64(), 6);  // 4 of 4 KiB fill the 16 KiB
  EXPECT_EQ(parsed.at("fiber").as_int64(), 7);
}

}  // namespace
}  // namespace fiberscope::log
