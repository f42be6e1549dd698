#include "runtime/sync/condition_variable.h"

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

using ConditionVariableTest = testing::RuntimeTest;

TEST_P(ConditionVariableTest, NotifyOneWakesTheLongestWaitingAndNotifyAllTheRest) {
  RunInFiber([&] {
    Mutex mutex;
    ConditionVariable condition;
    std::vector<int> order;
    std::vector<Fiber> fibers;
    condition.notify_one();  // nobody waits: forgotten
    for (int i = 0; i < 4; ++i) {
      fibers.push_back(Spawn([&, i] {
        std::unique_lock lock(mutex);
        condition.wait(lock);
        EXPECT_EQ(mutex.owner(), this_fiber::id());
        order.push_back(i);
      }));
      AwaitState(fibers.back(), FiberState::kWaiting);
    }
    EXPECT_TRUE(WithSnapshot(fibers[0].id(), [](const FiberSnapshot& s) { EXPECT_EQ(s.wait_reason, WaitReason::kCondition); }));
    for (int i = 0; i < 2; ++i) {
      condition.notify_one();
      fibers[static_cast<size_t>(i)].Join();
    }
    EXPECT_EQ(order, (std::vector<int>{0, 1}));
    condition.notify_all();
    for (const Fiber& fiber : fibers) fiber.Join();
    EXPECT_EQ(order.size(), 4u);
  });
}

TEST_P(ConditionVariableTest, ATimedWaitReturnsWithTheMutexHeld) {
  RunInFiber([&] {
    Mutex mutex;
    ConditionVariable condition;
    std::unique_lock lock(mutex);
    EXPECT_EQ(condition.wait_for(lock, milliseconds(1)), std::cv_status::timeout);
    EXPECT_EQ(mutex.owner(), this_fiber::id());
    EXPECT_FALSE(condition.wait_for(lock, milliseconds(1), [] { return false; }));
    bool ready = false;
    const Fiber other = Spawn([&] {
      std::lock_guard other_lock(mutex);
      ready = true;
      condition.notify_all();
    });
    EXPECT_TRUE(condition.wait_for(lock, hours(1), [&] { return ready; }));
    lock.unlock();
    other.Join();
  });
}

// A bounded queue, the classic: no item lost, no item twice; fibers and threads on both sides.
TEST_P(ConditionVariableTest, ABoundedQueueOfFibersAndThreads) {
  Mutex mutex;
  ConditionVariable not_empty;
  ConditionVariable not_full;
  std::deque<int> queue;
  constexpr int kParties = 4;
  constexpr int kEach = 300;
  std::atomic<int64_t> sum{0};
  const auto produce = [&](int p) {
    for (int i = 0; i < kEach; ++i) {
      std::unique_lock lock(mutex);
      not_full.wait(lock, [&] { return queue.size() < 3; });
      queue.push_back(p * kEach + i);
      not_empty.notify_one();
    }
  };
  const auto consume = [&] {
    for (int i = 0; i < kEach; ++i) {
      std::unique_lock lock(mutex);
      not_empty.wait(lock, [&] { return !queue.empty(); });
      sum += queue.front();
      queue.pop_front();
      not_full.notify_one();
    }
  };
  WaitGroup group;
  for (int p = 0; p < kParties; ++p) {
    group.Add(2);
    scheduler().Spawn([&, p] {
      produce(p);
      group.Done();
    });
    scheduler().Spawn([&] {
      consume();
      group.Done();
    });
  }
  std::thread producer(produce, kParties);
  std::thread consumer(consume);
  group.Wait();
  producer.join();
  consumer.join();
  constexpr int64_t kTotal = (kParties + 1) * kEach;
  EXPECT_EQ(sum, kTotal * (kTotal - 1) / 2);
}

TEST_P(ConditionVariableTest, StopUnwindsWaitersWhoseLocksAreReleased) {
  Mutex mutex;
  ConditionVariable condition;
  std::vector<Fiber> fibers;
  for (int i = 0; i < 5; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      std::unique_lock lock(mutex);
      condition.wait(lock);
    }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  StopScheduler();
  EXPECT_TRUE(mutex.holder().nobody());
}

class ConditionVariableDeathTest : public testing::RuntimeTest {};

TEST_P(ConditionVariableDeathTest, WaitingWithoutTheMutexIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Mutex mutex;
        ConditionVariable condition("changed");
        std::unique_lock lock(mutex, std::defer_lock);
        condition.wait(lock);
      },
      "wait for condition variable \\(changed\\) without the mutex, which nobody holds");
}

TEST_P(ConditionVariableDeathTest, ItsEndWhileSomebodyWaitsIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Mutex mutex;
        auto condition = std::make_unique<ConditionVariable>("changed");
        const Fiber waiter = scheduler().Spawn([&] {
          std::unique_lock lock(mutex);
          condition->wait(lock);
        });
        AwaitState(waiter, FiberState::kWaiting);
        condition.reset();
      },
      "condition variable \\(changed\\) destroyed while somebody waits for it");
}

INSTANTIATE_TEST_SUITE_P(Processors, ConditionVariableTest, ::testing::Values(1, 2, 4, 8));
INSTANTIATE_TEST_SUITE_P(Processors, ConditionVariableDeathTest, ::testing::Values(1));

}  // namespace
}  // namespace fiberscope
