#include "runtime/blocking.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

// A real blocking call: read() from a pipe that nobody writes to until Release().
class Blocker {
 public:
  Blocker() { EXPECT_EQ(pipe(ends_), 0); }
  ~Blocker() {
    close(ends_[0]);
    close(ends_[1]);
  }
  void Block() {
    char byte;
    EXPECT_EQ(read(ends_[0], &byte, 1), 1);
  }
  void Release(int times = 1) {
    for (int i = 0; i < times; ++i) EXPECT_EQ(write(ends_[1], "x", 1), 1);
  }

 private:
  int ends_[2];
};

class BlockingTest : public testing::RuntimeTest {
 protected:
  // Until as many fibers as there are processors have run beside the one that blocks.
  void ExpectOthersRun() { scheduler().Spawn([] { this_fiber::Yield(); }).Join(); }
};

TEST_P(BlockingTest, ReturnsWhatTheFunctionReturns) {
  RunInFiber([] {
    EXPECT_EQ(Blocking([] { return 42; }), 42);
    int value = 1;
    int& reference = Blocking([&]() -> int& { return value; });
    EXPECT_EQ(&reference, &value);
    Blocking([&] { value = 2; });
    EXPECT_EQ(value, 2);
  });
}

TEST_P(BlockingTest, OnAPlainThreadItIsACall) { EXPECT_EQ(Blocking([] { return std::string("here"); }), "here"); }

TEST_P(BlockingTest, ExceptionsPassThroughWhetherOrNotTheProcessorWasLost) {
  RunInFiber([] {
    for (const bool expect_long : {false, true}) {
      try {
        Blocking([]() -> int { throw std::runtime_error("inside"); }, {.expect_long = expect_long});
        ADD_FAILURE();
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "inside");
      }
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    }
  });
}

__attribute__((noinline, noipa)) int ReadErrno() { return errno; }

TEST_P(BlockingTest, ErrnoIsTheFunctions) {
  RunInFiber([] {
    for (const bool expect_long : {false, true}) {
      EXPECT_EQ(Blocking([] { return close(-1); }, {.expect_long = expect_long}), -1);
      EXPECT_EQ(ReadErrno(), EBADF);
    }
  });
}

TEST_P(BlockingTest, OthersRunWhileEveryProcessorsFiberBlocks) {
  Blocker blocker;
  std::vector<Fiber> fibers;
  for (int i = 0; i < GetParam() + 1; ++i) {
    fibers.push_back(scheduler().Spawn([&] { Blocking([&] { blocker.Block(); }); }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kBlocking);
  ExpectOthersRun();  // the monitor has to take a processor back first
  blocker.Release(GetParam() + 1);
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_GE(scheduler().metrics().retakes, 1u);
  EXPECT_EQ(scheduler().metrics().blocking_calls, static_cast<uint64_t>(GetParam() + 1));
}

TEST_P(BlockingTest, ALongCallHandsItsProcessorOverAtOnce) {
  Blocker blocker;
  std::vector<Fiber> fibers;
  for (int i = 0; i < 3 * GetParam(); ++i) {
    fibers.push_back(scheduler().Spawn([&] { Blocking([&] { blocker.Block(); }, {.expect_long = true}); }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kBlocking);
  ExpectOthersRun();
  EXPECT_EQ(scheduler().metrics().handoffs, static_cast<uint64_t>(3 * GetParam()));
  EXPECT_EQ(scheduler().metrics().retakes, 0u);
  EXPECT_GE(scheduler().metrics().workers, static_cast<uint64_t>(3 * GetParam() + 1));
  blocker.Release(3 * GetParam());
  for (const Fiber& fiber : fibers) fiber.Join();
}

TEST_P(BlockingTest, ThreadsAreUsedAgain) {
  Blocker blocker;
  uint64_t after_first_round = 0;
  for (int round = 0; round < 5; ++round) {
    std::vector<Fiber> fibers;
    for (int i = 0; i < 4; ++i) {
      fibers.push_back(scheduler().Spawn([&] { Blocking([&] { blocker.Block(); }, {.expect_long = true}); }));
    }
    for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kBlocking);
    ExpectOthersRun();
    blocker.Release(4);
    for (const Fiber& fiber : fibers) fiber.Join();
    if (round == 0) after_first_round = scheduler().metrics().workers;
  }
  // A worker on its way into its sleep is not found there; one or two more may have been made.
  EXPECT_LE(scheduler().metrics().workers, after_first_round + 4);
}

TEST_P(BlockingTest, AFiberWithoutAProcessorAfterwardsWaitsForOne) {
  Blocker blocker;
  std::atomic<bool> returned{false};
  std::atomic<bool> leave{false};
  const Fiber blocked = scheduler().Spawn([&] {
    Blocking([&] { blocker.Block(); }, {.expect_long = true});
    returned = true;
  });
  AwaitState(blocked, FiberState::kBlocking);
  std::atomic<int> hogging{0};
  std::vector<Fiber> hogs;
  for (int i = 0; i < GetParam(); ++i) {
    hogs.push_back(scheduler().Spawn([&] {
      ++hogging;
      while (!leave) {
      }
    }));
  }
  while (hogging < GetParam()) sched_yield();
  blocker.Release();
  AwaitState(blocked, FiberState::kRunnable);
  EXPECT_FALSE(returned);
  leave = true;
  blocked.Join();
  EXPECT_TRUE(returned);
  for (const Fiber& hog : hogs) hog.Join();
}

// The function whose frame must be on the stack of the blocked fiber.
__attribute__((noinline)) void BlockHere(Blocker& blocker) {
  Blocking([&] { blocker.Block(); });
  asm volatile("");
}

TEST_P(BlockingTest, ADumpShowsStateAndStackOfABlockedFiber) {
  Blocker blocker;
  const Fiber fiber = scheduler().Spawn([&] { BlockHere(blocker); }, {.name = "fsync"});
  AwaitState(fiber, FiberState::kBlocking);
  bool in_function = false;
  ASSERT_TRUE(WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.state, FiberState::kBlocking);
    EXPECT_EQ(snapshot.name, "fsync");
    EXPECT_TRUE(snapshot.stack_available);
    EXPECT_FALSE(snapshot.stack_truncated);
    EXPECT_GE(snapshot.waited.count(), 0);
    const auto begin = reinterpret_cast<uintptr_t>(&BlockHere);
    for (const uintptr_t pc : snapshot.stack) in_function |= pc > begin && pc < begin + 512;
  }));
  EXPECT_TRUE(in_function);
  blocker.Release();
  fiber.Join();
}

