#include "runtime/unwind/stack_table.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/runtime/unwind/stack_truth.h"

namespace fiberscope {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

constexpr size_t kMaxFrames = 512;

// Both at the same moment, on the caller's stack.
struct Walked {
  uint32_t number = StackTable::kNone;
  std::vector<uintptr_t> truth;
  bool truth_truncated = false;
};

__attribute__((noinline, noipa)) void WalkHere(StackTable& table, Walked& walked) {
  const Registers registers = CaptureRegisters();
  const StackBounds stack = testing::ThreadStack();
  std::array<uintptr_t, kMaxFrames> pcs;
  const UnwindResult result = Unwind(table.unwind_table(), registers, stack, pcs);
  walked.truth.assign(pcs.begin(), pcs.begin() + result.depth);
  walked.truth_truncated = result.end != UnwindEnd::kRoot;
  walked.number = table.Walk(registers, stack, kMaxFrames);
}

// noipa: one call site, one address.
__attribute__((noinline, noipa)) void Descend(int depth, StackTable& table, Walked& walked) {
  if (depth > 0) {
    Descend(depth - 1, table, walked);
  } else {
    WalkHere(table, walked);
  }
  asm volatile("");  // not a tail call
}

__attribute__((noinline, noipa)) void DescendOtherwise(int depth, StackTable& table, Walked& walked) {
  Descend(depth, table, walked);
  asm volatile("");
}

class StackTableTest : public ::testing::Test {
 protected:
  static void ExpectTruth(const StackTable& table, const Walked& walked) {
    ASSERT_NE(walked.number, StackTable::kNone);
    const StackTable::Stack stack = table.Get(walked.number);
    EXPECT_THAT(stack.pcs, ElementsAreArray(walked.truth));
    EXPECT_EQ(stack.truncated, walked.truth_truncated);
  }

  const UnwindTable& unwind_table_ = UnwindTable::Refresh();
};

TEST_F(StackTableTest, AWalkFindsWhatTheUnwinderFindsAndKnowsItAgain) {
  StackTable table(unwind_table_);
  std::vector<uint32_t> numbers;
  for (int round = 0; round < 2; ++round) {
    for (int depth = 0; depth < 40; ++depth) {
      Walked walked;
      Descend(depth, table, walked);
      ExpectTruth(table, walked);
      if (round == 0) {
        EXPECT_EQ(std::ranges::count(numbers, walked.number), 0);
        numbers.push_back(walked.number);
      } else {
        EXPECT_EQ(walked.number, numbers[depth]);
      }
    }
  }
}

TEST_F(StackTableTest, StacksThatDifferInTheirOuterPartDiffer) {
  StackTable table(unwind_table_);
  Walked here;
  Walked otherwise;
  Descend(5, table, here);
  DescendOtherwise(5, table, otherwise);
  ExpectTruth(table, here);
  ExpectTruth(table, otherwise);
  EXPECT_NE(here.number, otherwise.number);
}

TEST_F(StackTableTest, AStackThatWasInsertedIsTheOneThatIsWalked) {
  StackTable table(unwind_table_);
  Walked walked;
  Descend(3, table, walked);
  EXPECT_EQ(table.Insert(walked.truth, walked.truth_truncated), walked.number);
  EXPECT_EQ(table.Insert(walked.truth, !walked.truth_truncated), walked.number ^ 1) << "what is missing counts";
}

TEST_F(StackTableTest, APrefixIsAStackOfItsOwn) {
  StackTable table(unwind_table_);
  const uintptr_t pcs[] = {0x10, 0x20, 0x30};
  const uint32_t whole = table.Insert(pcs, false);
  const uint32_t part = table.Insert(std::span(pcs).first(2), false);
  EXPECT_NE(whole, part);
  EXPECT_THAT(table.Get(whole).pcs, ElementsAre(0x10, 0x20, 0x30));
  EXPECT_THAT(table.Get(part).pcs, ElementsAre(0x10, 0x20));
  EXPECT_EQ(table.Insert({}, false), StackTable::kNone) << "there is no empty stack";
}

TEST_F(StackTableTest, AWalkEndsAtTheFramesAskedFor) {
  StackTable table(unwind_table_);
  Walked walked;
  Descend(30, table, walked);
  const Registers registers = CaptureRegisters();
  const uint32_t number = table.Walk(registers, testing::ThreadStack(), 3);
  EXPECT_EQ(table.Get(number).pcs.size(), 3u);
  EXPECT_TRUE(table.Get(number).truncated);
}

TEST_F(StackTableTest, AFullTableGoesOnKnowingWhatItKnows) {
  StackTable table(unwind_table_, /*max_nodes=*/8);
  const uintptr_t known[] = {0x10, 0x20, 0x30};
  const uint32_t number = table.Insert(known, false);
  EXPECT_FALSE(table.full());
  std::vector<uintptr_t> many(20);
  for (size_t i = 0; i < many.size(); ++i) many[i] = 0x1000 + i;
  EXPECT_EQ(table.Insert(many, false), StackTable::kNone);
  EXPECT_TRUE(table.full());
  EXPECT_EQ(table.Insert(known, false), number);
  EXPECT_THAT(table.Get(number).pcs, ElementsAre(0x10, 0x20, 0x30));
  EXPECT_LE(table.node_count(), 9u);
}

// Stacks share frames but not lists of addresses: many ends on one long path.
TEST_F(StackTableTest, AddressesAreBoundedToo) {
  StackTable table(unwind_table_, /*max_nodes=*/100);
  std::vector<uintptr_t> path(100);
  for (size_t i = 0; i < path.size(); ++i) path[i] = 0x1000 + i;
  size_t listed = 0;
  for (size_t depth = 1; depth <= path.size(); ++depth) {
    if (table.Insert(std::span(path).first(depth), false) != StackTable::kNone) listed += depth;
  }
  EXPECT_TRUE(table.full());
  EXPECT_GT(listed, 100u);
  EXPECT_LE(listed, 200u);
}

}  // namespace
}  // namespace fiberscope
