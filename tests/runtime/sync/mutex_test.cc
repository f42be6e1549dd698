#include "runtime/sync/mutex.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/current_fiber.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using internal::CurrentFiber;
using MutexTest = testing::RuntimeTest;

TEST_P(MutexTest, OneFiberAtATimeIsInside) {
  Mutex mutex;
  int inside = 0;  // not atomic: the mutex orders the accesses
  int64_t total = 0;
  WaitGroup group;
  for (int f = 0; f < 20; ++f) {
    group.Add(1);
    scheduler().Spawn([&, f] {
      for (int i = 0; i < 200; ++i) {
        const std::lock_guard lock(mutex);
        EXPECT_EQ(++inside, 1);
        if ((f + i) % 7 == 0) this_fiber::Yield();
        ++total;
        --inside;
      }
      group.Done();
    });
  }
  group.Wait();
  EXPECT_EQ(total, 20 * 200);
}

TEST_P(MutexTest, OwnerIsTheHolder) {
  Mutex mutex;
  EXPECT_FALSE(mutex.owner());
  RunInFiber([&] {
    mutex.lock();
    EXPECT_EQ(mutex.owner(), this_fiber::id());
    mutex.unlock();
    EXPECT_FALSE(mutex.owner());
    ASSERT_TRUE(mutex.try_lock());
    EXPECT_EQ(mutex.owner(), this_fiber::id());
    mutex.unlock();
  });
  EXPECT_FALSE(mutex.owner());
}

TEST_P(MutexTest, TryLockOfAHeldMutexFailsWithoutParking) {
  Mutex mutex;
  RunInFiber([&] {
    mutex.lock();
    EXPECT_FALSE(mutex.try_lock()) << "not recursive either";
    Spawn([&] { EXPECT_FALSE(mutex.try_lock()); }).Join();
    mutex.unlock();
    Spawn([&] {
      EXPECT_TRUE(mutex.try_lock());
      mutex.unlock();
    }).Join();
  });
}

TEST_P(MutexTest, WaitersAreServedInTheOrderOfTheirArrival) {
  constexpr int kWaiters = 10;
  Mutex mutex;
  std::vector<int> order;  // guarded by mutex
  RunInFiber([&] {
    mutex.lock();
    std::vector<Fiber> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.push_back(Spawn([&, i] {
        mutex.lock();
        order.push_back(i);
        this_fiber::Yield();
        mutex.unlock();
      }));
      AwaitState(waiters.back(), FiberState::kWaiting);
    }
    mutex.unlock();
    for (const Fiber& waiter : waiters) waiter.Join();
  });
  ASSERT_EQ(order.size(), size_t{kWaiters});
  for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST_P(MutexTest, OneThatHasWaitedLongIsHandedTheMutex) {
  Mutex mutex;
  RunInFiber([&] {
    for (int round = 0; round < 10; ++round) {
      Channel<int> leave;
      mutex.lock();
      const Fiber waiter = Spawn([&] {
        const std::lock_guard lock(mutex);
        leave.Receive();
      });
      AwaitState(waiter, FiberState::kWaiting);
      const int64_t begin_ns = MonotonicNowNs();
      while (MonotonicNowNs() - begin_ns < 3'000'000) this_fiber::Yield();
      mutex.unlock();
      EXPECT_EQ(mutex.owner(), waiter.id());
      EXPECT_FALSE(mutex.try_lock());
      leave.Close();
      waiter.Join();
    }
  });
}

TEST_P(MutexTest, OneThatHasJustBegunToWaitCanBeOvertaken) {
  Mutex mutex;
  RunInFiber([&] {
    bool overtaken = false;
    for (int round = 0; round < 10'000 && !overtaken; ++round) {
      mutex.lock();
      std::atomic<bool> had_it{false};
      const Fiber waiter = Spawn([&] {
        const std::lock_guard lock(mutex);
        had_it = true;
      });
      AwaitState(waiter, FiberState::kWaiting);
      mutex.unlock();
      if (mutex.try_lock()) {
        overtaken = !had_it;
        mutex.unlock();
      }
      waiter.Join();
    }
    EXPECT_TRUE(overtaken);
  });
}

