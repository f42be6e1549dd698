#include "runtime/scheduler.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using SchedulerTest = testing::RuntimeTest;

TEST_P(SchedulerTest, RunsASpawnedFunctionAndJoinSeesItsEffects) {
  int value = 0;
  scheduler().Spawn([&] { value = 42; }).Join();
  EXPECT_EQ(value, 42);
}

TEST_P(SchedulerTest, JoinOfAFinishedFiberReturnsAtOnce) {
  const Fiber fiber = scheduler().Spawn([] {});
  fiber.Join();
  fiber.Join();
  EXPECT_EQ(fiber.state(), FiberState::kDead);
  Fiber().Join();
}

TEST_P(SchedulerTest, ManyFibersAndThreadsMayJoinTheSameFiber) {
  Channel<int> go;
  const Fiber target = scheduler().Spawn([&] { go.Receive(); });
  std::atomic<int> joined{0};
  std::vector<Fiber> joiners;
  for (int i = 0; i < 10; ++i) {
    joiners.push_back(scheduler().Spawn([&] {
      target.Join();
      ++joined;
    }));
  }
  std::thread thread([&] {
    target.Join();
    ++joined;
  });
  go.Close();
  for (const Fiber& joiner : joiners) joiner.Join();
  thread.join();
  EXPECT_EQ(joined, 11);
}

TEST_P(SchedulerTest, AHandleOfAReusedControlBlockIsStillTheOldFiber) {
  const Fiber first = scheduler().Spawn([] {});
  first.Join();
  Channel<int> never;
  // Far more than there can be free blocks in between, so one of these uses the first one's block.
  std::vector<Fiber> others;
  for (int i = 0; i < 3000; ++i) others.push_back(scheduler().Spawn([&] { never.Receive(); }));
  EXPECT_EQ(first.state(), FiberState::kDead);
  first.Join();
  never.Close();
  for (const Fiber& other : others) other.Join();
}

TEST_P(SchedulerTest, FibersSpawnFibers) {
  std::atomic<int> leaves{0};
  WaitGroup group;
  group.Add(1);
  const auto grow = [&](auto& self, int depth) -> void {
    if (depth == 0) {
      ++leaves;
    } else {
      for (int i = 0; i < 4; ++i) {
        group.Add(1);
        Spawn([&self, depth] { self(self, depth - 1); });
      }
    }
    group.Done();
  };
  scheduler().Spawn([&] { grow(grow, 5); });
  group.Wait();
  EXPECT_EQ(leaves, 4 * 4 * 4 * 4 * 4);
}

