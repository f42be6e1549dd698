#include "pprof/function_pattern.h"

#include <string>

#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

bool Matches(std::string_view pattern, std::string_view function) {
  const absl::StatusOr<FunctionPattern> compiled = FunctionPattern::Compile(pattern);
  EXPECT_TRUE(compiled.ok()) << pattern;
  return compiled.ok() && compiled->Matches(function);
}

std::string Repeated(std::string_view text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

TEST(FunctionPattern, MatchesAnywhereInTheFullOrTheShortName) {
  const std::string function = "int shop::(anonymous namespace)::Process<std::vector<int> >(std::vector<int> const&)";
  const struct Row {
    const char* pattern;
    bool matches;
  } rows[] = {
      {"Process", true},
      {"process", false},
      {"(?i)process", true},
      {"^int shop::", true},             // full
      {"std::vector", true},             // full
      {"^shop::", true},                 // short
      {"\\(anonymous\\)::Proc", true},   // short
      {"Process<\\.\\.\\.>$", true},     // short
      {"^Process", false},
      {"shop::.*Proc|nothing", true},
      {"", true},
      {"\\x{e4}", false},
  };
  for (const Row& row : rows) EXPECT_EQ(Matches(row.pattern, function), row.matches) << row.pattern;
}

TEST(FunctionPattern, AnUnknownFunctionMatchesNothing) { EXPECT_FALSE(Matches(".*", "")); }

TEST(FunctionPattern, TakesBytesThatAreNotUtf8InAName) { EXPECT_TRUE(Matches("Load$", "\xff\xfeLoad")); }

TEST(FunctionPattern, RefusesWhatIsNoExpressionOrTooLargeWithoutRepeatingIt) {
  const std::string large[] = {std::string(FunctionPattern::kMaxPatternBytes + 1, 'q'), "(((q{100}){100}){10})", "q{1001}",
                               "q{600}", "(?:\\pL{500}){2}", ".{400}"};
  const std::string wrong[] = {"(q",       "q)",     "[q",    "q**",  "*q",        "q\\",
                               "(?P<q", "(?=q)", "\\1q", "q\xff", "[z-a]q", Repeated("(", 200) + "q"};
  const auto expect_refused = [](const std::string& pattern) {
    const absl::Status status = FunctionPattern::Compile(pattern).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << pattern;
    EXPECT_EQ(status.message(),
              "must be a regular expression in RE2's syntax, of at most 256 bytes and, compiled, 500 instructions");
  };
  for (const std::string& pattern : large) expect_refused(pattern);
  for (const std::string& pattern : wrong) expect_refused(pattern);
}

TEST(FunctionPattern, TakesAPatternOfTheGreatestLength) {
  EXPECT_TRUE(Matches(std::string(FunctionPattern::kMaxPatternBytes, 'q'), std::string(500, 'q')));
}

// A backtracking matcher takes 2^4000 steps for these, or as many stack frames as there are letters.
TEST(FunctionPattern, HostilePatternsEnd) {
  const std::string name(FunctionPattern::kMaxNameBytes, 'a');
  for (const char* const pattern : {"^(a+)+$b", "(a|aa)+$b", "(a*)*b", "(.*)*(.*)*(.*)*x", "(a?){100}a{100}b", "(x|y|a){200}b"}) {
    EXPECT_FALSE(Matches(pattern, name)) << pattern;
  }
  EXPECT_TRUE(Matches(Repeated("(", 100) + "a" + Repeated(")", 100), name));
}

TEST(FunctionPattern, LooksAtTheBeginningOfALongName) {
  const std::string name = std::string(FunctionPattern::kMaxNameBytes - 1, 'a') + "bc";
  EXPECT_TRUE(Matches("ab", name));
  EXPECT_FALSE(Matches("c", name));
}

}  // namespace
}  // namespace fiberscope::pprof
