#include "runtime/sync/wait_group.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using WaitGroupTest = testing::RuntimeTest;

TEST_P(WaitGroupTest, WaitReturnsAtOnceWhenNothingIsOutstanding) {
  WaitGroup group;
  group.Wait();
  RunInFiber([&] { group.Wait(); });
  group.Add(2);
  group.Done();
  group.Done();
  group.Wait();
  EXPECT_EQ(group.count(), 0);
  EXPECT_EQ(group.wait_object().id(), 0u) << "nobody ever waited";
}

TEST_P(WaitGroupTest, WaitSeesWhatHappenedBeforeTheDones) {
  std::vector<int> results(100, 0);  // not atomic: the group orders the accesses
  WaitGroup group;
  RunInFiber([&] {
    for (size_t i = 0; i < results.size(); ++i) {
      group.Add(1);
      Spawn([&, i] {
        this_fiber::Yield();
        results[i] = 1;
        group.Done();
      });
    }
    group.Wait();
    for (const int result : results) EXPECT_EQ(result, 1);
  });
}

TEST_P(WaitGroupTest, AWaitingFiberIsParkedUntilTheLastDone) {
  WaitGroup group("batch");
  group.Add(3);
  const Fiber waiter = scheduler().Spawn([&] { group.Wait(); });
  AwaitState(waiter, FiberState::kWaiting);
  WithSnapshot(waiter.id(), [&](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kWaitGroup);
    EXPECT_EQ(snapshot.wait_object_id, group.wait_object().id());
  });
  group.Done();
  group.Add(-1);
  EXPECT_EQ(waiter.state(), FiberState::kWaiting);
  EXPECT_EQ(group.count(), 1);
  group.Done();
  waiter.Join();
}

TEST_P(WaitGroupTest, FibersAndThreadsAreAllReleased) {
  WaitGroup group;
  group.Add(1);
  std::atomic<int> released{0};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 10; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      group.Wait();
      ++released;
    }));
    AwaitState(fibers.back(), FiberState::kWaiting);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      group.Wait();
      ++released;
    });
  }
  EXPECT_EQ(released, 0);
  scheduler().Spawn([&] { group.Done(); });
  for (std::thread& thread : threads) thread.join();
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(released, 13);
}

TEST_P(WaitGroupTest, MayBeUsedAgainAfterAllWaitersHaveReturned) {
  WaitGroup group;
  for (int round = 1; round <= 50; ++round) {
    std::atomic<int> done{0};
    group.Add(round % 5);
    for (int i = 0; i < round % 5; ++i) {
      scheduler().Spawn([&] {
        ++done;
        group.Done();
      });
    }
    group.Wait();
    EXPECT_EQ(done, round % 5);
  }
}

// Goal: the last Done does not touch the group after a waiter could have returned. Method: the waiter destroys the group at once, a
// thousand times; AddressSanitizer and ThreadSanitizer judge.
TEST_P(WaitGroupTest, MayBeDestroyedAsSoonAsWaitHasReturned) {
  for (int round = 0; round < 500; ++round) {
    auto group = std::make_unique<WaitGroup>();
    group->Add(2);
    for (int i = 0; i < 2; ++i) scheduler().Spawn([raw = group.get()] { raw->Done(); });
    if (round % 2 == 0) {
      group->Wait();
      group.reset();
    } else {
      RunInFiber([&] {
        group->Wait();
        group.reset();
      });
    }
  }
}

TEST_P(WaitGroupTest, MisuseEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(WaitGroup("batch").Done(), "wait group \\(batch\\) has a counter of -1 after Add\\(-1\\)");
  EXPECT_DEATH(
      {
        WaitGroup group;
        group.Add(1);
        group.Add(-2);
      },
      "wait group \\(unnamed\\) has a counter of -1 after Add\\(-2\\)");
  EXPECT_DEATH(
      {
        auto group = std::make_unique<WaitGroup>("batch");
        group->Add(1);
        const Fiber waiter = scheduler().Spawn([&] { group->Wait(); });
        AwaitState(waiter, FiberState::kWaiting);
        group.reset();
      },
      "wait group \\(batch\\) destroyed while somebody waits for it");
}

INSTANTIATE_TEST_SUITE_P(Processors, WaitGroupTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
