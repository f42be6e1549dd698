#include "runtime/io/await.h"

#include <sched.h>

#include <atomic>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/context.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

// libstdc++'s own code, which ThreadSanitizer does not see into, counts the references to an exception atomically.
// Coroutine and fiber hold one each to the same exception, so whoever drops the last one seems to race with the other's
// use of it.
extern "C" const char* __tsan_default_suppressions() {
  return "race:std::__exception_ptr::exception_ptr::_M_release\n";
}

namespace fiberscope {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using boost::system::system_error;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

using AwaitTest = testing::RuntimeTest;

asio::awaitable<int> Sum(int n) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  int sum = 0;
  for (int i = 1; i <= n; ++i) {
    timer.expires_after(microseconds(20));
    co_await timer.async_wait(asio::use_awaitable);
    sum += i;
  }
  co_return sum;
}

asio::awaitable<void> SleepForEver() {
  asio::steady_timer timer(co_await asio::this_coro::executor, hours(1));
  co_await timer.async_wait(asio::use_awaitable);
}

TEST_P(AwaitTest, CoroutinesRunBesideFibers) {
  std::atomic<int> total{0};
  WaitGroup group;
  for (int i = 0; i < 20; ++i) {
    group.Add(2);
    asio::co_spawn(
        scheduler().get_executor(),
        [&]() -> asio::awaitable<void> {
          EXPECT_TRUE(this_fiber::id());
          total += co_await Sum(4);
          group.Done();
        },
        asio::detached);
    scheduler().Spawn([&] {
      this_fiber::SleepFor(microseconds(50));
      ++total;
      group.Done();
    });
  }
  group.Wait();
  EXPECT_EQ(total, 20 * 11);
}

TEST_P(AwaitTest, AFiberAwaitsACoroutine) {
  RunInFiber([] {
    EXPECT_EQ(Await(Sum(5)), 15);
    bool ran = false;
    Await([](bool& flag) -> asio::awaitable<void> {
      flag = true;
      co_return;
    }(ran));
    EXPECT_TRUE(ran);
  });
}

TEST_P(AwaitTest, WhatACoroutineThrowsAwaitThrows) {
  RunInFiber([] {
    EXPECT_THROW(Await([]() -> asio::awaitable<int> {
                   co_await Sum(1);
                   throw std::out_of_range("inside");
                 }()),
                 std::out_of_range);
  });
}

TEST_P(AwaitTest, ACoroutineMayUseWhatParksFibers) {
  RunInFiber([] {
    Channel<int> channel;
    const Fiber sender = Spawn([&] { channel.Send(6); });
    const int value = Await([](Channel<int>& from) -> asio::awaitable<int> {
      const int received = from.Receive().value();  // parks in the strand
      this_fiber::Yield();
      co_return received + co_await Sum(1);
    }(channel));
    EXPECT_EQ(value, 7);
    sender.Join();
  });
}

TEST_P(AwaitTest, CancellingTheFiberCancelsTheCoroutine) {
  const CancelSource source = Context().WithCancel();
  std::atomic<bool> started{false};
  bool unwound = false;
  const Fiber fiber = scheduler().Spawn(
      [&] {
        const auto coroutine = [](std::atomic<bool>& flag, bool& end) -> asio::awaitable<void> {
          struct Guard {
            bool& done;
            ~Guard() { done = true; }
          } guard{end};
          flag = true;
          co_await SleepForEver();
        };
        try {
          Await(coroutine(started, unwound));
          ADD_FAILURE() << "returned";
        } catch (const system_error& error) {
          EXPECT_EQ(error.code(), asio::error::operation_aborted);
        }
        EXPECT_TRUE(unwound) << "Await returns when the coroutine has ended";
      },
      {.context = source.context()});
  while (!started) sched_yield();
  source.Cancel();
  fiber.Join();
}

TEST_P(AwaitTest, ATimeoutCancelsTheCoroutine) {
  RunInFiber([] { EXPECT_THROW(Await(SleepForEver(), use_fiber.timeout(milliseconds(1))), system_error); });
}

TEST_P(AwaitTest, ACoroutineJoinsAFiber) {
  Channel<int> leave;
  std::atomic<int> value{0};
  const Fiber target = scheduler().Spawn([&] {
    leave.Receive();
    value = 3;
  });
  auto result = asio::co_spawn(
      scheduler().get_executor(),
      [&]() -> asio::awaitable<int> {
        co_await async_join(target, asio::use_awaitable);
        co_await async_join(target, asio::use_awaitable);  // finished already
        co_return value.load();
      },
      asio::use_future);
  leave.Close();
  EXPECT_EQ(result.get(), 3);
}

TEST_P(AwaitTest, CancellingAJoinLeavesTheFiberAlone) {
  Channel<int> leave;
  const Fiber target = scheduler().Spawn([&] { leave.Receive(); });
  asio::cancellation_signal signal;
  FiberStrand strand(scheduler().get_executor());
  std::promise<error_code> outcome;
  std::promise<void> started;
  asio::post(strand, [&] {
    async_join(scheduler().get_executor(), target,
               asio::bind_cancellation_slot(
                   signal.slot(), asio::bind_executor(strand, [&](error_code error) { outcome.set_value(error); })));
    started.set_value();
  });
  started.get_future().get();
  asio::post(strand, [&] { signal.emit(asio::cancellation_type::total); });
  EXPECT_EQ(outcome.get_future().get(), asio::error::operation_aborted);
  EXPECT_NE(target.state(), FiberState::kDead);
  leave.Close();
  target.Join();
}