TEST_P(SchedulerTest, IdsAreUniqueAndNeverUsedAgain) {
  std::vector<uint64_t> ids;
  for (int i = 0; i < 1000; ++i) {
    const Fiber fiber = scheduler().Spawn([] {});
    ids.push_back(fiber.id().value);
    fiber.Join();
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
  EXPECT_GT(ids.front(), 0u);
}

TEST_P(SchedulerTest, TheLifeOfAFiberIsVisibleFromOutside) {
  Channel<int> in;
  std::atomic<bool> running{false};
  std::atomic<bool> leave{false};
  const Fiber fiber = scheduler().Spawn([&] {
    running = true;
    while (!leave) {
    }
    in.Receive();
  });
  while (!running) sched_yield();
  EXPECT_EQ(fiber.state(), FiberState::kRunning);
  leave = true;
  AwaitState(fiber, FiberState::kWaiting);
  in.Send(1);
  fiber.Join();
  EXPECT_EQ(fiber.state(), FiberState::kDead);
}

TEST_P(SchedulerTest, AFiberThatWasNotRunYetIsRunnable) {
  RunInFiber([&] {
    // Keep every processor busy, so that the last one spawned has to wait.
    std::atomic<int> busy{0};
    std::atomic<bool> leave{false};
    std::vector<Fiber> spinners;
    for (int i = 1; i < GetParam(); ++i) {
      spinners.push_back(Spawn([&] {
        ++busy;
        while (!leave) {
        }
      }));
      while (busy < i) this_fiber::Yield();
    }
    const Fiber fiber = Spawn([] {});
    EXPECT_EQ(fiber.state(), FiberState::kRunnable);
    leave = true;
    fiber.Join();
    for (const Fiber& spinner : spinners) spinner.Join();
  });
}

TEST_P(SchedulerTest, AnExceptionCaughtInsideAFiberStaysThere) {
  std::string what;
  RunInFiber([&] {
    try {
      throw std::runtime_error("inside");
    } catch (const std::exception& exception) {
      what = exception.what();
    }
  });
  EXPECT_EQ(what, "inside");
}

// Goal: the C++ runtime's stack of caught exceptions is per fiber, not per thread. Method: two fibers park inside catch
// blocks in turns, so that on one worker their handlers would end in the wrong order, and on several they change
// threads.
TEST_P(SchedulerTest, AFiberMayParkInsideCatchAndGoOnOnAnotherThread) {
  constexpr int kFibers = 20;
  constexpr int kRounds = 50;
  WaitGroup group;
  for (int f = 0; f < kFibers; ++f) {
    group.Add(1);
    scheduler().Spawn([&, f] {
      for (int round = 0; round < kRounds; ++round) {
        try {
          try {
            throw f * 1000 + round;
          } catch (int outer) {
            EXPECT_EQ(outer, f * 1000 + round);
            this_fiber::Yield();
            EXPECT_EQ(std::uncaught_exceptions(), 0);
            try {
              throw std::to_string(outer);
            } catch (const std::string& inner) {
              this_fiber::SleepFor(std::chrono::microseconds(f * 7 % 40));
              EXPECT_EQ(inner, std::to_string(f * 1000 + round));
            }
            this_fiber::Yield();
            throw;  // the outer one again: it must still be current
          }
        } catch (int again) {
          EXPECT_EQ(again, f * 1000 + round);
        }
      }
      EXPECT_EQ(std::current_exception(), nullptr);
      group.Done();
    });
  }
  group.Wait();
}

// Goal: an exception that crosses a park inside a catch block is rethrown on another thread. Method: whoever wakes the fiber keeps
// the thread busy on which it came there, so that only another one can go on with it; again, until that has happened.
TEST_P(SchedulerTest, AnExceptionIsRethrownOnAnotherThreadThanItWasCaughtOn) {
  if (GetParam() == 1) GTEST_SKIP() << "there is no other thread";
  RunInFiber([] {
    Channel<int> wake(1);
    std::atomic<bool> moved{false};
    pid_t caught_on = 0;
    std::vector<Fiber> wakers;
    std::string what;
    try {
      try {
        throw std::runtime_error("caught on one thread");
      } catch (const std::exception&) {
        caught_on = gettid();
        do {
          wakers.push_back(Spawn([&] {
            wake.Send(1);
            while (gettid() == caught_on && !moved) sched_yield();
          }));
          wake.Receive();
        } while (gettid() == caught_on);
        moved = true;
        throw;
      }
    } catch (const std::exception& exception) {
      EXPECT_NE(gettid(), caught_on);
      what = exception.what();
    }
    EXPECT_EQ(what, "caught on one thread");
    EXPECT_EQ(std::current_exception(), nullptr);
    for (const Fiber& waker : wakers) waker.Join();
  });
}

TEST_P(SchedulerTest, UncaughtExceptionCountTravelsWithTheFiber) {
  struct YieldsInDestructor {
    ~YieldsInDestructor() {
      EXPECT_EQ(std::uncaught_exceptions(), 1);
      this_fiber::Yield();
      EXPECT_EQ(std::uncaught_exceptions(), 1);
    }
  };
  WaitGroup group;
  for (int f = 0; f < 10; ++f) {
    group.Add(1);
    scheduler().Spawn([&] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        try {
          YieldsInDestructor local;
          throw 1;
        } catch (int) {
        }
      }
      group.Done();
    });
  }
  group.Wait();
}

__attribute__((noinline, noipa)) int ReadErrno() { return errno; }
__attribute__((noinline, noipa)) void WriteErrno(int value) { errno = value; }

TEST_P(SchedulerTest, ErrnoTravelsWithTheFiber) {
  WaitGroup group;
  for (int f = 1; f <= 20; ++f) {
    group.Add(1);
    scheduler().Spawn([&, f] {
      for (int i = 0; i < 50; ++i) {
        WriteErrno(f);
        this_fiber::Yield();
        EXPECT_EQ(ReadErrno(), f);
        this_fiber::SleepFor(std::chrono::microseconds(10));
        EXPECT_EQ(ReadErrno(), f);
      }
      group.Done();
    });
  }
  group.Wait();
}

