#include "runtime/run_queue.h"

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/control_block.h"

namespace fiberscope::internal {
namespace {

TEST(RunQueueTest, IsFirstInFirstOutAndBounded) {
  std::vector<ControlBlock> blocks(5);
  RunQueue queue(4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.Push(blocks[i]));
  EXPECT_FALSE(queue.Push(blocks[4]));
  EXPECT_EQ(queue.size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(queue.Pop(), &blocks[i]);
  EXPECT_EQ(queue.Pop(), nullptr);
}

TEST(RunQueueTest, PopHalfTakesTheOlderHalfAsAChain) {
  std::vector<ControlBlock> blocks(4);
  RunQueue queue(4);
  for (ControlBlock& block : blocks) queue.Push(block);
  ControlBlock* last = nullptr;
  ControlBlock* const first = queue.PopHalf(&last);
  EXPECT_EQ(first, &blocks[0]);
  EXPECT_EQ(first->next, &blocks[1]);
  EXPECT_EQ(last, &blocks[1]);
  EXPECT_EQ(last->next, nullptr);
  EXPECT_EQ(queue.Pop(), &blocks[2]);
}

TEST(RunQueueTest, StealingTakesHalfRoundedUp) {
  std::vector<ControlBlock> blocks(5);
  RunQueue victim(8);
  RunQueue thief(8);
  EXPECT_EQ(victim.StealInto(thief), nullptr);
  for (ControlBlock& block : blocks) victim.Push(block);
  EXPECT_EQ(victim.StealInto(thief), &blocks[2]);
  EXPECT_EQ(thief.Pop(), &blocks[0]);
  EXPECT_EQ(thief.Pop(), &blocks[1]);
  EXPECT_EQ(thief.Pop(), nullptr);
  EXPECT_EQ(victim.size(), 2u);
}

TEST(RunQueueDeathTest, CapacityMustBeAPowerOfTwo) {
  EXPECT_DEATH(RunQueue(3), "run queue capacity 3");
  EXPECT_DEATH(RunQueue(1), "run queue capacity 1");
}

class RunQueueStressTest : public ::testing::TestWithParam<uint32_t> {};

// Goal: nothing is lost and nothing comes twice. Method: an owner pushes, pops and overflows; thieves steal; every block carries a
// counter of how often it came out. Tiny capacities make the counters wrap around the ring all the time.
TEST_P(RunQueueStressTest, EveryFiberComesOutExactlyOnce) {
  constexpr int kThieves = 2;
  constexpr int kBlocks = 20'000;
  std::vector<ControlBlock> blocks(kBlocks);
  std::vector<std::atomic<int>> seen(kBlocks);
  const auto take = [&](ControlBlock* block) { ++seen[static_cast<size_t>(block - blocks.data())]; };
  RunQueue queue(GetParam());
  std::atomic<bool> done{false};
  std::vector<std::thread> thieves;
  for (int t = 0; t < kThieves; ++t) {
    thieves.emplace_back([&] {
      RunQueue mine(GetParam());
      while (!done) {
        if (ControlBlock* const block = queue.StealInto(mine)) take(block);
        while (ControlBlock* const block = mine.Pop()) take(block);
      }
    });
  }
  for (int i = 0; i < kBlocks; ++i) {
    while (!queue.Push(blocks[i])) {
      ControlBlock* last = nullptr;
      for (ControlBlock* at = queue.PopHalf(&last); at != nullptr; at = at->next) take(at);
    }
    if (i % 3 == 0) {
      if (ControlBlock* const block = queue.Pop()) take(block);
    }
  }
  while (ControlBlock* const block = queue.Pop()) take(block);
  done = true;
  for (std::thread& thief : thieves) thief.join();
  while (ControlBlock* const block = queue.Pop()) take(block);
  for (int i = 0; i < kBlocks; ++i) ASSERT_EQ(seen[i], 1) << "block " << i;
}

INSTANTIATE_TEST_SUITE_P(Capacity, RunQueueStressTest, ::testing::Values(2, 4, 256));

}  // namespace
}  // namespace fiberscope::internal
