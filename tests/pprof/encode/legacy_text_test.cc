#include "pprof/encode/legacy_text.h"

#include <algorithm>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/encode/label_text.h"
#include "tests/testing/shop.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAreArray;
using testing::HasSubstr;

std::string Text(Symbolizer& symbolizer, std::vector<StackGroup> groups) {
  StringSink sink;
  EXPECT_TRUE(WriteCountProfile("goroutine", std::move(groups), symbolizer, sink).ok());
  return sink.text();
}

std::string Text(std::vector<StackGroup> groups) {
  Shop shop;
  return Text(shop.symbolizer(), std::move(groups));
}

TEST(CountProfile, NothingIsTheHeaderLineAlone) { EXPECT_EQ(Text({}), "goroutine profile: total 0\n"); }

TEST(CountProfile, ListsReturnAddressesAndShowsCalls) {
  EXPECT_EQ(Text({{{Shop::kMain}, {}, 3}}),
            "goroutine profile: total 3\n"
            "3 @ 0x401019\n"
            "#\t0x401018\tmain+0x18\t/src/shop/main.cc:12\n"
            "\n");
}

TEST(CountProfile, GroupWithoutAddressesStillParses) {
  EXPECT_EQ(Text({{{}, {{"k", "v"}}, 2}}),
            "goroutine profile: total 2\n"
            "2 @ 0x0\n"
            "# labels: {\"k\":\"v\"}\n"
            "\n");
}

TEST(CountProfile, HiddenFramesStayInTheAddressList) {
  EXPECT_EQ(Text({{{Shop::kSwitch, Shop::kPark, Shop::kMain}, {}, 1}}),
            "goroutine profile: total 1\n"
            "1 @ 0x405210 0x405021 0x401019\n"
            "#\t0x401018\tmain+0x18\t/src/shop/main.cc:12\n"
            "\n");
}

// Name lengths around multiples of 8 and their tabs, as Go's tabwriter(1, 8, 1, '\t') sets them; the address column is
// 8 wide here, so it has one tab for up to seven characters.
TEST(CountProfile, ColumnsAreLinedUpByTabs) {
  struct {
    size_t first;  // characters of "name+0x4f"
    size_t second;
    int first_tabs;
    int second_tabs;
  } const cases[] = {{7, 7, 1, 1},  {7, 8, 2, 1},  {8, 7, 1, 2}, {8, 15, 1, 1},
                     {8, 16, 2, 1}, {6, 24, 4, 1}, {31, 6, 1, 4}};
  for (const auto& c : cases) {
    FakeSymbolizer symbolizer;
    const std::string first(c.first - 5, 'a');
    const std::string second(c.second - 5, 'b');
    symbolizer.Function(0x100, 0x200, {first, first, "f.cc", 1, 1});
    symbolizer.Function(0x200, 0x300, {second, second, "f.cc", 2, 1});
    EXPECT_THAT(Text(symbolizer, {{{0x150, 0x250}, {}, 1}}),
                HasSubstr(absl::StrCat("#\t0x14f\t", first, "+0x4f", std::string(c.first_tabs, '\t'), "f.cc:1\n",
                                       "#\t0x24f\t", second, "+0x4f", std::string(c.second_tabs, '\t'), "f.cc:2\n")));
  }
}

TEST(CountProfile, AnUnknownFrameEndsTheRunOfLinedUpLines) {
  const std::string text = Text({{{Shop::kMain, Shop::kNowhere, Shop::kRunLambda}, {}, 1}});
  EXPECT_THAT(text, HasSubstr("#\t0x401018\tmain+0x18\t/src/shop/main.cc:12\n"
                              "#\t0x9000\n"
                              "#\t0x406210\tshop::Start::{lambda#1}::operator()+0x10\t/src/shop/shop.cc:61\n"));
}