TEST_P(SchedulerTest, LargeFunctionObjectsAreCopiedAndDestroyedOnce) {
  struct Large {
    explicit Large(std::shared_ptr<int> p) : counted(std::move(p)) {}
    std::shared_ptr<int> counted;
    char bytes[4096] = {};
    void operator()() const { *counted += 1; }
  };
  const auto counted = std::make_shared<int>(0);
  scheduler().Spawn(Large(counted)).Join();
  scheduler().Spawn([counted, small = 1] { *counted += small; }).Join();
  scheduler().Spawn([owned = std::make_unique<int>(5), counted] { *counted += *owned; }).Join();
  EXPECT_EQ(*counted, 7);
  StopScheduler();
  EXPECT_EQ(counted.use_count(), 1);
}

void PlainFunction() {}
TEST_P(SchedulerTest, FunctionPointersCanBeSpawned) {
  scheduler().Spawn(&PlainFunction).Join();
  scheduler().Spawn(PlainFunction).Join();
}

TEST_P(SchedulerTest, AFunctionWhoseCopyThrowsSpawnsNothing) {
  struct Throws {
    Throws() = default;
    Throws(const Throws&) { throw std::runtime_error("no copy"); }
    void operator()() const { ADD_FAILURE() << "ran"; }
  };
  const int64_t before = FiberCount();
  const Throws function;
  EXPECT_THROW(scheduler().Spawn(function), std::runtime_error);
  EXPECT_EQ(FiberCount(), before);
}

TEST_P(SchedulerTest, EveryStackSizeCanBeUsedToItsEnd) {
  for (const size_t bytes : {size_t{16} << 10, size_t{64} << 10, size_t{256} << 10, size_t{1} << 20, size_t{8} << 20}) {
    scheduler()
        .Spawn(
            [bytes] {
              // Most of it; a page for the guard and a few KiB for the frames around us.
              const size_t usable = bytes - 4096 - 6 * 1024;
              auto* const memory = static_cast<volatile char*>(__builtin_alloca(usable));
              for (size_t i = 0; i < usable; i += 1024) memory[i] = 1;
            },
            {.stack_bytes = bytes})
        .Join();
  }
}

