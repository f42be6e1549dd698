#include "pprof/fiber_groups.h"

#include <chrono>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<uintptr_t> kStack = {0x10, 0x20};

FiberSnapshot Waiting(uint64_t id, std::span<const uintptr_t> stack, uint32_t number) {
  FiberSnapshot fiber;
  fiber.id = {id};
  fiber.state = FiberState::kWaiting;
  fiber.wait_reason = WaitReason::kSleep;
  fiber.waited = std::chrono::nanoseconds(100 * id);
  fiber.creator_pc = 0x5000;
  fiber.entry_pc = 0x6000;
  fiber.stack = stack;
  fiber.stack_number = number;
  return fiber;
}

TEST(FiberGroupsTest, EqualStacksAreOneGroupWithAndWithoutNumbers) {
  for (const uint32_t number : {0u, 7u}) {
    FiberGroups groups;
    const std::vector<uintptr_t> copy = kStack;
    const std::vector<uintptr_t> other = {0x10, 0x30};
    groups.Add(Waiting(1, kStack, number));
    groups.Add(Waiting(2, other, number == 0 ? 0 : 8));
    groups.Add(Waiting(3, copy, number));
    ASSERT_THAT(groups.groups(), SizeIs(2));
    EXPECT_EQ(groups.groups()[0].count, 2);
    EXPECT_THAT(groups.StackOf(groups.groups()[0]), ElementsAre(0x10, 0x20));
    EXPECT_THAT(groups.LabelsOf(groups.groups()[0]), IsEmpty());
    EXPECT_EQ(groups.groups()[1].count, 1);
    EXPECT_EQ(groups.left_out(), 0);
  }
}

TEST(FiberGroupsTest, EntryAndLabelsTellGroupsApart) {
  FiberGroups groups;
  const std::vector<Label> labels = {{"route", "/x"}};
  FiberSnapshot fiber = Waiting(1, kStack, 1);
  groups.Add(fiber);
  fiber.entry_pc = 0x7000;
  groups.Add(fiber);
  fiber.labels = labels;
  groups.Add(fiber);
  ASSERT_THAT(groups.groups(), SizeIs(3));
  EXPECT_THAT(groups.LabelsOf(groups.groups()[2]), ElementsAre(Label{"route", "/x"}));
}

TEST(FiberGroupsTest, TagsTellGroupsApartAndOnlyThose) {
  const struct Row {
    FiberTags tags;
    size_t groups;
  } rows[] = {
      {{}, 1}, {{.state = true}, 2}, {{.wait = true}, 3}, {{.creator = true}, 2}, {{.id = true}, 3}, {{true, true, true, true}, 3},
  };
  for (const Row& row : rows) {
    FiberGroups groups(row.tags);
    FiberSnapshot fibers[] = {Waiting(1, kStack, 1), Waiting(2, kStack, 1), Waiting(3, kStack, 1)};
    fibers[0].wait_reason = WaitReason::kJoin;
    fibers[2].creator_pc = 0x5001;
    for (const FiberSnapshot& fiber : fibers) groups.Add(fiber);
    EXPECT_THAT(groups.groups(), SizeIs(row.groups));
    const FiberGroup& first = groups.groups()[0];
    EXPECT_EQ(first.state, row.tags.state ? FiberState::kWaiting : FiberState::kDead);
    EXPECT_EQ(first.wait_reason, row.tags.state ? WaitReason::kJoin : WaitReason::kNone);
    EXPECT_EQ(first.wait_ns, row.tags.wait ? 100 : 0);
    EXPECT_EQ(first.creator_pc, row.tags.creator ? 0x5000u : 0u);
    EXPECT_EQ(first.id.value, row.tags.id ? 1u : 0u);
  }
}

TEST(FiberGroupsTest, TheInnermostFramesCount) {
  std::vector<uintptr_t> deep(200, 0x10);
  FiberGroups groups;
  groups.Add(Waiting(1, deep, 0));
  deep.back() = 0x99;
  groups.Add(Waiting(2, deep, 0));
  ASSERT_THAT(groups.groups(), SizeIs(1));
  EXPECT_THAT(groups.StackOf(groups.groups()[0]), SizeIs(FiberGroups::kMostFrames));
}

TEST(FiberGroupsTest, BeyondItsMemoryFibersCountAtTheirEntryAndItSaysSo) {
  FiberGroups groups({}, /*most_addresses=*/5);
  std::vector<std::vector<uintptr_t>> stacks = {{1, 2}, {3, 4}, {5, 6}, {1, 2}, {7, 8}};
  for (uint64_t id = 0; id < stacks.size(); ++id) groups.Add(Waiting(id + 1, stacks[id], 0));
  ASSERT_THAT(groups.groups(), SizeIs(3));
  EXPECT_EQ(groups.groups()[0].count, 2);
  EXPECT_THAT(groups.StackOf(groups.groups()[2]), IsEmpty());
  EXPECT_EQ(groups.groups()[2].count, 2);
  EXPECT_EQ(groups.left_out(), 2);
}

}  // namespace
}  // namespace fiberscope::pprof
