#include "runtime/request_id.h"

#include <string>

#include "gtest/gtest.h"

namespace fiberscope {
namespace {

TEST(RequestIdTest, IsShortAndHarmless) {
  const std::string longest(RequestId::kMaxBytes, 'x');
  for (const std::string& text : {std::string("a"), std::string("7f/3:+=_.~!"), longest}) {
    ASSERT_TRUE(RequestId::Parse(text).has_value()) << text;
    EXPECT_EQ(RequestId::Parse(text)->text(), text);
  }
  for (const std::string& text : {std::string(), longest + "x", std::string("a b"), std::string("a\nb"), std::string("a\"b"),
                                  std::string("a\\b"), std::string("a,b"), std::string("a;b"), std::string("\xc3\xa9"),
                                  std::string("a\0b", 3), std::string("\x7f")}) {
    EXPECT_FALSE(RequestId::Parse(text).has_value()) << text;
  }
}

// "tttttttt-tttt-7rrr-[89ab]rrr-rrrrrrrrrrrr"
TEST(RequestIdTest, NewOnesAreVersion7Uuids) {
  const std::string earlier = RequestId::New().text();
  const std::string text = RequestId::New().text();
  EXPECT_EQ(text.size(), 36);
  for (const size_t dash : {8, 13, 18, 23}) EXPECT_EQ(text[dash], '-');
  EXPECT_EQ(text[14], '7');
  EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
  EXPECT_EQ(text.find_first_not_of("0123456789abcdef-"), std::string::npos);
  EXPECT_LE(earlier.substr(0, 13), text.substr(0, 13));
  EXPECT_NE(earlier, text);
}

}  // namespace
}  // namespace fiberscope
