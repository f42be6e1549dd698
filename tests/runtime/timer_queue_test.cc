#include "runtime/timer_queue.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/control_block.h"

namespace fiberscope::internal {
namespace {

// As a fiber that sleeps: its wait is open, and it has parked.
void AddSleeper(TimerQueue& timers, int64_t deadline_ns, ControlBlock& block) {
  block.wait.claim.Open(/*cancellable=*/false);
  EXPECT_FALSE(block.wait.claim.Arrive());
  timers.Add(deadline_ns, block.wait.timer);
}

std::vector<ControlBlock*> Chain(ControlBlock* first) {
  std::vector<ControlBlock*> all;
  for (; first != nullptr; first = first->next) all.push_back(first);
  return all;
}

// All of them.
std::vector<ControlBlock*> Expired(TimerQueue& timers, int64_t now_ns) {
  std::vector<ControlBlock*> fibers;
  while (ControlBlock* const some = timers.PopExpired(now_ns)) {
    for (ControlBlock* const fiber : Chain(some)) fibers.push_back(fiber);
  }
  return fibers;
}

TEST(TimerQueueTest, NothingExpiresBeforeItsDeadline) {
  std::vector<ControlBlock> blocks(2);
  TimerQueue timers;
  EXPECT_EQ(timers.next_deadline_ns(), TimerQueue::kNever);
  AddSleeper(timers, 100, blocks[0]);
  AddSleeper(timers, 50, blocks[1]);
  EXPECT_EQ(timers.next_deadline_ns(), 50);
  EXPECT_EQ(timers.PopExpired(49), nullptr);
  EXPECT_EQ(Expired(timers, 50), (std::vector<ControlBlock*>{&blocks[1]}));
  EXPECT_EQ(timers.next_deadline_ns(), 100);
  EXPECT_EQ(Expired(timers, 1000), (std::vector<ControlBlock*>{&blocks[0]}));
  EXPECT_EQ(timers.next_deadline_ns(), TimerQueue::kNever);
}

TEST(TimerQueueTest, EqualDeadlinesExpireInTheOrderOfTheirAdds) {
  std::vector<ControlBlock> blocks(100);
  TimerQueue timers;
  std::vector<ControlBlock*> order;
  for (ControlBlock& block : blocks) {
    AddSleeper(timers, 7, block);
    order.push_back(&block);
  }
  EXPECT_EQ(Expired(timers, 7), order);
}

TEST(TimerQueueTest, RandomDeadlinesExpireSorted) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  constexpr int kBlocks = 1000;
  std::vector<ControlBlock> blocks(kBlocks);
  std::vector<int64_t> deadlines(kBlocks);
  TimerQueue timers;
  for (int i = 0; i < kBlocks; ++i) {
    deadlines[i] = static_cast<int64_t>(random() % 500);
    AddSleeper(timers, deadlines[i], blocks[i]);
  }
  int64_t last = -1;
  int count = 0;
  for (int64_t now = 0; now < 500; now += 50) {
    for (ControlBlock* const block : Expired(timers, now)) {
      const int64_t deadline = deadlines[static_cast<size_t>(block - blocks.data())];
      EXPECT_LE(deadline, now);
      EXPECT_GE(deadline, last);
      last = deadline;
      ++count;
    }
  }
  count += static_cast<int>(Expired(timers, 500).size());
  EXPECT_EQ(count, kBlocks);
}

TEST(TimerQueueTest, FewAreTakenAtATimeSoThatOthersGetTheLock) {
  std::vector<ControlBlock> blocks(200);
  TimerQueue timers;
  for (ControlBlock& block : blocks) AddSleeper(timers, 1, block);
  const size_t first = Chain(timers.PopExpired(1)).size();
  EXPECT_GT(first, 0u);
  EXPECT_LT(first, blocks.size());
  EXPECT_EQ(Expired(timers, 1).size(), blocks.size() - first);
}

TEST(TimerQueueTest, ClearForgetsAll) {
  ControlBlock block;
  TimerQueue timers;
  AddSleeper(timers, 1, block);
  timers.Clear();
  EXPECT_EQ(timers.next_deadline_ns(), TimerQueue::kNever);
  EXPECT_EQ(timers.PopExpired(100), nullptr);
}

}  // namespace
}  // namespace fiberscope::internal
