#include "pprof/stack_groups.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Stack = std::vector<uintptr_t>;
using LabelList = std::vector<Label>;

TEST(StackGroups, EqualStacksWithEqualLabelsAreOneGroup) {
  StackGroups groups;
  groups.Add(Stack{1, 2}, {});
  groups.Add(Stack{1, 2}, LabelList{{"k", "v"}});
  groups.Add(Stack{1, 2}, {}, 5);
  groups.Add(Stack{1, 2}, LabelList{{"k", "v"}});
  EXPECT_THAT(std::move(groups).Take(), ElementsAre(StackGroup{{1, 2}, {}, 6}, StackGroup{{1, 2}, {{"k", "v"}}, 2}));
}

TEST(StackGroups, EveryDifferenceSeparates) {
  StackGroups groups;
  const Stack stacks[] = {{}, {1}, {1, 2}, {2, 1}, {1, 2, 3}};
  const LabelList labels[] = {{}, {{"k", ""}}, {{"", "k"}}, {{"k", "v"}}, {{"kv", ""}}, {{"k", "v"}, {"l", "v"}}};
  for (const Stack& stack : stacks) {
    for (const LabelList& list : labels) groups.Add(stack, list);
  }
  for (const StackGroup& group : std::move(groups).Take()) EXPECT_EQ(group.count, 1);
}

TEST(StackGroups, KeepsTheOrderOfFirstAppearanceThroughGrowth) {
  constexpr uintptr_t kStacks = 10'000;
  StackGroups groups;
  for (int round = 0; round < 3; ++round) {
    for (uintptr_t i = 0; i < kStacks; ++i) groups.Add(Stack{i, i + 1}, {});
  }
  const std::vector<StackGroup> taken = std::move(groups).Take();
  ASSERT_EQ(taken.size(), kStacks);
  for (uintptr_t i = 0; i < kStacks; ++i) EXPECT_EQ(taken[i], (StackGroup{{i, i + 1}, {}, 3}));
}

TEST(StackGroups, NothingAddedIsNoGroup) { EXPECT_THAT(StackGroups().Take(), IsEmpty()); }

}  // namespace
}  // namespace fiberscope::pprof