// Goal: no waiter is left behind by the one that was woken and overtaken, nor by waiters that give up. Method: short sections,
// more fibers and threads than processors, some with deadlines so short that they pass while their waiter is being woken.
TEST_P(MutexTest, ManyThatOvertakeAndGiveUpLeaveNobodyBehind) {
  Mutex mutex;
  int64_t total = 0;  // guarded by mutex
  std::atomic<int64_t> expected{0};
  const auto work = [&](int number) {
    for (int i = 0; i < 300; ++i) {
      const bool with_deadline = (number + i) % 3 == 0;
      if (with_deadline) {
        if (!mutex.try_lock_for(std::chrono::microseconds((number * 7 + i) % 50))) continue;
      } else {
        mutex.lock();
      }
      ++total;
      expected.fetch_add(1, std::memory_order_relaxed);
      if (i % 50 == 0 && CurrentFiber() != nullptr) this_fiber::Yield();
      mutex.unlock();
    }
  };
  std::vector<Fiber> fibers;
  for (int f = 0; f < 16; ++f) fibers.push_back(scheduler().Spawn([&, f] { work(f); }));
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) threads.emplace_back([&, t] { work(100 + t); });
  for (std::thread& thread : threads) thread.join();
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(total, expected);
  EXPECT_TRUE(mutex.holder().nobody());
}

TEST_P(MutexTest, ADumpShowsWhoHoldsTheMutexThatAFiberWaitsFor) {
  Mutex mutex("stock");
  Channel<int> leave;
  const Fiber holder = scheduler().Spawn([&] {
    const std::lock_guard lock(mutex);
    leave.Receive();
  });
  AwaitState(holder, FiberState::kWaiting);
  const Fiber waiter = scheduler().Spawn([&] { const std::lock_guard lock(mutex); });
  AwaitState(waiter, FiberState::kWaiting);
  EXPECT_TRUE(WithSnapshot(waiter.id(), [&](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kMutexLock);
    EXPECT_EQ(snapshot.wait_owner, holder.id());
    EXPECT_EQ(snapshot.wait_object_id, mutex.wait_object().id());
    EXPECT_NE(snapshot.wait_object_id, 0u);
  }));
  EXPECT_EQ(mutex.owner(), holder.id());
  EXPECT_STREQ(mutex.wait_object().name(), "stock");
  leave.Close();
  holder.Join();
  waiter.Join();
}

TEST_P(MutexTest, AMutexWithoutContentionNeedsNoIdentity) {
  Mutex mutex;
  RunInFiber([&] {
    const std::lock_guard lock(mutex);
    EXPECT_EQ(mutex.wait_object().id(), 0u);
  });
}

// Goal: a destructor that locks while its fiber is being unwound does no harm. Method: the holder is parked with the
// mutex held and is unwound after or before the other one, whose destructor finds it held; both orders come up because
// both fibers do the same.
TEST_P(MutexTest, DestructorsMayLockWhileTheSchedulerStops) {
  Mutex mutex;
  Channel<int> never;
  struct LocksInDestructor {
    Mutex& mutex;
    ~LocksInDestructor() { const std::lock_guard lock(mutex); }
  };
  std::vector<Fiber> fibers;
  for (int i = 0; i < 3; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      const LocksInDestructor last{mutex};
      never.Receive();
    }));
  }
  fibers.push_back(scheduler().Spawn([&] {
    const std::lock_guard lock(mutex);
    never.Receive();
  }));
  for (int i = 0; i < 3; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      const LocksInDestructor last{mutex};
      never.Receive();
    }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_FALSE(mutex.owner());
}

TEST_P(MutexTest, MisuseEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Mutex mutex("stock");
        RunInFiber([&] {
          mutex.lock();
          mutex.lock();
        });
      },
      "fiber [0-9]+ locks mutex \\(stock\\) twice");
  EXPECT_DEATH(
      {
        Mutex mutex("stock");
        RunInFiber([&] {
          mutex.lock();
          Spawn([&] { mutex.unlock(); }).Join();
        });
      },
      "fiber [0-9]+ unlocks mutex \\(stock\\), which fiber [0-9]+ holds");
  EXPECT_DEATH(
      {
        Mutex mutex;
        RunInFiber([&] { mutex.unlock(); });
      },
      "unlocks mutex \\(unnamed\\), which nobody holds");
  EXPECT_DEATH(RunInFiber([&] {
                 Mutex mutex("stock");
                 mutex.lock();
               }),
               "mutex \\(stock\\) destroyed while fiber [0-9]+ holds it");
  EXPECT_DEATH(
      {
        Mutex mutex;
        mutex.lock();
      },
      "mutex \\(unnamed\\) destroyed while thread [0-9]+ holds it");
}

INSTANTIATE_TEST_SUITE_P(Processors, MutexTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
