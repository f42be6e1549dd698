#include "runtime/fiber_census.h"

#include <atomic>
#include <chrono>
#include <vector>

#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using FiberCensusTest = testing::RuntimeTest;

TEST_P(FiberCensusTest, WithoutFibersCountsNone) {
  const FiberCensus census = TakeFiberCensus();
  EXPECT_EQ(census.fibers(), 0u);
  EXPECT_EQ(census.stack_bytes, 0u);
  EXPECT_EQ(census.in(FiberState::kDead), 0u);
}

TEST_P(FiberCensusTest, CountsByStateAndByWhatTheyWaitFor) {
  Channel<int> channel;
  Mutex mutex;
  std::atomic<bool> go_on{false};
  std::vector<Fiber> fibers;
  fibers.push_back(scheduler().Spawn([&] {
    const std::lock_guard lock(mutex);
    while (!go_on) this_fiber::Yield();
  }));
  while (mutex.try_lock()) mutex.unlock();
  for (int i = 0; i < 3; ++i) fibers.push_back(scheduler().Spawn([&] { (void)channel.Receive(); }, {.stack_bytes = 16 << 10}));
  for (int i = 0; i < 2; ++i) fibers.push_back(scheduler().Spawn([&] { const std::lock_guard lock(mutex); }));
  for (size_t i = 1; i < fibers.size(); ++i) AwaitState(fibers[i], FiberState::kWaiting);

  const FiberCensus census = TakeFiberCensus();
  EXPECT_EQ(census.fibers(), 6u);
  EXPECT_EQ(census.in(FiberState::kWaiting), 5u);
  EXPECT_EQ(census.in(FiberState::kRunning) + census.in(FiberState::kRunnable), 1u);
  EXPECT_EQ(census.waiting_for(WaitReason::kChannelReceive).fibers, 3u);
  EXPECT_EQ(census.waiting_for(WaitReason::kMutexLock).fibers, 2u);
  EXPECT_EQ(census.waiting_for(WaitReason::kSleep).fibers, 0u);
  // Three of 16 KiB and three of 64 KiB, each less its guard page.
  EXPECT_EQ(census.stack_bytes, 3 * ((16u << 10) - 4096) + 3 * ((64u << 10) - 4096));

  go_on = true;
  channel.Close();
  for (Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(TakeFiberCensus().fibers(), 0u);
}

TEST_P(FiberCensusTest, TellsHowLongTheOldestHasWaited) {
  Channel<int> channel;
  const auto before = std::chrono::steady_clock::now();
  Fiber fiber = scheduler().Spawn([&] { (void)channel.Receive(); });
  AwaitState(fiber, FiberState::kWaiting);
  std::chrono::nanoseconds longest{0};
  while (longest < std::chrono::milliseconds(20)) longest = TakeFiberCensus().waiting_for(WaitReason::kChannelReceive).longest;
  // The clock of waits ticks every 4 ms, on some machines every 10 ms.
  EXPECT_LE(longest, std::chrono::steady_clock::now() - before + std::chrono::milliseconds(20));
  channel.Close();
  fiber.Join();
}

// Goal: fibers that are switched all the time are counted once each. Method: a known number of them, all alive, yields and parks
// while they are counted.
TEST_P(FiberCensusTest, CountsFibersThatAreNeverStill) {
  constexpr uint64_t kFibers = 50;
  std::atomic<bool> end{false};
  std::atomic<uint64_t> begun{0};
  Channel<int> channel(1);
  std::vector<Fiber> fibers;
  for (uint64_t i = 0; i < kFibers; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      ++begun;
      while (!end) {
        channel.Send(1);
        this_fiber::Yield();
        (void)channel.Receive();
      }
    }));
  }
  while (begun < kFibers) sched_yield();
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(TakeFiberCensus().fibers(), kFibers);
  end = true;
  channel.Close();
  StopScheduler();
}

INSTANTIATE_TEST_SUITE_P(Processors, FiberCensusTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