TEST_P(AwaitTest, ACoroutineSpawnsAFiberAndGetsItsResultOrException) {
  const SchedulerExecutor executor = scheduler().get_executor();
  auto result = asio::co_spawn(
      executor,
      [executor]() -> asio::awaitable<std::string> {
        const std::string text = co_await async_spawn(
            executor,
            [] {
              this_fiber::SleepFor(microseconds(20));
              return std::string("from a fiber");
            },
            asio::use_awaitable);
        co_await async_spawn(
            executor, [] { this_fiber::Yield(); }, asio::use_awaitable);
        try {
          co_await async_spawn(
              executor, []() -> int { throw std::length_error("in the fiber"); }, asio::use_awaitable);
        } catch (const std::length_error& error) {
          co_return text + ", " + error.what();
        }
        co_return "nothing was thrown";
      },
      asio::use_future);
  EXPECT_EQ(result.get(), "from a fiber, in the fiber");
}

TEST_P(AwaitTest, CancellationCrossesFromFiberToCoroutineToFiber) {
  const CancelSource source = Context().WithCancel();
  const SchedulerExecutor executor = scheduler().get_executor();
  std::atomic<bool> asleep{false};
  std::atomic<bool> inner_cancelled{false};
  const Fiber outer = scheduler().Spawn(
      [&] {
        const auto coroutine = [&]() -> asio::awaitable<void> {
          co_await async_spawn(
              executor,
              [&] {
                asleep = true;
                try {
                  this_fiber::SleepFor(hours(1));
                } catch (const WaitCancelled&) {
                  inner_cancelled = true;
                  throw;
                }
              },
              asio::use_awaitable);
        };
        EXPECT_THROW(Await(coroutine()), system_error);
        EXPECT_TRUE(inner_cancelled);
      },
      {.context = source.context()});
  while (!asleep) sched_yield();
  source.Cancel();
  outer.Join();
}

TEST_P(AwaitTest, AStrandRunsOneFunctionAtATimeAcrossParks) {
  FiberStrand strand(scheduler().get_executor());
  std::atomic<int> inside{0};
  int order = 0;  // guarded by the strand
  WaitGroup group;
  for (int i = 0; i < 200; ++i) {
    group.Add(1);
    asio::post(strand, [&, i] {
      EXPECT_EQ(++inside, 1);
      EXPECT_EQ(order++, i);
      EXPECT_TRUE(strand.running_in_this_fiber());
      this_fiber::SleepFor(microseconds(5));
      bool inner = false;
      asio::dispatch(strand, [&] { inner = true; });
      EXPECT_TRUE(inner);
      --inside;
      group.Done();
    });
  }
  EXPECT_FALSE(strand.running_in_this_fiber());
  group.Wait();
}

TEST_P(AwaitTest, StopDestroysWhatWaitsInAStrand) {
  const auto counted = std::make_shared<int>(0);
  FiberStrand strand(scheduler().get_executor());
  Channel<int> never;
  std::atomic<bool> parked{false};
  asio::post(strand, [&] {
    parked = true;
    never.Receive();
  });
  for (int i = 0; i < 10; ++i) asio::post(strand, [counted] { ADD_FAILURE() << "ran"; });
  while (!parked) sched_yield();
  scheduler().Stop();
  asio::post(strand, [counted] { ADD_FAILURE() << "ran"; });
  strand = FiberStrand(scheduler().get_executor());
  EXPECT_EQ(counted.use_count(), 1);
}

// Goal: cancellation of a coroutine by its fiber races the coroutine's own progress and end. Method: many awaits with
// contexts that are cancelled after a few turns.
TEST_P(AwaitTest, StressOfCancellationRacingTheCoroutine) {
  RunInFiber([] {
    std::vector<Fiber> fibers;
    std::atomic<int> ended{0};
    for (uint32_t f = 0; f < 4; ++f) {
      fibers.push_back(Spawn([&, f] {
        for (uint32_t i = 0; i < 60; ++i) {
          const CancelSource source = Context().WithCancel();
          const Fiber canceller = Spawn([&, wait = (i * 7 + f) % 11] {
            for (uint32_t turn = 0; turn < wait; ++turn) this_fiber::SleepFor(microseconds(10));
            source.Cancel();
          });
          {
            const ContextScope scope(source.context());
            try {
              EXPECT_EQ(Await(Sum(3)), 6);
            } catch (const system_error& error) {
              EXPECT_EQ(error.code(), asio::error::operation_aborted);
            } catch (const WaitCancelled&) {
            }
          }
          ++ended;
          canceller.Join();
        }
      }));
    }
    for (const Fiber& fiber : fibers) fiber.Join();
    EXPECT_EQ(ended, 240);
  });
}

INSTANTIATE_TEST_SUITE_P(Processors, AwaitTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
