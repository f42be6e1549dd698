#include "runtime/inject_queue.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/control_block.h"

namespace fiberscope::internal {
namespace {

TEST(InjectQueueTest, IsFirstInFirstOutAndPopsUpToTheLimit) {
  std::vector<ControlBlock> blocks(5);
  InjectQueue queue;
  EXPECT_EQ(queue.PopChain(1), nullptr);
  for (ControlBlock& block : blocks) queue.Push(block);
  EXPECT_EQ(queue.size(), 5u);
  ControlBlock* const chain = queue.PopChain(2);
  EXPECT_EQ(chain, &blocks[0]);
  EXPECT_EQ(chain->next, &blocks[1]);
  EXPECT_EQ(blocks[1].next, nullptr);
  EXPECT_EQ(queue.PopChain(0), nullptr);
  EXPECT_EQ(queue.PopChain(100), &blocks[2]);
  EXPECT_TRUE(queue.empty());
}

TEST(InjectQueueTest, TakesChains) {
  std::vector<ControlBlock> blocks(3);
  InjectQueue queue;
  queue.Push(blocks[0]);
  blocks[1].next = &blocks[2];
  blocks[2].next = nullptr;
  queue.PushChain(blocks[1], blocks[2], 2);
  EXPECT_EQ(queue.size(), 3u);
  for (ControlBlock& block : blocks) EXPECT_EQ(queue.PopChain(1), &block);
}

// The positions in `blocks` of a chain.
std::vector<int> Positions(const std::vector<ControlBlock>& blocks, const ControlBlock* at) {
  std::vector<int> positions;
  for (; at != nullptr; at = at->next) positions.push_back(static_cast<int>(at - blocks.data()));
  return positions;
}

void PushOverflow(InjectQueue& queue, std::vector<ControlBlock>& blocks, int first, int count) {
  for (int i = 0; i < count; ++i) blocks[first + i].next = i + 1 < count ? &blocks[first + i + 1] : nullptr;
  queue.PushOverflow(blocks[first], blocks[first + count - 1], static_cast<uint32_t>(count));
}

TEST(InjectQueueTest, OverflowIsTakenNewestFirstInItsOrderAndAfterWhatHasEntered) {
  std::vector<ControlBlock> blocks(8);
  InjectQueue queue;
  PushOverflow(queue, blocks, 0, 3);
  PushOverflow(queue, blocks, 3, 3);
  queue.Push(blocks[6]);
  queue.Push(blocks[7]);
  EXPECT_EQ(queue.size(), 8u);
  EXPECT_EQ(Positions(blocks, queue.PopChain(5)), (std::vector<int>{6, 7}));
  EXPECT_EQ(Positions(blocks, queue.PopChain(2)), (std::vector<int>{4, 5}));
  EXPECT_EQ(Positions(blocks, queue.PopChain(2)), (std::vector<int>{2, 3}));
  EXPECT_EQ(Positions(blocks, queue.PopChain(5)), (std::vector<int>{0, 1}));
  EXPECT_EQ(queue.PopChain(5), nullptr);
  EXPECT_EQ(queue.size(), 0u);
  PushOverflow(queue, blocks, 0, 1);
  EXPECT_EQ(Positions(blocks, queue.PopChain(1)), (std::vector<int>{0}));
}

TEST(InjectQueueTest, OldestOfBothKindsHaveTheirTurn) {
  std::vector<ControlBlock> blocks(8);
  InjectQueue queue;
  PushOverflow(queue, blocks, 0, 3);
  for (int i = 3; i < 8; ++i) queue.Push(blocks[i]);
  EXPECT_EQ(Positions(blocks, queue.PopOldest(2)), (std::vector<int>{3, 4}));
  EXPECT_EQ(Positions(blocks, queue.PopOldest(2)), (std::vector<int>{0}));
  EXPECT_EQ(Positions(blocks, queue.PopOldest(2)), (std::vector<int>{5, 6}));
  EXPECT_EQ(Positions(blocks, queue.PopOldest(2)), (std::vector<int>{1}));
  EXPECT_EQ(Positions(blocks, queue.PopOldest(2)), (std::vector<int>{7}));
  EXPECT_EQ(Positions(blocks, queue.PopOldest(2)), (std::vector<int>{2}));
  EXPECT_EQ(queue.PopOldest(2), nullptr);
}

TEST(InjectQueueTest, ManyThreadsLoseNothing) {
  constexpr int kThreads = 4;
  constexpr int kEach = 5'000;
  std::vector<ControlBlock> blocks(kThreads * kEach);
  InjectQueue queue;
  std::vector<std::thread> threads;
  std::atomic<int> popped{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        queue.Push(blocks[t * kEach + i]);
        if (i % 2 == 0) {
          for (ControlBlock* at = queue.PopChain(3); at != nullptr; at = at->next) ++popped;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (ControlBlock* at = queue.PopChain(UINT32_MAX); at != nullptr; at = at->next) ++popped;
  EXPECT_EQ(popped, kThreads * kEach);
  EXPECT_EQ(queue.size(), 0u);
}

}  // namespace
}  // namespace fiberscope::internal
