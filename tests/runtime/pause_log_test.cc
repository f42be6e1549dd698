#include "runtime/pause_log.h"

#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/stall_report.h"

namespace fiberscope {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

Pause Of(PauseKind kind, nanoseconds duration, int64_t end = 0) {
  return {.kind = kind, .end = std::chrono::system_clock::time_point(seconds(end)), .duration = duration};
}

TEST(PauseLogTest, BeginsEmpty) {
  const PauseStats stats = PauseLog().Read();
  EXPECT_EQ(stats.count(), 0u);
  EXPECT_EQ(stats.total(), nanoseconds(0));
  EXPECT_TRUE(stats.latest.empty());
  EXPECT_FALSE(QuantilesOf(stats.latest).has_value());
}

TEST(PauseLogTest, CountsAllAndKeepsTheLatest) {
  PauseLog log;
  for (int64_t i = 1; i <= 1000; ++i) {
    log.Add(Of(i % 2 == 0 ? PauseKind::kListing : PauseKind::kMemoryRelease, nanoseconds(i), i));
  }
  const PauseStats stats = log.Read();
  EXPECT_EQ(stats.count(), 1000u);
  EXPECT_EQ(stats.total(), nanoseconds(1000 * 1001 / 2));
  EXPECT_EQ(stats.of(PauseKind::kListing).count(), 500u);
  EXPECT_EQ(stats.of(PauseKind::kListing).sum, nanoseconds(500 * 501));
  EXPECT_EQ(stats.of(PauseKind::kStallBlocked).count(), 0u);
  ASSERT_EQ(stats.latest.size(), 256u);
  EXPECT_EQ(stats.latest.front(), Of(PauseKind::kListing, nanoseconds(1000), 1000));
  EXPECT_EQ(stats.latest.back(), Of(PauseKind::kMemoryRelease, nanoseconds(745), 745));
}

// Format: Go 1.27 runtime/debug.ReadGCStats: of n sorted pauses, those at n * i / 4, and the last.
TEST(PauseQuantilesTest, AreThoseThatGoTakes) {
  struct Row {
    std::vector<int> durations;
    PauseQuantiles want;
  };
  const auto ns = [](int a, int b, int c, int d, int e) {
    return PauseQuantiles{nanoseconds(a), nanoseconds(b), nanoseconds(c), nanoseconds(d), nanoseconds(e)};
  };
  const Row rows[] = {
      {{7}, ns(7, 7, 7, 7, 7)},
      {{9, 1}, ns(1, 1, 9, 9, 9)},
      {{5, 3, 1, 4, 2}, ns(1, 2, 3, 4, 5)},
      {{8, 7, 6, 5, 4, 3, 2, 1}, ns(1, 3, 5, 7, 8)},
  };
  for (const Row& row : rows) {
    std::vector<Pause> pauses;
    for (const int each : row.durations) {
      pauses.push_back(Of(PauseKind::kListing, nanoseconds(each)));
      pauses.push_back(Of(PauseKind::kStallBlocked, seconds(each)));
    }
    EXPECT_EQ(QuantilesOf(pauses, PauseKind::kListing), row.want);
    EXPECT_FALSE(QuantilesOf(pauses, PauseKind::kMemoryRelease).has_value());
    EXPECT_EQ(QuantilesOf(pauses)->front(), row.want.front());
    EXPECT_EQ(QuantilesOf(pauses)->back(), row.want.back() * 1'000'000'000);
  }
}

TEST(PauseLogTest, IsReadWhileOthersAdd) {
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  PauseLog log;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&log, i] {
      for (int k = 0; k < kEach; ++k) log.Add(Of(static_cast<PauseKind>(i), nanoseconds(i + 1), i + 1));
    });
  }
  uint64_t seen = 0;
  while (seen < kThreads * kEach) {
    const PauseStats stats = log.Read();
    EXPECT_GE(stats.count(), seen);
    seen = stats.count();
    for (const Pause& each : stats.latest) {
      EXPECT_EQ(each.duration.count(), static_cast<int>(each.kind) + 1);
      EXPECT_EQ(each.end.time_since_epoch(), seconds(each.duration.count()));
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(log.Read().total(), nanoseconds(kEach * (1 + 2 + 3 + 4)));
}

// ---- Who adds.

TEST(PausesTest, AListingOfOneInstantIsOne) {
  Scheduler scheduler({.processors = 2});
  std::atomic<bool> leave{false};
  Fiber fiber = scheduler.Spawn([&] {
    while (!leave) {
    }
  });
  while (fiber.state() != FiberState::kRunning) sched_yield();
  const uint64_t before = ReadPauses().of(PauseKind::kListing).count();
  ForEachFiber({.stacks = true}, [](const FiberSnapshot&) { return true; });
  EXPECT_EQ(ReadPauses().of(PauseKind::kListing).count(), before) << "a listing that holds nobody";

  const auto begin = std::chrono::system_clock::now();
  ForEachFiber({.stacks = true, .one_instant = true}, [](const FiberSnapshot&) { return true; });
  const PauseStats stats = ReadPauses();
  ASSERT_EQ(stats.of(PauseKind::kListing).count(), before + 1);
  EXPECT_EQ(stats.latest.front().kind, PauseKind::kListing);
  EXPECT_GT(stats.latest.front().duration, nanoseconds(0));
  EXPECT_LE(stats.latest.front().duration, std::chrono::system_clock::now() - begin);
  EXPECT_GE(stats.latest.front().end, begin);
  leave = true;
  fiber.Join();
}

TEST(PausesTest, AStallIsOneWhenItHasEnded) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    Scheduler scheduler({.processors = 1, .stall_after = milliseconds(1), .on_stall = [](const StallReport&) {}});
    Fiber fiber = scheduler.Spawn([&] {
      char byte;
      EXPECT_EQ(read(ends[0], &byte, 1), 1);
    });
    while (scheduler.metrics().stalls_blocked == 0) sched_yield();
    EXPECT_EQ(ReadPauses().of(PauseKind::kStallBlocked).count(), 0u);
    ASSERT_EQ(write(ends[1], "x", 1), 1);
    fiber.Join();
    // Nothing is left to do; the monitor sees the end all the same.
    while (ReadPauses().of(PauseKind::kStallBlocked).count() == 0) sched_yield();
    const Pause pause = ReadPauses().latest.front();
    EXPECT_EQ(pause.kind, PauseKind::kStallBlocked);
    EXPECT_GE(pause.duration, milliseconds(1));
  }
  EXPECT_EQ(ReadPauses().of(PauseKind::kStallBlocked).count(), 1u);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace fiberscope
