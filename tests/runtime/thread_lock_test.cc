#include "runtime/thread_lock.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/blocking.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ThreadLockTest = testing::RuntimeTest;

long ThreadId() { return syscall(SYS_gettid); }

TEST_P(ThreadLockTest, ALockedFiberStaysOnItsThread) {
  RunInFiber([] {
    const ThreadLock lock;
    const long thread = ThreadId();
    for (int i = 0; i < 50; ++i) {
      this_fiber::SleepFor(std::chrono::microseconds(1));
      EXPECT_EQ(ThreadId(), thread);
      Spawn([thread] { EXPECT_NE(ThreadId(), thread); }).Join();
      EXPECT_EQ(ThreadId(), thread);
      this_fiber::Yield();
      EXPECT_EQ(ThreadId(), thread);
      Blocking([thread] { EXPECT_EQ(ThreadId(), thread); }, {.expect_long = true});
      EXPECT_EQ(ThreadId(), thread);
    }
  });
}

TEST_P(ThreadLockTest, NobodyElseRunsOnTheThreadMeanwhile) {
  Channel<int> go;
  std::atomic<long> locked_thread{0};
  const Fiber locked = scheduler().Spawn([&] {
    const ThreadLock lock;
    locked_thread = ThreadId();
    go.Receive();
    EXPECT_EQ(ThreadId(), locked_thread);
  });
  AwaitState(locked, FiberState::kWaiting);
  std::vector<Fiber> others;
  for (int i = 0; i < 200; ++i) {
    others.push_back(scheduler().Spawn([&] {
      for (int j = 0; j < 10; ++j) {
        EXPECT_NE(ThreadId(), locked_thread);
        this_fiber::Yield();
      }
    }));
  }
  for (const Fiber& other : others) other.Join();
  go.Send(1);
  locked.Join();
}

TEST_P(ThreadLockTest, LocksNestAndTheLastOneReleases) {
  RunInFiber([] {
    const auto locked = [] {
      bool result = false;
      std::thread([&, id = this_fiber::id()] {
        EXPECT_TRUE(WithSnapshot(id, [&](const FiberSnapshot& snapshot) { result = snapshot.locked_to_thread; }));
      }).join();
      return result;
    };
    EXPECT_FALSE(locked());
    {
      const ThreadLock outer;
      EXPECT_TRUE(locked());
      {
        const ThreadLock inner;
        EXPECT_TRUE(locked());
      }
      EXPECT_TRUE(locked());
    }
    EXPECT_FALSE(locked());
  });
}

TEST_P(ThreadLockTest, OnAPlainThreadItDoesNothing) { const ThreadLock lock; }

TEST_P(ThreadLockTest, MoreLockedFibersThanProcessorsTakeTurns) {
  constexpr int kFibers = 10;
  WaitGroup group;
  for (int f = 0; f < kFibers; ++f) {
    group.Add(1);
    scheduler().Spawn([&] {
      const ThreadLock lock;
      const long thread = ThreadId();
      for (int i = 0; i < 30; ++i) {
        this_fiber::Yield();
        EXPECT_EQ(ThreadId(), thread);
        if (i % 10 == 0) this_fiber::SleepFor(std::chrono::microseconds(50));
      }
      group.Done();
    });
  }
  group.Wait();
}

TEST_P(ThreadLockTest, TwoLockedFibersExchangeValues) {
  Channel<int> ping;
  Channel<int> pong;
  const Fiber echo = scheduler().Spawn([&] {
    const ThreadLock lock;
    while (const std::optional<int> value = ping.Receive()) pong.Send(*value + 1);
  });
  RunInFiber([&] {
    const ThreadLock lock;
    for (int i = 0; i < 100; ++i) {
      ping.Send(i);
      EXPECT_EQ(pong.Receive(), i + 1);
    }
    ping.Close();
  });
  echo.Join();
}

TEST_P(ThreadLockTest, StopUnwindsLockedFibers) {
  Channel<int> never;
  std::atomic<int> destroyed{0};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 3; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      struct Guard {
        std::atomic<int>& count;
        ~Guard() { ++count; }
      } guard{destroyed};
      const ThreadLock lock;
      never.Receive();
    }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  scheduler().Spawn([] {
    const ThreadLock lock;
    for (;;) this_fiber::Yield();
  });
  scheduler().Stop();
  EXPECT_EQ(destroyed, 3);
}

INSTANTIATE_TEST_SUITE_P(Processors, ThreadLockTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace fiberscope
