#include "pprof/encode/go_quote.h"

#include "gtest/gtest.h"
#include "pprof/encode/printable.h"

namespace fiberscope::pprof {
namespace {

struct QuoteCase {
  std::string_view text;
  const char* quoted;  // GoQuote
  const char* dumped;  // GoDumpQuote
  const char* line;    // EscapeLine
};

const QuoteCase kCases[] = {
    {"", R"("")", "", ""},
    {"plain", R"("plain")", "plain", "plain"},
    {"/a.b/c_d9", R"("/a.b/c_d9")", "/a.b/c_d9", "/a.b/c_d9"},
    {"a-b", R"("a-b")", R"("a-b")", "a-b"},
    {"two words", R"("two words")", R"("two words")", "two words"},
    {"say \"hi\"", R"("say \"hi\"")", R"("say \"hi\"")", "say \"hi\""},
    {"back\\slash", R"("back\\slash")", R"("back\\slash")", "back\\slash"},
    {"\n\r\t", R"("\n\r\t")", R"("\n\r\t")", R"(\n\r\t)"},
    {"\a\b\f\v", R"("\a\b\f\v")", R"("\x07\x08\x0c\x0b")", R"(\a\b\f\v)"},
    {std::string_view("\0\x1b\x7f", 3), R"("\x00\x1b\x7f")", R"("\x00\x1b\u007f")", R"(\x00\x1b\x7f)"},
    {"K\xc3\xa4se", "\"K\xc3\xa4se\"", R"("K\u00e4se")", "K\xc3\xa4se"},
    {"\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"", R"("\U0001f600")", "\xf0\x9f\x98\x80"},
    {"\xff\xc3", R"("\xff\xc3")", R"("\xff\xc3")", R"(\xff\xc3)"},
    {"\xef\xbf\xbd", "\"\xef\xbf\xbd\"", R"("\ufffd")", "\xef\xbf\xbd"},
    {"\xc2\x85", R"("\u0085")", R"("\u0085")", R"(\u0085)"},                      // next line, a control
    {"\xe2\x80\xa8", R"("\u2028")", R"("\u2028")", R"(\u2028)"},                  // line separator
    {"\xe2\x80\xae", R"("\u202e")", R"("\u202e")", R"(\u202e)"},                  // right-to-left override
    {"\xc2\xa0", R"("\u00a0")", R"("\u00a0")", R"(\u00a0)"},                      // no-break space
    {"\xf3\xa0\x80\xa0", R"("\U000e0020")", R"("\U000e0020")", R"(\U000e0020)"},  // a tag character
};

TEST(GoQuote, QuotesAsStrconv) {
  for (const QuoteCase& c : kCases) EXPECT_EQ(GoQuote(c.text), c.quoted);
}

TEST(GoQuote, QuotesInDumpsOnlyWhenNeededAndInAscii) {
  for (const QuoteCase& c : kCases) EXPECT_EQ(GoDumpQuote(c.text), c.dumped);
}

TEST(GoQuote, EscapesLinesWithoutQuotes) {
  for (const QuoteCase& c : kCases) EXPECT_EQ(EscapeLine(c.text), c.line);
}

TEST(GoQuote, NoByteAloneOrInPairsBreaksALine) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text = {static_cast<char>(a), static_cast<char>(b)};
      for (const std::string& out : {GoQuote(text), GoDumpQuote(text), EscapeLine(text)}) {
        for (const char c : out) {
          ASSERT_TRUE(static_cast<unsigned char>(c) >= ' ' && c != 0x7f) << a << " " << b << ": " << out;
        }
      }
    }
  }
}

TEST(GoQuote, CutsAtCharacterBoundaries) {
  EXPECT_EQ(CutText("abc", 3), "abc");
  EXPECT_EQ(CutText("abcd", 3), "abc...");
  EXPECT_EQ(CutText("ab\xc3\xa4", 3), "ab...");
  EXPECT_EQ(CutText("", 0), "");
}

TEST(Printable, KnowsTheEdgesOfItsRanges) {
  for (const char32_t c :
       {U' ', U'~', U'\u00a1', U'\u00ac', U'\u00ae', U'\u0377', U'\u037a', U'\U000e0100', U'\U000e01ef'}) {
    EXPECT_TRUE(IsPrintable(c)) << std::hex << static_cast<uint32_t>(c);
  }
  for (const uint32_t c : {0x00u, 0x1fu, 0x7fu, 0xa0u, 0xadu, 0x378u, 0xd800u, 0xe000u, 0xfffeu, 0xe01f0u, 0x10ffffu}) {
    EXPECT_FALSE(IsPrintable(c)) << std::hex << c;
  }
}

}  // namespace
}  // namespace fiberscope::pprof
