// What the runtime counts: per fiber, per processor, per scheduler.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "runtime/atomic_histogram.h"
#include "runtime/base/clock.h"
#include "runtime/base/tick_clock.h"
#include "runtime/metrics.h"
#include "runtime/slice_clock.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

TEST(TickClockTest, FollowsTheKernelsClock) {
  CalibrateTickClock();
  const int64_t ticks = TickNowNs();
  const int64_t kernel = MonotonicNowNs();
  int64_t kernel_later;
  do {
    kernel_later = MonotonicNowNs();
  } while (kernel_later - kernel < 20'000'000);
  const int64_t elapsed = TickNowNs() - ticks;
  // Both ends may be interrupted, which makes it longer; shorter it can be by the calibration's error only.
  EXPECT_GT(elapsed, (kernel_later - kernel) - (kernel_later - kernel) / 1000);
}

TEST(TickClockTest, NeverGoesBackOnOneThread) {
  CalibrateTickClock();
  int64_t last = TickNowNs();
  for (int i = 0; i < 100'000; ++i) {
    const int64_t now = TickNowNs();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(DurationHistogramTest, BucketsArePowersOfTwo) {
  internal::AtomicHistogram histogram;
  histogram.Record(-5);
  histogram.Record(0);
  histogram.Record(1);
  histogram.Record(2);
  histogram.Record(3);
  histogram.Record(1023);
  histogram.Record(1024);
  histogram.Record(INT64_MAX);
  const DurationHistogram read = histogram.Read();
  EXPECT_EQ(read.count(), 8u);
  EXPECT_EQ(read.counts[0], 2u);
  EXPECT_EQ(read.counts[1], 1u);
  EXPECT_EQ(read.counts[2], 2u);
  EXPECT_EQ(read.counts[10], 1u) << "below 1024 ns";
  EXPECT_EQ(read.counts[11], 1u);
  EXPECT_EQ(read.counts.back(), 1u);
  EXPECT_EQ(DurationHistogram::UpperBound(10), std::chrono::nanoseconds(1024));
}

class AccountingTest : public testing::RuntimeTest {
 protected:
  // From a plain thread, for a fiber that does not change meanwhile.
  static FiberSnapshot Figures(const Fiber& fiber) {
    FiberSnapshot result;
    EXPECT_TRUE(WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
      result.state = snapshot.state;
      result.run_time = snapshot.run_time;
      result.runnable_time = snapshot.runnable_time;
      result.slices = snapshot.slices;
      result.wakeups = snapshot.wakeups;
      result.waited = snapshot.waited;
    }));
    return result;
  }
};

TEST_P(AccountingTest, SlicesAndWakeupsAreExact) {
  Channel<int> channel;
  const Fiber fiber = scheduler().Spawn([&] {
    while (channel.Receive()) {
    }
  });
  AwaitState(fiber, FiberState::kWaiting);
  EXPECT_EQ(Figures(fiber).slices, 1u);
  EXPECT_EQ(Figures(fiber).wakeups, 0u);
  for (uint64_t i = 1; i <= 10; ++i) {
    channel.Send(1);
    while (Figures(fiber).slices != i + 1 || fiber.state() != FiberState::kWaiting) sched_yield();
    EXPECT_EQ(Figures(fiber).wakeups, i);
  }
  channel.Close();
  fiber.Join();
}

TEST_P(AccountingTest, AReusedControlBlockStartsFromZero) {
  for (int i = 0; i < 50; ++i) {
    Channel<int> channel;
    const Fiber fiber = scheduler().Spawn([&] { channel.Receive(); });
    AwaitState(fiber, FiberState::kWaiting);
    EXPECT_EQ(Figures(fiber).slices, 1u);
    EXPECT_EQ(Figures(fiber).wakeups, 0u);
    channel.Close();
    fiber.Join();
  }
}

TEST_P(AccountingTest, RunTimeIsWhatTheFiberComputed) {
  constexpr int64_t kComputeNs = 5'000'000;
  Channel<int> channel;
  std::atomic<int64_t> computed_ns{0};
  const Fiber fiber = scheduler().Spawn([&] {
    const int64_t begin = TickNowNs();
    while (TickNowNs() - begin < kComputeNs) {
    }
    computed_ns = TickNowNs() - begin;
    channel.Receive();
  });
  AwaitState(fiber, FiberState::kWaiting);
  const FiberSnapshot figures = Figures(fiber);
  EXPECT_GE(figures.run_time.count(), computed_ns);
  // Parked, it runs no more.
  EXPECT_EQ(Figures(fiber).run_time, figures.run_time);
  channel.Close();
  fiber.Join();
}

