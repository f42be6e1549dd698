#include "runtime/trace/trace_stacks.h"

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/own_stack.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope::internal {
namespace {

class TraceStacksTest : public ::testing::Test {
 protected:
  TraceStacksTest() { UnwindTable::Refresh(); }

  // The stack of the caller.
  [[gnu::noinline]] uint64_t Here(uint32_t generation) {
    return memo_->Number(generation, bounds_, reinterpret_cast<uintptr_t>(__builtin_return_address(0)),
                         reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) + 2 * sizeof(uintptr_t), nullptr);
  }
  [[gnu::noinline]] uint64_t Deeper(int levels, uint32_t generation) {
    const uint64_t number = levels == 0 ? Here(generation) : Deeper(levels - 1, generation);
    asm volatile("" ::: "memory");  // not a tail call
    return number;
  }
  static std::vector<uintptr_t> PcsOf(uint64_t number, uint32_t generation) {
    for (const TraceStack& each : TraceStacksOf(generation)) {
      if (each.number == number) return each.pcs;
    }
    return {};
  }

  const StackBounds bounds_ = ThreadStackBounds();
  const std::unique_ptr<TraceStackMemo> memo_ = std::make_unique<TraceStackMemo>();
};

TEST_F(TraceStacksTest, TheSameStackHasTheSameNumberAndIsTheOneThatTheUnwinderFinds) {
  std::vector<uint64_t> numbers;
  std::array<uintptr_t, 128> pcs;
  size_t depth = 0;
  for (int i = 0; i < 3; ++i) {
    depth = CaptureOwnStack(pcs);
    numbers.push_back(Here(1));
  }
  EXPECT_NE(numbers[0], 0u);
  EXPECT_EQ(numbers, std::vector<uint64_t>(3, numbers[0]));
  const std::vector<uintptr_t> stack = PcsOf(numbers[0], 1);
  ASSERT_EQ(stack.size(), depth);
  // The innermost address is that of another call in the same line.
  EXPECT_TRUE(std::equal(stack.begin() + 1, stack.end(), pcs.begin() + 1));
}

TEST_F(TraceStacksTest, OtherStacksHaveOtherNumbers) {
  const uint64_t first = Deeper(1, 1);
  const uint64_t second = Deeper(2, 1);
  EXPECT_NE(first, second);
  EXPECT_EQ(PcsOf(first, 1).size() + 1, PcsOf(second, 1).size());
}

TEST_F(TraceStacksTest, OnlyThoseThatWereUsedInAGenerationAreItsOwn) {
  uint64_t number = 0;
  for (const uint32_t generation : {4u, 5u}) {
    const uint64_t used = Deeper(3, generation);
    if (generation == 4) number = used;
    EXPECT_EQ(used, number);
    EXPECT_FALSE(PcsOf(number, 4).empty());
    EXPECT_EQ(PcsOf(number, 5).empty(), generation == 4);
    EXPECT_TRUE(PcsOf(number, 6).empty());
  }
}

TEST_F(TraceStacksTest, ASingleAddressIsAStackToo) {
  const uint64_t number = memo_->NumberOf(1, 4711);
  EXPECT_EQ(PcsOf(number, 1), std::vector<uintptr_t>{4711});
  EXPECT_EQ(memo_->NumberOf(1, 4711), number);
  EXPECT_EQ(memo_->NumberOf(1, 0), 0u);
}

TEST_F(TraceStacksTest, OutsideOfTheStackThereIsNone) {
  EXPECT_EQ(memo_->Number(1, bounds_, 4711, bounds_.high + 8, nullptr), 0u);
  EXPECT_EQ(memo_->Number(1, bounds_, 4711, bounds_.low - 8, nullptr), 0u);
}

}  // namespace
}  // namespace fiberscope::internal
