#include "pprof/utf8.h"

#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

struct DecodeCase {
  const char* what;
  std::string_view text;
  char32_t code_point;
  size_t length;
  bool valid;
};

TEST(Utf8, DecodesWellFormedCharactersAndOnlyThose) {
  const DecodeCase cases[] = {
      {"ASCII", "a", 'a', 1, true},
      {"NUL", std::string_view("\0x", 2), 0, 1, true},
      {"first of two bytes", "\xc2\x80", 0x80, 2, true},
      {"last of two bytes", "\xdf\xbf", 0x7ff, 2, true},
      {"first of three bytes", "\xe0\xa0\x80", 0x800, 3, true},
      {"before the surrogates", "\xed\x9f\xbf", 0xd7ff, 3, true},
      {"after the surrogates", "\xee\x80\x80", 0xe000, 3, true},
      {"replacement character", "\xef\xbf\xbd", 0xfffd, 3, true},
      {"first of four bytes", "\xf0\x90\x80\x80", 0x10000, 4, true},
      {"last of all", "\xf4\x8f\xbf\xbf", 0x10ffff, 4, true},
      {"continuation alone", "\x80", 0x80, 1, false},
      {"overlong slash", "\xc0\xaf", 0xc0, 1, false},
      {"overlong in three", "\xe0\x9f\xbf", 0xe0, 1, false},
      {"overlong in four", "\xf0\x8f\xbf\xbf", 0xf0, 1, false},
      {"surrogate", "\xed\xa0\x80", 0xed, 1, false},
      {"above the last", "\xf4\x90\x80\x80", 0xf4, 1, false},
      {"no lead byte", "\xff", 0xff, 1, false},
      {"cut short", "\xe2\x82", 0xe2, 1, false},
      {"wrong third byte", "\xe2\x82\x28", 0xe2, 1, false},
  };
  for (const DecodeCase& c : cases) {
    const Utf8Character decoded = DecodeUtf8(c.text);
    EXPECT_EQ(decoded.code_point, c.code_point) << c.what;
    EXPECT_EQ(decoded.length, c.length) << c.what;
    EXPECT_EQ(decoded.valid, c.valid) << c.what;
  }
}

TEST(Utf8, InvalidBytesAreSpelledOut) {
  EXPECT_EQ(ToValidUtf8(""), "");
  EXPECT_EQ(ToValidUtf8("K\xc3\xa4se\n"), "K\xc3\xa4se\n");
  EXPECT_EQ(ToValidUtf8("a\xff\xc3z"), "a\\xff\\xc3z");
  EXPECT_EQ(ToValidUtf8("\xe2\x82"), "\\xe2\\x82");
}

TEST(Utf8, PrefixNeverEndsInsideACharacter) {
  const std::string_view text =
      "a\xe2\x82\xac"
      "b";  // a, euro sign, b
  EXPECT_EQ(Utf8Prefix(text, 9), text);
  EXPECT_EQ(Utf8Prefix(text, 5), text);
  EXPECT_EQ(Utf8Prefix(text, 4), "a\xe2\x82\xac");
  EXPECT_EQ(Utf8Prefix(text, 3), "a");
  EXPECT_EQ(Utf8Prefix(text, 2), "a");
  EXPECT_EQ(Utf8Prefix(text, 1), "a");
  EXPECT_EQ(Utf8Prefix(text, 0), "");
  EXPECT_EQ(Utf8Prefix("\xf0\x9f\x98\x80", 3), "");
  EXPECT_EQ(Utf8Prefix("\x80\x80\x80\x80\x80", 3), "\x80\x80\x80") << "invalid bytes stand alone";
}

TEST(Utf8, LengthCountsCharactersAndInvalidBytes) {
  EXPECT_EQ(Utf8Length(""), 0u);
  EXPECT_EQ(Utf8Length("K\xc3\xa4se"), 4u);
  EXPECT_EQ(Utf8Length("\xff\xfe"), 2u);
}

}  // namespace
}  // namespace fiberscope::pprof
