#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "runtime/scheduler.h"
#include "runtime/stall_report.h"
#include "runtime/sync/channel.h"
#include "runtime/this_fiber.h"

namespace fiberscope {
namespace {

using ::testing::HasSubstr;

// Collects reports, and lets the test wait for the first.
class Reports {
 public:
  StallHandler handler() {
    return [this](const StallReport& report) {
      std::lock_guard lock(mutex_);
      reports_.push_back(report);
      changed_.notify_all();
    };
  }
  StallReport WaitForFirst() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !reports_.empty(); });
    return reports_.front();
  }
  size_t size() {
    std::lock_guard lock(mutex_);
    return reports_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<StallReport> reports_;
};

class MonitorTest : public ::testing::TestWithParam<int> {
 protected:
  SchedulerOptions Options() {
    return {.processors = GetParam(), .stall_after = std::chrono::milliseconds(1), .on_stall = reports_.handler()};
  }

  // As many fibers as there are processors, none of which lets go until the test says so.
  template <typename F>
  void HogEveryProcessor(Scheduler& scheduler, F body) {
    std::atomic<int> started{0};
    for (int i = 0; i < GetParam(); ++i) {
      hogs_.push_back(scheduler.Spawn(
          [&started, body] {
            ++started;
            body();
          },
          {.name = "hog"}));
    }
    while (started < GetParam()) sched_yield();
  }

  Reports reports_;
  std::vector<Fiber> hogs_;
};

TEST_P(MonitorTest, OthersRunWhileEveryWorkerSleepsInTheKernelUnmarked) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Scheduler scheduler(Options());
  HogEveryProcessor(scheduler, [&ends] {
    char byte;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
  });
  const StallReport report = reports_.WaitForFirst();
  EXPECT_EQ(report.kind, StallReport::Kind::kBlocked);
  EXPECT_EQ(report.name, "hog");
  EXPECT_GE(report.duration, std::chrono::milliseconds(1));
  EXPECT_NE(report.entry_pc, 0u);
  EXPECT_NE(report.creator_pc, 0u);
  EXPECT_GT(report.thread_id, 0);
  EXPECT_TRUE(std::any_of(hogs_.begin(), hogs_.end(), [&](const Fiber& hog) { return hog.id() == report.fiber; }));
  // Fibers, timers and the reactor go on.
  scheduler.Spawn([] { this_fiber::SleepFor(std::chrono::microseconds(10)); }).Join();
  EXPECT_GE(scheduler.metrics().stalls_blocked, 1u);
  EXPECT_GE(scheduler.metrics().lent_processors, 1u);
  for (int i = 0; i < GetParam(); ++i) ASSERT_EQ(write(ends[1], "x", 1), 1);
  for (const Fiber& hog : hogs_) hog.Join();
  // What was lent goes back.
  while (scheduler.metrics().lent_processors != 0) sched_yield();
  EXPECT_EQ(scheduler.processors(), GetParam());
  close(ends[0]);
  close(ends[1]);
}

TEST_P(MonitorTest, OthersRunWhileEveryProcessorComputes) {
  Scheduler scheduler(Options());
  std::atomic<bool> leave{false};
  HogEveryProcessor(scheduler, [&leave] {
    while (!leave) {
    }
  });
  EXPECT_EQ(reports_.WaitForFirst().kind, StallReport::Kind::kComputing);
  scheduler.Spawn([] { this_fiber::SleepFor(std::chrono::microseconds(10)); }).Join();
  EXPECT_GE(scheduler.metrics().stalls_computing, 1u);
  leave = true;
  for (const Fiber& hog : hogs_) hog.Join();
}

TEST_P(MonitorTest, WhatAStalledFiberMadeRunnableIsNotHeldBack) {
  Scheduler scheduler(Options());
  std::atomic<bool> leave{false};
  std::vector<Fiber> children;
  std::mutex children_mutex;
  HogEveryProcessor(scheduler, [&] {
    for (int i = 0; i < 3; ++i) {  // the last one lies in the run-next slot
      const Fiber child = Spawn([] {});
      std::lock_guard lock(children_mutex);
      children.push_back(child);
    }
    while (!leave) {
    }
  });
  for (;;) {
    std::lock_guard lock(children_mutex);
    if (children.size() == 3 * static_cast<size_t>(GetParam())) break;
  }
  for (const Fiber& child : children) child.Join();
  leave = true;
  for (const Fiber& hog : hogs_) hog.Join();
}

TEST_P(MonitorTest, ReportsAreRateLimitedButAllStallsCount) {
  Scheduler scheduler(Options());
  std::atomic<uint64_t> found{0};
  for (int i = 0; i < 5; ++i) {
    scheduler
        .Spawn([&] {
          while (scheduler.metrics().stalls_computing + scheduler.metrics().stalls_blocked <= found) {
          }
          found = scheduler.metrics().stalls_computing + scheduler.metrics().stalls_blocked;
        })
        .Join();
  }
  EXPECT_GE(found, 5u);
  EXPECT_LT(reports_.size(), found);
}

TEST_P(MonitorTest, SleepsWhileNothingRunsAndWakesWhenSomethingDoes) {
  Scheduler scheduler(Options());
  Channel<int> channel;
  const Fiber parked = scheduler.Spawn([&] { channel.Receive(); });
  while (!scheduler.metrics().monitor_asleep) sched_yield();
  const uint64_t ticks = scheduler.metrics().monitor_ticks;
  channel.Close();
  parked.Join();
  while (scheduler.metrics().monitor_ticks == ticks) sched_yield();
}

INSTANTIATE_TEST_SUITE_P(Processors, MonitorTest, ::testing::Values(1, 2));

TEST(StallReportTest, IsOneLineThatNamesTheFiberAndEscapesWhatIsForeign) {
  StallReport report;
  report.kind = StallReport::Kind::kBlocked;
  report.fiber = {7};
  report.name = "re\nsize";
  report.duration = std::chrono::milliseconds(12);
  report.thread_id = 99;
  report.parent = {3};
  report.suppressed = 2;
  EXPECT_EQ(FormatStall(report),
            "fiber 7 \"re\\nsize\" has not let go of thread 99 for 12 ms: blocked in the kernel outside Blocking() in fiber 3; "
            "2 more not reported\n");
}

TEST(StallReportTest, WithoutAHandlerALineGoesToStandardError) {
  ::testing::internal::CaptureStderr();
  {
    Scheduler scheduler({.processors = 1, .stall_after = std::chrono::milliseconds(1)});
    scheduler
        .Spawn(
            [&] {
              while (scheduler.metrics().stalls_computing + scheduler.metrics().stalls_blocked == 0) {
              }
            },
            {.name = "greedy"})
        .Join();
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("\"greedy\" has not let go of thread"));
}

}  // namespace
}  // namespace fiberscope
