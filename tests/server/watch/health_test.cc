#include "server/watch/health.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "server/watch/history.h"

namespace fiberscope::server {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

// The figures of second `second`.
HealthReading At(int64_t second) {
  HealthReading reading;
  reading.at = seconds(second);
  reading.time = std::chrono::system_clock::time_point(seconds(1'000'000 + second));
  return reading;
}

void SetFibers(uint64_t count, FiberState state, HealthReading& reading) {
  reading.census.by_state[static_cast<size_t>(state)] = count;
}

void SetWait(WaitReason reason, nanoseconds longest, HealthReading& reading) {
  reading.census.by_reason[static_cast<size_t>(reason)] = {.fibers = 1, .longest = longest};
}

TEST(QuantileOfTest, InterpolatesWithinABucket) {
  DurationHistogram durations;
  EXPECT_FALSE(QuantileOf(durations, 0.5).has_value());
  durations.counts[11] = 100;  // 1024 to 2048 ns
  EXPECT_EQ(QuantileOf(durations, 0.5), nanoseconds(1536));
  EXPECT_EQ(QuantileOf(durations, 1), nanoseconds(2048));
  durations.counts[21] = 100;  // 1.05 to 2.10 ms
  EXPECT_EQ(QuantileOf(durations, 0.5), nanoseconds(2048));
  EXPECT_EQ(QuantileOf(durations, 0.75), nanoseconds((1 << 20) + (1 << 19)));
  durations = {};
  durations.counts[0] = 4;  // less than 1 ns
  EXPECT_EQ(QuantileOf(durations, 0.99), nanoseconds(0));
  durations = {};
  durations.counts[39] = 1;  // longer than all
  EXPECT_EQ(QuantileOf(durations, 0.5), nanoseconds(int64_t{1} << 38));
}

TEST(HealthRowBuilderTest, SubtractsWhatGrowsAndTakesThePeakOfTheRest) {
  HealthReading begin = At(0);
  begin.cpu = seconds(100);
  begin.totals.scheduling_latency.counts[30] = 1000;  // long ago
  HealthReading one = At(1);
  one.cpu = seconds(101);
  SetFibers(50, FiberState::kWaiting, one);
  SetFibers(1, FiberState::kRunning, one);
  SetWait(WaitReason::kIo, seconds(5), one);
  one.totals.queued = 7;
  one.totals.scheduling_latency = begin.totals.scheduling_latency;
  one.totals.scheduling_latency.counts[11] = 10;
  one.heap = pprof::HeapStats{.allocated = 100, .system = 1000, .free = 0, .released = 300, .thread_caches = 0};
  one.resident_bytes = 5000;
  HealthReading two = At(2);
  two.cpu = seconds(103);
  SetFibers(20, FiberState::kWaiting, two);
  SetFibers(2, FiberState::kRunning, two);
  SetWait(WaitReason::kMutexLock, seconds(4), two);
  two.totals.queued = 3;
  two.totals.scheduling_latency = one.totals.scheduling_latency;
  two.totals.scheduling_latency.counts[12] = 10;
  two.heap = pprof::HeapStats{.allocated = 200, .system = 1000, .free = 0, .released = 500, .thread_caches = 0};
  two.resident_bytes = 4000;

  HealthRowBuilder builder(begin);
  builder.Add(one);
  builder.Add(two);
  EXPECT_EQ(builder.readings(), 2);
  const HealthRow row = builder.Take();
  EXPECT_EQ(row.end, two.time);
  EXPECT_EQ(row.length, seconds(2));
  EXPECT_EQ(row.fibers, 51u);
  EXPECT_EQ(row.by_state[static_cast<size_t>(FiberState::kWaiting)], 50u);
  EXPECT_EQ(row.by_state[static_cast<size_t>(FiberState::kRunning)], 2u);
  EXPECT_EQ(row.oldest_wait, seconds(5));
  EXPECT_STREQ(row.oldest_wait_reason, "io");
  EXPECT_EQ(row.queued, 7u);
  EXPECT_EQ(row.heap_bytes, 200u);
  EXPECT_EQ(row.heap_backed_bytes, 700u);
  EXPECT_EQ(row.resident_bytes, 5000u);
  EXPECT_EQ(row.latency_p50, nanoseconds(2048));
  EXPECT_GT(row.latency_p99, nanoseconds(4000));
  EXPECT_LT(row.latency_p99, nanoseconds(4096));
  EXPECT_DOUBLE_EQ(row.cpus, 1.5);

  // The next row begins where this one has ended.
  HealthReading three = At(3);
  three.cpu = seconds(103);
  three.totals.scheduling_latency = two.totals.scheduling_latency;
  three.census.blocking = {.fibers = 1, .longest = nanoseconds(0)};
  builder.Add(three);
  const HealthRow next = builder.Take();
  EXPECT_EQ(next.length, seconds(1));
  EXPECT_EQ(next.fibers, 0u);
  EXPECT_STREQ(next.oldest_wait_reason, "blocking");
  EXPECT_FALSE(next.latency_p50.has_value());
  EXPECT_FALSE(next.heap_bytes.has_value());
  EXPECT_EQ(next.cpus, 0);
}

TEST(HistoryTest, KeepsTheNewestRowsOldestFirst) {
  History history({.samples = 1, .rows = 3}, At(0));
  EXPECT_TRUE(history.rows().empty());
  for (int64_t second = 1; second <= 8; ++second) {
    history.Add(At(second));
    const std::vector<HealthRow> rows = history.rows();
    ASSERT_EQ(rows.size(), static_cast<size_t>(std::min<int64_t>(second, 3)));
    for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(rows[i].end, At(second - static_cast<int64_t>(rows.size() - 1 - i)).time);
  }
}

// A coarse tier says of a stretch of time what the fine one does, row by row.
TEST(HistoryTest, ACoarseRowSumsUpItsFineOnes) {
  constexpr int64_t kSamples = 5;
  std::mt19937 random(7);
  HealthReading reading = At(0);
  History fine({.samples = 1, .rows = 1000}, reading);
  History coarse({.samples = kSamples, .rows = 10}, reading);
  for (int64_t second = 1; second <= 93; ++second) {
    reading.at = seconds(second);
    reading.time = At(second).time;
    reading.cpu += milliseconds(random() % 2000);
    SetFibers(random() % 100, FiberState::kWaiting, reading);
    SetWait(WaitReason::kCondition, seconds(random() % 100), reading);
    fine.Add(reading);
    coarse.Add(reading);
  }
  const std::vector<HealthRow> all = fine.rows();
  const std::vector<HealthRow> rows = coarse.rows();
  ASSERT_EQ(rows.size(), 10u);
  EXPECT_EQ(rows.back().end, At(90).time);
  for (size_t i = 0; i < rows.size(); ++i) {
    HealthRow want;
    for (size_t k = 0; k < kSamples; ++k) {
      const HealthRow& one = all[(8 + i) * kSamples + k];
      want.end = one.end;
      want.length += one.length;
      want.fibers = std::max(want.fibers, one.fibers);
      want.oldest_wait = std::max(want.oldest_wait, one.oldest_wait);
      want.cpus += one.cpus / kSamples;
    }
    EXPECT_EQ(rows[i].end, want.end);
    EXPECT_EQ(rows[i].length, want.length);
    EXPECT_EQ(rows[i].fibers, want.fibers);
    EXPECT_EQ(rows[i].oldest_wait, want.oldest_wait);
    EXPECT_NEAR(rows[i].cpus, want.cpus, 1e-9);
  }
}

TEST(ReadHealthTest, ReadsTheProcess) {
  Scheduler scheduler({.processors = 2});
  Channel<int> channel;
  Fiber fiber = scheduler.Spawn([&] { (void)channel.Receive(); });
  while (fiber.state() != FiberState::kWaiting) sched_yield();
  const HealthReading one = ReadHealth();
  EXPECT_EQ(one.census.waiting_for(WaitReason::kChannelReceive).fibers, 1u);
  EXPECT_GE(one.totals.spawned, 1u);
  EXPECT_GT(one.cpu, nanoseconds(0));
  EXPECT_GT(one.resident_bytes.value_or(0), 100'000u);
  EXPECT_FALSE(one.heap.has_value()) << "this program has no tcmalloc";
  const HealthReading two = ReadHealth();
  EXPECT_GE(two.at, one.at);
  EXPECT_GE(two.cpu, one.cpu);
  channel.Close();
  fiber.Join();
}

TEST(HealthFigureTest, SayWhatTheyAreNamedAfter) {
  HealthReading reading = At(1);
  SetWait(WaitReason::kChannelSend, milliseconds(2500), reading);
  HealthRow row;
  row.fibers = 3;
  row.queued = 4;
  EXPECT_EQ(FiberCountFigure()(reading, row), 3);
  EXPECT_EQ(QueuedFigure()(reading, row), 4);
  EXPECT_EQ(OldestWaitFigure(WaitReason::kChannelSend)(reading, row), 2.5);
  EXPECT_EQ(OldestWaitFigure(WaitReason::kIo)(reading, row), 0);
  EXPECT_FALSE(LatencyP99Figure()(reading, row).has_value());
  EXPECT_FALSE(ResidentBytesFigure()(reading, row).has_value());
  row.latency_p99 = microseconds(1500);
  row.resident_bytes = 10;
  EXPECT_EQ(LatencyP99Figure()(reading, row), 0.0015);
  EXPECT_EQ(ResidentBytesFigure()(reading, row), 10);
}

}  // namespace
}  // namespace fiberscope::server
