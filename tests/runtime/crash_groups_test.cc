#include "runtime/crash_groups.h"

#include <memory>
#include <vector>

#include "gmock/gmock.h"

namespace fiberscope::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::Pointee;

class CrashGroupsTest : public ::testing::Test {
 protected:
  void Add(uint64_t id, const std::vector<uintptr_t>& stack, int64_t since_ns = 0) {
    groups_->Add({.block = block_.get(),
                  .id = id,
                  .state = FiberState::kWaiting,
                  .reason = reason_,
                  .since_ns = since_ns,
                  .stack = stack});
  }

  WaitReason reason_ = WaitReason::kSleep;
  std::unique_ptr<ControlBlock> block_ = std::make_unique<ControlBlock>();
  std::unique_ptr<CrashGroups> groups_ = std::make_unique<CrashGroups>();
};

TEST_F(CrashGroupsTest, EqualStacksAreOneGroupAndTheLargestComesFirst) {
  Add(1, {10, 20});
  Add(2, {10, 30}, 500);
  Add(3, {10, 30}, 300);
  Add(4, {10, 20, 30});
  const auto sorted = groups_->Sorted();
  EXPECT_THAT(std::vector(sorted.begin(), sorted.end()),
              ElementsAre(Pointee(Field(&CrashGroup::id, 2)), Pointee(Field(&CrashGroup::id, 1)),
                          Pointee(Field(&CrashGroup::id, 4))));
  EXPECT_EQ(sorted[0]->count, 2u);
  EXPECT_EQ(sorted[0]->oldest_ns, 300);
  EXPECT_EQ(sorted[0]->depth, 2u);
  EXPECT_EQ(sorted[0]->pcs[1], 30u);
  EXPECT_FALSE(sorted[0]->cut);
}

TEST_F(CrashGroupsTest, TheStateAndTheEntryFunctionDistinguish) {
  Add(1, {10});
  reason_ = WaitReason::kIo;
  Add(2, {10});
  block_->entry_pc = 7;
  Add(3, {10});
  EXPECT_EQ(groups_->Sorted().size(), 3u);
}

TEST_F(CrashGroupsTest, OfDeepStacksTheInnerFramesAreKeptAndAllOfThemCompared) {
  std::vector<uintptr_t> deep(CrashGroup::kFrames + 1, 5);
  Add(1, deep);
  deep.back() = 6;
  Add(2, deep);
  const auto sorted = groups_->Sorted();
  ASSERT_EQ(sorted.size(), 2u);
  EXPECT_EQ(sorted[0]->depth, CrashGroup::kFrames);
  EXPECT_TRUE(sorted[0]->cut);
}

TEST_F(CrashGroupsTest, WhatDoesNotFitIsCounted) {
  for (uintptr_t i = 0; i < CrashGroups::kMostGroups + 5; ++i) Add(i + 1, {i});
  Add(9999, {0});  // of a group that is there
  EXPECT_EQ(groups_->overflow(), 5u);
  const auto sorted = groups_->Sorted();
  EXPECT_EQ(sorted.size(), CrashGroups::kMostGroups);
  EXPECT_EQ(sorted[0]->count, 2u);
  groups_->Clear();
  EXPECT_EQ(groups_->overflow(), 0u);
  EXPECT_TRUE(groups_->Sorted().empty());
  Add(1, {1});
  EXPECT_EQ(groups_->Sorted().size(), 1u);
}

}  // namespace
}  // namespace fiberscope::internal
