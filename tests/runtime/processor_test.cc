#include "runtime/processor.h"

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/control_block.h"

namespace fiberscope::internal {
namespace {

TEST(ProcessorTest, QueuedFibersRunInOrder) {
  std::vector<ControlBlock> fibers(3);
  InjectQueue inject;
  Processor processor(0, 8, inject);
  EXPECT_FALSE(processor.has_queued());
  EXPECT_EQ(processor.Pop(), nullptr);
  for (ControlBlock& fiber : fibers) processor.PushBack(fiber);
  EXPECT_TRUE(processor.has_queued());
  EXPECT_EQ(processor.queue_length(), 3u);
  for (ControlBlock& fiber : fibers) EXPECT_EQ(processor.Pop(), &fiber);
  EXPECT_EQ(processor.Pop(), nullptr);
}

TEST(ProcessorTest, TheOneMadeRunnableLastRunsNextAndItsPredecessorLast) {
  std::vector<ControlBlock> fibers(4);
  InjectQueue inject;
  Processor processor(0, 8, inject);
  processor.PushBack(fibers[0]);
  processor.PushNext(fibers[1]);
  EXPECT_EQ(processor.run_next(), &fibers[1]);
  processor.PushNext(fibers[2]);
  EXPECT_EQ(processor.queue_length(), 3u);
  EXPECT_EQ(processor.Pop(), &fibers[2]);
  EXPECT_EQ(processor.Pop(), &fibers[0]);
  EXPECT_EQ(processor.Pop(), &fibers[1]);
  processor.PushNext(fibers[3]);
  EXPECT_TRUE(processor.has_queued());
  EXPECT_EQ(processor.Pop(), &fibers[3]);
}

TEST(ProcessorTest, ARunNextStreakDoesNotStarveTheQueue) {
  std::vector<ControlBlock> fibers(2);
  InjectQueue inject;
  Processor processor(0, 8, inject);
  processor.PushBack(fibers[0]);
  int streak = 0;
  for (;; ++streak) {
    ASSERT_LT(streak, 1000);
    processor.PushNext(fibers[1]);
    if (processor.Pop() == &fibers[0]) break;
  }
  EXPECT_GT(streak, 1);
  EXPECT_EQ(processor.Pop(), &fibers[1]) << "the slot is served right afterwards";
  // With nothing queued the slot is served however long the streak.
  for (int i = 0; i < 200; ++i) {
    processor.PushNext(fibers[1]);
    ASSERT_EQ(processor.Pop(), &fibers[1]);
  }
}

TEST(ProcessorTest, HalfOfAFullQueueOverflowsToTheInjectQueue) {
  std::vector<ControlBlock> fibers(5);
  InjectQueue inject;
  Processor processor(0, 4, inject);
  for (ControlBlock& fiber : fibers) processor.PushBack(fiber);
  EXPECT_EQ(inject.size(), 2u);
  ControlBlock* const overflow = inject.PopChain(10);
  EXPECT_EQ(overflow, &fibers[0]);
  EXPECT_EQ(overflow->next, &fibers[1]);
  for (int i = 2; i < 5; ++i) EXPECT_EQ(processor.Pop(), &fibers[static_cast<size_t>(i)]);
}

TEST(ProcessorTest, PushNextOverflowsTheOneThatWasNext) {
  std::vector<ControlBlock> fibers(4);
  InjectQueue inject;
  Processor processor(0, 2, inject);
  for (ControlBlock& fiber : fibers) processor.PushNext(fiber);
  EXPECT_EQ(processor.Pop(), &fibers[3]);
  std::set<ControlBlock*> rest;
  while (ControlBlock* const fiber = processor.Pop()) rest.insert(fiber);
  for (ControlBlock* at = inject.PopChain(10); at != nullptr; at = at->next) rest.insert(at);
  EXPECT_EQ(rest, (std::set<ControlBlock*>{&fibers[0], &fibers[1], &fibers[2]}));
}

TEST(ProcessorTest, ThievesTakeHalfTheQueueAndTheSlotOnlyWhenAsked) {
  std::vector<ControlBlock> fibers(5);
  InjectQueue inject;
  Processor victim(0, 8, inject);
  Processor thief(1, 8, inject);
  EXPECT_EQ(thief.StealFrom(victim), nullptr);
  EXPECT_EQ(thief.StealNextFrom(victim), nullptr);
  for (int i = 0; i < 4; ++i) victim.PushBack(fibers[static_cast<size_t>(i)]);
  victim.PushNext(fibers[4]);
  EXPECT_EQ(thief.StealFrom(victim), &fibers[1]) << "the last of the half is to run at once";
  EXPECT_EQ(thief.Pop(), &fibers[0]);
  EXPECT_EQ(victim.run_next(), &fibers[4]);
  EXPECT_EQ(thief.StealNextFrom(victim), &fibers[4]);
  EXPECT_EQ(victim.run_next(), nullptr);
  EXPECT_EQ(victim.Pop(), &fibers[2]);
  EXPECT_EQ(victim.Pop(), &fibers[3]);
  EXPECT_EQ(victim.Pop(), nullptr);
}

class ProcessorStressTest : public ::testing::TestWithParam<uint32_t> {};

// Goal: the queue, its slot and the overflow together lose and double nothing. Method: an owner pushes at the back and
// in front and pops, thieves take from both; every block counts how often it came out.
TEST_P(ProcessorStressTest, EveryFiberComesOutExactlyOnce) {
  constexpr size_t kFibers = 20'000;
  std::vector<ControlBlock> fibers(kFibers);
  std::vector<std::atomic<int>> seen(kFibers);
  const auto take = [&](ControlBlock* fiber) { ++seen[static_cast<size_t>(fiber - fibers.data())]; };
  InjectQueue inject;
  Processor owner(0, GetParam(), inject);
  std::atomic<bool> done{false};
  std::vector<std::thread> thieves;
  for (uint32_t t = 1; t <= 2; ++t) {
    thieves.emplace_back([&, t] {
      Processor mine(t, GetParam(), inject);
      while (!done) {
        if (ControlBlock* const fiber = mine.StealFrom(owner)) take(fiber);
        while (ControlBlock* const fiber = mine.Pop()) take(fiber);
        if (ControlBlock* const fiber = mine.StealNextFrom(owner)) take(fiber);
      }
    });
  }
  for (size_t i = 0; i < kFibers; ++i) {
    i % 3 == 0 ? owner.PushNext(fibers[i]) : owner.PushBack(fibers[i]);
    if (i % 4 == 0) {
      if (ControlBlock* const fiber = owner.Pop()) take(fiber);
    }
  }
  while (ControlBlock* const fiber = owner.Pop()) take(fiber);
  done = true;
  for (std::thread& thief : thieves) thief.join();
  for (ControlBlock* at = inject.PopChain(UINT32_MAX); at != nullptr; at = at->next) take(at);
  for (size_t i = 0; i < kFibers; ++i) ASSERT_EQ(seen[i], 1) << i;
}

INSTANTIATE_TEST_SUITE_P(Slots, ProcessorStressTest, ::testing::Values(2, 256));

}  // namespace
}  // namespace fiberscope::internal