TEST_P(BlockingTest, StacksOfFibersThatBlockAgainAndAgainAreWholeOrNotThere) {
  std::atomic<bool> stop{false};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 2 * GetParam(); ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      while (!stop) {
        Blocking([] { sched_yield(); });
        this_fiber::Yield();
      }
    }));
  }
  for (int i = 0; i < 300; ++i) {
    ForEachFiber({}, [&](const FiberSnapshot& snapshot) {
      EXPECT_FALSE(snapshot.stack_available && snapshot.stack_truncated);
      return true;
    });
  }
  stop = true;
  for (const Fiber& fiber : fibers) fiber.Join();
}

TEST_P(BlockingTest, TheFunctionMayWakeAndSpawnFibers) {
  Channel<int> channel(1);
  const Fiber receiver = scheduler().Spawn([&] { EXPECT_EQ(channel.Receive(), 7); });
  AwaitState(receiver, FiberState::kWaiting);
  RunInFiber([&] {
    for (const bool expect_long : {false, true}) {
      Fiber spawned = Blocking(
          [&] {
            if (!expect_long) channel.Send(7);
            EXPECT_NE(this_fiber::id(), FiberId());
            return Spawn([] {});
          },
          {.expect_long = expect_long});
      spawned.Join();
    }
  });
  receiver.Join();
}

TEST_P(BlockingTest, BlockingWithinBlockingIsACall) {
  RunInFiber([&] { EXPECT_EQ(Blocking([] { return Blocking([] { return 3; }, {.expect_long = true}); }), 3); });
  EXPECT_EQ(scheduler().metrics().blocking_calls, 1u);
  EXPECT_EQ(scheduler().metrics().handoffs, 0u);
}

TEST_P(BlockingTest, TimersAndForeignWakesAreServedWhileFibersBlock) {
  Blocker blocker;
  const Fiber blocked = scheduler().Spawn([&] { Blocking([&] { blocker.Block(); }, {.expect_long = true}); });
  AwaitState(blocked, FiberState::kBlocking);
  RunInFiber([] { this_fiber::SleepFor(std::chrono::microseconds(100)); });
  Channel<int> channel;
  const Fiber receiver = scheduler().Spawn([&] { EXPECT_EQ(channel.Receive(), 1); });
  std::thread([&] { channel.Send(1); }).join();
  receiver.Join();
  blocker.Release();
  blocked.Join();
}

TEST_P(BlockingTest, StopWaitsForTheCallAndThenUnwinds) {
  Blocker blocker;
  std::atomic<bool> destroyed{false};
  std::atomic<bool> released{false};
  Channel<int> never;
  const Fiber fiber = scheduler().Spawn([&] {
    struct Guard {
      std::atomic<bool>& flag;
      ~Guard() { flag = true; }
    } guard{destroyed};
    Blocking([&] { blocker.Block(); });
    EXPECT_TRUE(released);
    never.Receive();
    ADD_FAILURE();
  });
  AwaitState(fiber, FiberState::kBlocking);
  std::thread releaser([&] {
    released = true;
    blocker.Release();
  });
  scheduler().Stop();
  releaser.join();
  EXPECT_TRUE(destroyed);
}

INSTANTIATE_TEST_SUITE_P(Processors, BlockingTest, ::testing::Values(1, 2, 4));

TEST(BlockingDeathTest, WaitingInsideIsNamed) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        Scheduler scheduler({.processors = 1});
        scheduler.Spawn([] { Blocking([] { this_fiber::SleepFor(std::chrono::seconds(1)); }); }).Join();
      },
      "waits \\(sleep\\) inside Blocking\\(\\)");
  EXPECT_DEATH(
      {
        Scheduler scheduler({.processors = 1});
        scheduler.Spawn([] { Blocking([] { this_fiber::Yield(); }); }).Join();
      },
      "yields inside Blocking\\(\\)");
}

TEST(BlockingLimitTest, AtMostMaxWorkersThreadsAreMade) {
  Scheduler scheduler({.processors = 1, .max_workers = 3, .stall_after = std::chrono::nanoseconds::max()});
  Blocker blocker;
  std::vector<Fiber> fibers;
  std::atomic<int> blocking{0};
  for (int i = 0; i < 10; ++i) {
    fibers.push_back(scheduler.Spawn([&] {
      ++blocking;
      Blocking([&] { blocker.Block(); }, {.expect_long = true});
      --blocking;
    }));
  }
  while (blocking < 3) sched_yield();
  EXPECT_EQ(scheduler.metrics().workers, 3u);
  blocker.Release(10);
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(scheduler.metrics().workers, 3u);
}

}  // namespace
}  // namespace fiberscope