TEST_P(SchedulerTest, AStackLargerThanTheLargestClassIsRefused) {
  const auto fiber = scheduler().TrySpawn([] {}, {.stack_bytes = size_t{9} << 20});
  EXPECT_EQ(fiber.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(fiber.status().message().find("9437184"), absl::string_view::npos) << fiber.status();
  EXPECT_THROW(scheduler().Spawn([] {}, {.stack_bytes = size_t{9} << 20}), std::system_error);
}

TEST_P(SchedulerTest, OptionsOutOfRangeAreRefused) {
  EXPECT_THROW(Scheduler({.processors = -1}), std::invalid_argument);
  EXPECT_THROW(Scheduler({.processors = 100'000}), std::invalid_argument);
  EXPECT_THROW(Scheduler({.processors = 1, .run_queue_slots = 3}), std::invalid_argument);
  EXPECT_THROW(Scheduler({.processors = 1, .run_queue_slots = 1}), std::invalid_argument);
}

TEST_P(SchedulerTest, AFiberThatYieldsForeverDoesNotStarveOthersOrTimers) {
  std::atomic<bool> stop{false};
  std::vector<Fiber> yielders;
  for (int i = 0; i < 2 * GetParam(); ++i) {
    yielders.push_back(scheduler().Spawn([&] {
      while (!stop) this_fiber::Yield();
    }));
  }
  RunInFiber([] { this_fiber::SleepFor(std::chrono::milliseconds(2)); });  // injected, then woken by a timer
  stop = true;
  for (const Fiber& yielder : yielders) yielder.Join();
}

TEST_P(SchedulerTest, AFiberThatYieldsAloneLetsInjectedFibersRun) {
  std::atomic<bool> stop{false};
  std::vector<Fiber> yielders;
  for (int i = 0; i < GetParam(); ++i) {
    yielders.push_back(scheduler().Spawn([&] {
      while (!stop) this_fiber::Yield();
    }));
    AwaitState(yielders.back(), FiberState::kRunning);
  }
  for (int i = 0; i < 200; ++i) scheduler().Spawn([] {}).Join();
  stop = true;
  for (const Fiber& yielder : yielders) yielder.Join();
}

TEST_P(SchedulerTest, TwoFibersThatWakeEachOtherDoNotStarveAThird) {
  RunInFiber([&] {
    Channel<int> ping;
    Channel<int> pong;
    std::atomic<bool> third_ran{false};
    const Fiber a = Spawn([&] {
      while (ping.Send(1) && pong.Receive()) {
      }
    });
    const Fiber b = Spawn([&] {
      while (ping.Receive() && pong.Send(1)) {
      }
    });
    const Fiber third = Spawn([&] { third_ran = true; });
    third.Join();
    EXPECT_TRUE(third_ran);
    ping.Close();
    pong.Close();
    a.Join();
    b.Join();
  });
}

TEST_P(SchedulerTest, MoreFibersThanARunQueueHoldsAllRun) {
  std::atomic<int> ran{0};
  RunInFiber([&] {
    WaitGroup group;
    for (int i = 0; i < 3000; ++i) {
      group.Add(1);
      Spawn([&] {
        ++ran;
        group.Done();
      });
    }
    group.Wait();
  });
  EXPECT_EQ(ran, 3000);
}

TEST_P(SchedulerTest, CountersCount) {
  // Long enough not to be over before the fiber parks.
  RunInFiber([] {
    for (int i = 0; i < 10; ++i) this_fiber::SleepFor(std::chrono::milliseconds(1));
  });
  EXPECT_GE(scheduler().metrics().switches, 11u);
  EXPECT_EQ(scheduler().processors(), GetParam());
}

// ---- Stop

TEST_P(SchedulerTest, StopUnwindsParkedFibersAndRunsTheirDestructors) {
  std::atomic<int> destroyed{0};
  Channel<int> never;
  WaitGroup parked;
  for (int i = 0; i < 100; ++i) {
    parked.Add(1);
    scheduler().Spawn([&] {
      struct Guard {
        std::atomic<int>& count;
        ~Guard() { ++count; }
      } guard{destroyed};
      parked.Done();
      never.Receive();
      ADD_FAILURE() << "a stopped receive returned";
    });
  }
  parked.Wait();
  scheduler().Stop();
  EXPECT_EQ(destroyed, 100);
  EXPECT_EQ(FiberCount(), 0);
}

TEST_P(SchedulerTest, StopEndsSleepersJoinersLockersAndYielders) {
  Mutex mutex;
  Channel<int> never;
  WaitGroup group;
  group.Add(1);
  std::vector<Fiber> fibers;
  fibers.push_back(scheduler().Spawn([&] {
    mutex.lock();
    struct Unlock {
      Mutex& m;
      ~Unlock() { m.unlock(); }
    } unlock{mutex};
    never.Receive();
  }));
  AwaitState(fibers[0], FiberState::kWaiting);
  fibers.push_back(scheduler().Spawn([&] {
    mutex.lock();
    mutex.unlock();
  }));
  fibers.push_back(scheduler().Spawn([] { this_fiber::SleepFor(std::chrono::hours(1)); }));
  fibers.push_back(scheduler().Spawn([holder = fibers[0]] { holder.Join(); }));
  fibers.push_back(scheduler().Spawn([&] { group.Wait(); }));
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  scheduler().Spawn([] {
    for (;;) this_fiber::Yield();
  });
  scheduler().Stop();
  EXPECT_EQ(FiberCount(), 0);
}

TEST_P(SchedulerTest, StopDestroysFunctionsThatNeverRan) {
  const auto counted = std::make_shared<int>(0);
  RunInFiber([&] {
    for (int i = 0; i < 500; ++i) {
      Spawn([counted] { this_fiber::SleepFor(std::chrono::hours(1)); });
    }
  });
  scheduler().Stop();
  EXPECT_EQ(counted.use_count(), 1);
}

TEST_P(SchedulerTest, SpawnAfterStopIsRefused) {
  scheduler().Stop();
  scheduler().Stop();
  EXPECT_EQ(scheduler().TrySpawn([] {}).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THROW(scheduler().Spawn([] {}), std::system_error);
}

TEST_P(SchedulerTest, AFiberThatSwallowsTheUnwindingIsAskedAgain) {
  int swallowed = 0;
  Channel<int> never;
  const Fiber fiber = scheduler().Spawn([&] {
    while (swallowed < 5) {
      try {
        never.Receive();
      } catch (...) {
        ++swallowed;
      }
    }
  });
  AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_EQ(swallowed, 5);
}

// Goal: what a fiber lends to its children stays alive while they are unwound. Method: chains of fibers, each of which
// joins its child in a destructor and has lent it a local; parents are unwound before and after their children,
// whatever their blocks' order.
TEST_P(SchedulerTest, ADestructorThatJoinsWaitsForTheChildEvenWhileTheSchedulerStops) {
  constexpr int kChains = 20;
  constexpr int kDepth = 5;
  Channel<int> never;
  std::atomic<int> parked{0};
  std::atomic<int> in_order{0};
  struct JoinsChild {
    Fiber child;
    ~JoinsChild() { child.Join(); }
  };
  const auto chain = [&](auto& self, int depth, bool* lent) -> void {
    struct Mark {
      bool* lent;
      ~Mark() { *lent = true; }
    } mark{lent};
    bool child_left = depth == 0;
    struct Expect {
      bool& child_left;
      std::atomic<int>& in_order;
      ~Expect() { in_order += child_left ? 1 : 0; }
    } expect{child_left, in_order};
    JoinsChild joins;
    if (depth > 0) joins.child = Spawn([&self, depth, &child_left] { self(self, depth - 1, &child_left); });
    ++parked;
    never.Receive();
  };
  bool left[kChains] = {};
  for (bool& each : left) scheduler().Spawn([&] { chain(chain, kDepth, &each); });
  while (parked < kChains * (kDepth + 1)) sched_yield();
  scheduler().Stop();
  EXPECT_EQ(in_order, kChains * (kDepth + 1));
  for (const bool each : left) EXPECT_TRUE(each);
}

TEST_P(SchedulerTest, StopWhileOtherThreadsSpawnLosesNothing) {
  std::atomic<int> started{0};
  const auto alive = std::make_shared<int>(0);
  std::thread spawner([&] {
    while (scheduler().TrySpawn([alive] { this_fiber::Yield(); }).ok()) ++started;
  });
  while (started < 100) sched_yield();
  // The one thing that must not happen meanwhile is the destructor; Stop itself may race with spawns.
  scheduler().Stop();
  spawner.join();
  StopScheduler();
  EXPECT_EQ(alive.use_count(), 1);
}

TEST_P(SchedulerTest, SchedulersStartAndStopManyTimesInOneProcess) {
  for (int i = 0; i < 100; ++i) {
    Scheduler scheduler({.processors = GetParam()});
    Channel<int> never;
    std::atomic<int> ran{0};
    scheduler.Spawn([&] { ++ran; }).Join();
    const Fiber parked = scheduler.Spawn([&] { never.Receive(); });
    AwaitState(parked, FiberState::kWaiting);
    scheduler.Stop();
    EXPECT_EQ(ran, 1);
  }
}

TEST_P(SchedulerTest, TwoSchedulersExchangeValues) {
  Scheduler other({.processors = 1, .name = "other"});
  Channel<int> there;
  Channel<int> back;
  const Fiber echo = other.Spawn([&] {
    while (const std::optional<int> value = there.Receive()) back.Send(*value * 2);
  });
  RunInFiber([&] {
    for (int i = 0; i < 500; ++i) {
      there.Send(i);
      EXPECT_EQ(back.Receive(), i * 2);
    }
    there.Close();
  });
  echo.Join();
}

class SchedulerDeathTest : public testing::RuntimeTest {};

TEST_P(SchedulerDeathTest, MisuseIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        std::atomic<bool> known{false};
        Fiber self;
        self = scheduler().Spawn([&] {
          while (!known) this_fiber::Yield();
          self.Join();
        });
        known = true;
        self.Join();
      },
      "fiber [0-9]+ joins itself");
  EXPECT_DEATH(RunInFiber([&] { scheduler().Stop(); }), "a scheduler cannot be stopped by one of its fibers");
}

INSTANTIATE_TEST_SUITE_P(Processors, SchedulerDeathTest, ::testing::Values(1));
INSTANTIATE_TEST_SUITE_P(Processors, SchedulerTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace fiberscope