TEST_P(AccountingTest, WaitingForAProcessorIsRunnableTime) {
  std::atomic<bool> leave{false};
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
  Channel<int> channel;
  const Fiber late = scheduler().Spawn([&] { channel.Receive(); });
  const int64_t begin = MonotonicNowNs();
  while (MonotonicNowNs() - begin < 3'000'000) {
  }
  EXPECT_EQ(Figures(late).slices, 0u);
  EXPECT_EQ(Figures(late).run_time.count(), 0);
  leave = true;
  AwaitState(late, FiberState::kWaiting);
  EXPECT_GE(Figures(late).runnable_time, std::chrono::milliseconds(2));
  const DurationHistogram latency = scheduler().metrics().scheduling_latency;
  uint64_t long_waits = 0;
  for (size_t i = 21; i < DurationHistogram::kBuckets; ++i) long_waits += latency.counts[i];  // 2^20 ns and more
  EXPECT_GE(long_waits, 1u);
  channel.Close();
  late.Join();
  for (const Fiber& hog : hogs) hog.Join();
}

// Of n short slices each is measured with probability 1/16 and then counts 16 times: n on average, with a standard deviation of
// sqrt(15 n), here 550. Slices that are not short count once. The limit is nine deviations.
TEST_P(AccountingTest, HistogramsCountEverySwitchOnAverage) {
  constexpr int kFibers = 100;
  constexpr int kYields = 200;
  RunInFiber([] {
    WaitGroup group;
    for (int i = 0; i < kFibers; ++i) {
      group.Add(1);
      Spawn([&] {
        for (int j = 0; j < kYields; ++j) this_fiber::Yield();
        group.Done();
      });
    }
    group.Wait();
  });
  scheduler().Stop();
  const SchedulerMetrics metrics = scheduler().metrics();
  EXPECT_GE(metrics.switches, static_cast<uint64_t>(kFibers));
  const auto switches = static_cast<double>(metrics.switches);
  EXPECT_NEAR(static_cast<double>(metrics.run_slice.count()), switches, 5000);
  EXPECT_NEAR(static_cast<double>(metrics.scheduling_latency.count()), switches, 5000);
  EXPECT_GT(metrics.run_slice.sum.count(), 0);
}

TEST(SliceClockTest, LongSlicesAreAllMeasuredAndCountOnce) {
  internal::SliceClock clock(1);
  int64_t now = 1;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(clock.Next());
    clock.Begin(now);
    now += 5000;
    EXPECT_EQ(clock.weight(), 1u);
    EXPECT_EQ(clock.End(now), 5000);
    EXPECT_FALSE(clock.measuring());
  }
}

// 100,000 slices of 100 ns: the estimate is off by sqrt(15 / 100,000) = 1.2 % on average; five times that is allowed.
TEST(SliceClockTest, ShortSlicesAreMeasuredOnceInSixteenAndAddUp) {
  internal::SliceClock clock(42);
  constexpr int64_t kSlices = 100'000;
  int64_t now = 1;
  int64_t total = 0;
  int measured = 0;
  for (int i = 0; i < kSlices; ++i) {
    if (clock.Next()) clock.Begin(now);
    now += 100;
    if (!clock.measuring()) continue;
    ++measured;
    const uint32_t weight = clock.weight();
    total += clock.End(now) * weight;
  }
  EXPECT_NEAR(static_cast<double>(total), 100.0 * kSlices, 0.06 * 100 * kSlices);
  EXPECT_NEAR(measured, kSlices / 16, kSlices / 16 * 0.06);
}

TEST(SliceClockTest, AClockThatGoesBackMakesNoNegativeSlice) {
  internal::SliceClock clock(1);
  ASSERT_TRUE(clock.Next());
  clock.Begin(100);
  EXPECT_EQ(clock.End(90), 0);
}