TEST(CountProfile, WideCharactersCountAsOne) {
  FakeSymbolizer symbolizer;
  symbolizer.Function(0x100, 0x200, {"\xc3\xa4\xc3\xa4", "", "f.cc", 1, 1});  // 7 characters with the offset
  EXPECT_THAT(Text(symbolizer, {{{0x150}, {}, 1}}), HasSubstr("\xc3\xa4\xc3\xa4+0x4f\tf.cc:1\n"));
}

TEST(CountProfile, OffsetIsLeftOutWhenTheStartIsUnknown) {
  class StartlessSymbolizer : public FakeSymbolizer {
   public:
    const Symbolized& Lookup(uintptr_t) override { return symbolized_; }

   private:
    const Symbolized symbolized_{.frames = {{"f()", "_Z1fv", "f.cc", 1, 1}}};
  } symbolizer;
  EXPECT_THAT(Text(symbolizer, {{{0x150}, {}, 1}}), HasSubstr("#\t0x14f\tf\tf.cc:1\n"));
}

// What Go sorts by: the text of the group's first lines.
std::string KeyText(const StackGroup& group) {
  std::string key = "@";
  for (const uintptr_t address : group.stack) absl::StrAppend(&key, " 0x", absl::Hex(address));
  if (!group.labels.empty()) absl::StrAppend(&key, "\n# labels: ", CountLabels(group.labels));
  return key;
}

TEST(CountProfile, OrderIsByCountThenByTheTextOfTheKey) {
  const std::vector<uintptr_t> stacks[] = {{},          {0x1},      {0x10}, {0x2},           {0x1, 0x2}, {0x1, 0x10},
                                           {0x10, 0x1}, {0xa, 0x1}, {0xab}, {0x1, 0x2, 0x3}, {0x11, 0x1}};
  const std::vector<Label> labels[] = {{}, {{"a", "1"}}, {{"a", "2"}}, {{"a", "1"}, {"b", "1"}}, {{"a!", "1"}}};
  std::vector<StackGroup> groups;
  for (const auto& stack : stacks) {
    for (const auto& list : labels) groups.push_back({stack, list, static_cast<int64_t>(stack.size() % 2 + 1)});
  }
  std::vector<StackGroup> expected = groups;
  std::ranges::sort(expected, [](const StackGroup& a, const StackGroup& b) {
    return a.count != b.count ? a.count > b.count : KeyText(a) < KeyText(b);
  });
  SortByCount(groups);
  EXPECT_THAT(groups, ElementsAreArray(expected));
}

TEST(CountProfile, NothingForgesALine) {
  FakeSymbolizer symbolizer;
  symbolizer.Function(0x100, 0x200, {"evil\n9 @ 0x1\n()", "", "/tmp/a\n9 @ 0x2\n#\t.cc", 1, 1});
  const std::string text = Text(
      symbolizer, {{{0x150}, {{"k\n9 @ 0x3", "v\n\n9 @ 0x4\xe2\x80\xa8"}}, 1}, {{0x151}, {{"\r9 @ 0x5", "\x85"}}, 1}});
  const std::regex line(R"(goroutine profile: total 2|1 @ 0x15[01]|# labels: \{.*\}|#\t0x[0-9a-f]+\t[^\t]+\t+[^\t]+|)");
  std::istringstream lines(text);
  int count = 0;
  for (std::string text_line; std::getline(lines, text_line); ++count) {
    EXPECT_TRUE(std::regex_match(text_line, line)) << text_line;
  }
  EXPECT_EQ(count, 9) << text;
}

TEST(CountProfile, StopsAtTheFirstErrorAndReturnsIt) {
  Shop shop;
  for (const size_t limit : {0, 40}) {
    LeavingSink sink(limit);
    const std::vector<StackGroup> groups = {{{Shop::kMain}, {}, 2}, {{Shop::kWorker}, {}, 1}};
    EXPECT_EQ(WriteCountProfile("goroutine", groups, shop.symbolizer(), sink).code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(sink.refusals(), 1) << limit;
  }
}

}  // namespace
}  // namespace fiberscope::pprof
