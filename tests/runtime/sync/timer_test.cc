#include "runtime/sync/timer.h"

#include "runtime/sync/select.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

using TimerTest = testing::RuntimeTest;

TEST_P(TimerTest, FiresOnceNotBeforeItsTime) {
  RunInFiber([] {
    const auto start = steady_clock::now();
    Timer timer(milliseconds(2));
    const std::optional<Deadline> fired = timer.channel().Receive();
    ASSERT_TRUE(fired.has_value());
    EXPECT_GE(*fired - start, milliseconds(2));
    EXPECT_EQ(timer.channel().ReceiveFor(milliseconds(2)).status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_FALSE(timer.Stop());
  });
}

TEST_P(TimerTest, AStoppedTimerLeavesNothingInItsChannel) {
  RunInFiber([] {
    Timer far(hours(1));
    EXPECT_TRUE(far.Stop());
    EXPECT_FALSE(far.Stop());
    // Fired, not received, stopped.
    Timer near(microseconds(1));
    while (near.channel().size() == 0) this_fiber::Yield();
    EXPECT_FALSE(near.Stop());
    EXPECT_EQ(near.channel().TryReceive(), std::nullopt);
    near.Reset(microseconds(1));
    EXPECT_TRUE(near.channel().Receive().has_value());
    // Destroyed in any state: a worker that looks after timers must not find it any more.
    for (int i = 0; i < 2000; ++i) Timer destroyed(microseconds(i % 20));
  });
}

TEST_P(TimerTest, ATimerIsATimeoutInASelect) {
  RunInFiber([] {
    Channel<int> never;
    std::optional<int> value;
    std::optional<Deadline> fired;
    Timer timeout(milliseconds(1));
    EXPECT_EQ(Select(ReceiveCase(&never, value), ReceiveCase(&timeout.channel(), fired)), 1u);
    EXPECT_TRUE(fired.has_value());
  });
}

TEST_P(TimerTest, ATickerTicksUntilStoppedAndDoesNotPileUp) {
  RunInFiber([] {
    Ticker ticker(microseconds(200));
    std::optional<Deadline> last = ticker.channel().Receive();
    for (int i = 0; i < 5; ++i) {
      const std::optional<Deadline> next = ticker.channel().Receive();
      EXPECT_GT(*next, *last);
      last = next;
    }
    while (ticker.channel().size() == 0) this_fiber::Yield();
    this_fiber::SleepFor(milliseconds(2));
    EXPECT_EQ(ticker.channel().size(), 1u);
    EXPECT_TRUE(ticker.Stop());
    EXPECT_FALSE(ticker.channel().ReceiveFor(milliseconds(2)).ok());
    ticker.Reset(microseconds(300));
    EXPECT_TRUE(ticker.channel().Receive().has_value());
  });
}

TEST_P(TimerTest, TheSchedulerMayStopWhileTimersRun) {
  const Fiber fiber = scheduler().Spawn([] {
    Timer timer(hours(1));
    Ticker ticker(microseconds(50));
    timer.channel().Receive();
  });
  AwaitState(fiber, FiberState::kWaiting);
  StopScheduler();
}

TEST_P(TimerTest, ATimeThatHasPassedFiresAtOnce) {
  RunInFiber([] {
    for (const auto delay : {std::chrono::nanoseconds(hours(-1)), std::chrono::nanoseconds(0), std::chrono::nanoseconds::min()}) {
      Timer timer(delay);
      EXPECT_TRUE(timer.channel().Receive().has_value());
    }
  });
}

class TimerDeathTest : public testing::RuntimeTest {};

TEST_P(TimerDeathTest, MisuseIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(RunInFiber([] { Ticker ticker(microseconds(0)); }), "a ticker with a period of 0 ns");
  EXPECT_DEATH(RunInFiber([] {
                 Ticker ticker(hours(1));
                 ticker.Reset(microseconds(-1));
               }),
               "a ticker with a period of -1000 ns");
  EXPECT_DEATH({ Timer timer(microseconds(1)); }, "timers are made and reset on fibers");
}

INSTANTIATE_TEST_SUITE_P(Processors, TimerDeathTest, ::testing::Values(1));
INSTANTIATE_TEST_SUITE_P(Processors, TimerTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace fiberscope