// A slice that is long enough for the monitor to see counts once, however short those before it were: not sixteen times.
TEST_P(AccountingTest, ALongSliceAmongShortOnesCountsOnce) {
  constexpr int64_t kComputeNs = 60'000'000;
  Channel<int> channel;
  std::atomic<int64_t> computed_ns{0};
  std::atomic<int64_t> before_ns{0};
  const Fiber fiber = scheduler().Spawn([&] {
    const int64_t start = TickNowNs();
    for (int i = 0; i < 2000; ++i) Spawn([] {}).Join();
    const int64_t begin = TickNowNs();
    before_ns = begin - start;
    while (TickNowNs() - begin < kComputeNs) {
    }
    computed_ns = TickNowNs() - begin;
    channel.Receive();
  });
  while (computed_ns == 0) sched_yield();
  AwaitState(fiber, FiberState::kWaiting);
  EXPECT_GT(Figures(fiber).run_time.count(), 0);
  EXPECT_LT(Figures(fiber).run_time.count(), 2 * (before_ns + computed_ns));
  channel.Close();
  fiber.Join();
}

TEST_P(AccountingTest, TotalsArePerScheduler) {
  {
    Scheduler other({.processors = 1});
    for (int i = 0; i < 5; ++i) other.Spawn([] {}).Join();
  }
  RunInFiber([] {
    std::vector<Fiber> fibers;
    for (int i = 0; i < 300; ++i) fibers.push_back(Spawn([] {}));
    for (const Fiber& fiber : fibers) fiber.Join();
  });
  scheduler().Stop();
  const SchedulerMetrics metrics = scheduler().metrics();
  EXPECT_EQ(metrics.spawned, 301u);
  EXPECT_EQ(metrics.finished, 301u);
  EXPECT_EQ(metrics.queued, 0u);
  EXPECT_GE(metrics.injections, 1u) << "the first was spawned by a plain thread";
}

TEST_P(AccountingTest, ThePeakOfLiveFibersIsKept) {
  Channel<int> channel;
  std::vector<Fiber> fibers;
  for (int i = 0; i < 50; ++i) fibers.push_back(scheduler().Spawn([&] { channel.Receive(); }));
  EXPECT_GE(scheduler().metrics().live_peak, 50u);
  channel.Close();
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_GE(scheduler().metrics().live_peak, 50u);
}

TEST_P(AccountingTest, SleepsAndWakesAreCounted) {
  constexpr uint64_t kRounds = 20;
  Channel<int> channel;
  const Fiber fiber = scheduler().Spawn([&] {
    while (channel.Receive()) {
    }
  });
  const auto all_idle = [&] {
    for (const ProcessorMetrics& processor : scheduler().metrics().processors) {
      if (processor.state != ProcessorState::kIdle) return false;
    }
    return true;
  };
  for (uint64_t i = 0; i < kRounds; ++i) {
    AwaitState(fiber, FiberState::kWaiting);
    while (!all_idle()) sched_yield();
    channel.Send(1);
  }
  AwaitState(fiber, FiberState::kWaiting);
  while (!all_idle()) sched_yield();
  const SchedulerMetrics metrics = scheduler().metrics();
  EXPECT_EQ(metrics.sleeps, metrics.futex_sleeps + metrics.reactor_sleeps);
  EXPECT_GE(metrics.sleeps, kRounds);
  // Not one each round: a worker may see the fiber just before it goes to sleep.
  EXPECT_GE(metrics.futex_wakes + metrics.reactor_wakes, 1u);
  channel.Close();
  fiber.Join();
}

TEST_P(AccountingTest, AYieldThatFindsNobodyIsNoSwitchButIsSeen) {
  RunInFiber([] {
    for (int i = 0; i < 1000; ++i) this_fiber::Yield();
  });
  uint64_t idle_yields = 0;
  for (const ProcessorMetrics& processor : scheduler().metrics().processors) idle_yields += processor.idle_yields;
  EXPECT_GT(idle_yields, 900u);
}

TEST_P(AccountingTest, ProcessorsAddUp) {
  RunInFiber([] {
    WaitGroup group;
    for (int i = 0; i < 1000; ++i) {
      group.Add(1);
      Spawn([&] { group.Done(); });
    }
    group.Wait();
  });
  scheduler().Stop();
  const SchedulerMetrics metrics = scheduler().metrics();
  ASSERT_EQ(metrics.processors.size(), static_cast<size_t>(GetParam()));
  uint64_t switches = 0;
  uint64_t overflows = 0;
  for (const ProcessorMetrics& processor : metrics.processors) {
    switches += processor.switches;
    overflows += processor.overflows;
  }
  EXPECT_EQ(switches, metrics.switches);
  EXPECT_EQ(overflows, metrics.overflows);
  if (GetParam() == 1) {
    EXPECT_GE(overflows, 1u) << "1000 fibers do not fit into a queue of 256";
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, AccountingTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace fiberscope
