#include "runtime/sync/semaphore.h"

#include <atomic>
#include <memory>
#include <vector>

#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::milliseconds;

using SemaphoreTest = testing::RuntimeTest;

TEST_P(SemaphoreTest, ServesInOrderOfArrivalSoLargeRequestsDoNotStarve) {
  RunInFiber([&] {
    Semaphore semaphore(3, "slots");
    semaphore.Acquire(2);
    std::vector<int> order;
    const Fiber large = Spawn([&] {
      semaphore.Acquire(3);
      order.push_back(3);
      semaphore.Release(3);
    });
    AwaitState(large, FiberState::kWaiting);
    EXPECT_TRUE(WithSnapshot(large.id(), [](const FiberSnapshot& s) { EXPECT_EQ(s.wait_reason, WaitReason::kSemaphore); }));
    EXPECT_EQ(semaphore.available(), 1u);
    EXPECT_FALSE(semaphore.TryAcquire(1)) << "one is there, but somebody was first";
    const Fiber small = Spawn([&] {
      semaphore.Acquire(1);
      order.push_back(1);
      semaphore.Release(1);
    });
    AwaitState(small, FiberState::kWaiting);
    semaphore.Release(2);
    large.Join();
    small.Join();
    EXPECT_EQ(order, (std::vector<int>{3, 1}));
    EXPECT_EQ(semaphore.available(), 3u);
  });
}

TEST_P(SemaphoreTest, ALargeRequestThatGivesUpLetsTheSmallOnesBehindItIn) {
  RunInFiber([&] {
    Semaphore semaphore(1);
    const Fiber large = Spawn([&] { EXPECT_FALSE(semaphore.AcquireFor(5, milliseconds(5)).ok()); });
    while (large.state() != FiberState::kWaiting && large.state() != FiberState::kDead) this_fiber::Yield();
    const Fiber small = Spawn([&] { semaphore.Acquire(1); });
    small.Join();
    large.Join();
    EXPECT_EQ(semaphore.available(), 0u);
    semaphore.Release(1);
    EXPECT_TRUE(semaphore.TryAcquire(1));
  });
}

TEST_P(SemaphoreTest, BoundsHowManyAreInside) {
  Semaphore semaphore(3);
  std::atomic<int> inside{0};
  WaitGroup group;
  for (int f = 0; f < 20; ++f) {
    group.Add(1);
    scheduler().Spawn([&] {
      for (int i = 0; i < 100; ++i) {
        semaphore.Acquire();
        ASSERT_LE(++inside, 3);
        this_fiber::Yield();
        --inside;
        semaphore.Release();
      }
      group.Done();
    });
  }
  group.Wait();
  EXPECT_EQ(semaphore.available(), 3u);
}

class SemaphoreDeathTest : public testing::RuntimeTest {};

TEST_P(SemaphoreDeathTest, TooManyPermitsAreNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH({ Semaphore(1, "slots").Release(Semaphore::kMaxPermits); },
               "release of 4611686018427387903 permits of semaphore \\(slots\\), which has 1");
  EXPECT_DEATH({ Semaphore(Semaphore::kMaxPermits + 1, "slots"); }, "a semaphore \\(slots\\) of 4611686018427387904 permits");
  EXPECT_DEATH({ Semaphore(1, "slots").Acquire(Semaphore::kMaxPermits + 1); },
               "4611686018427387904 permits of semaphore \\(slots\\) can never be there");
}

TEST_P(SemaphoreDeathTest, ItsEndWhileSomebodyWaitsIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        auto semaphore = std::make_unique<Semaphore>(0, "slots");
        const Fiber waiter = scheduler().Spawn([&] { semaphore->Acquire(); });
        AwaitState(waiter, FiberState::kWaiting);
        semaphore.reset();
      },
      "semaphore \\(slots\\) destroyed while somebody waits for it");
}

INSTANTIATE_TEST_SUITE_P(Processors, SemaphoreTest, ::testing::Values(1, 2, 4, 8));
INSTANTIATE_TEST_SUITE_P(Processors, SemaphoreDeathTest, ::testing::Values(1));

}  // namespace
}  // namespace fiberscope
