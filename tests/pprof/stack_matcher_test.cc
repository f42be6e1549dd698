#include "pprof/stack_matcher.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

using Stack = std::vector<uintptr_t>;

StackMatcher Matcher(Shop& shop, std::string_view pattern) {
  return StackMatcher(*FunctionPattern::Compile(pattern), shop.symbolizer());
}

TEST(StackMatcher, LooksAtWhatProfilesShow) {
  const Stack worker = {Shop::kSwitch,    Shop::kPark,      Shop::kReceive, Shop::kTake,
                        Shop::kRunWorker, Shop::kFiberMain, Shop::kTrampoline};
  const struct Row {
    const char* description;
    const char* pattern;
    Stack stack;
    uintptr_t entry_pc;
    bool matches;
  } rows[] = {
      {"a physical function", "shop::Worker", worker, 0, true},
      {"an inlined one", "shop::Queue::Take", worker, 0, true},
      {"machinery at the leaf end", "fiberscope::Channel", worker, 0, true},
      {"root machinery", "RunEntry|FiberMain|fiberscope_fiber_entry", worker, 0, false},
      {"another", "shop::Start", worker, 0, false},
      {"a function inlined into the entry glue", "operator\\(\\)", {Shop::kRunLambda, Shop::kFiberMain}, 0, true},
      {"the glue around it", "RunEntry", {Shop::kRunLambda, Shop::kFiberMain}, 0, false},
      {"nothing but roots: the entry", "shop::Worker", {Shop::kFiberMain, Shop::kTrampoline}, Shop::kWorkerEntry, true},
      {"nothing but roots: not they", "FiberMain", {Shop::kFiberMain, Shop::kTrampoline}, Shop::kWorkerEntry, false},
      {"no stack: the entry", "shop::Worker", {}, Shop::kWorkerEntry, true},
      {"the entry of a fiber with a stack", "shop::Worker", {Shop::kProcess}, Shop::kWorkerEntry, false},
      {"roots without an entry", "FiberMain", {Shop::kFiberMain}, 0, true},
      {"nothing at all", "", {}, 0, false},
      {"an unknown address", "", {Shop::kNowhere}, 0, false},
  };
  for (const Row& row : rows) {
    Shop shop;
    EXPECT_EQ(Matcher(shop, row.pattern).Matches(row.stack, row.entry_pc), row.matches) << row.description;
  }
}

TEST(StackMatcher, TriesEachNameOnceHoweverManyFramesHaveIt) {
  Shop shop;
  StackMatcher matcher = Matcher(shop, "nothing has this name");
  // shop::Worker at two addresses, one with shop::Queue::Take inlined.
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(matcher.Matches(Stack{Shop::kTake, Shop::kWorker, Shop::kTake}, 0));
  EXPECT_EQ(matcher.tried(), 2u);
}

}  // namespace
}  // namespace fiberscope::pprof
