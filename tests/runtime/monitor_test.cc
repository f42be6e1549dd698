#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "runtime/scheduler.h"
#include "runtime/stall_report.h"
#include "runtime/sync/channel.h"
#include "runtime/this_fiber.h"

namespace fiberscope {
namespace {

using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;

__attribute__((noinline, noipa)) void ComputeUntil(const std::atomic<bool>& leave) {
  while (!leave) {
  }
}

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
  EXPECT_EQ(report.no_stack, "");
  EXPECT_EQ(report.stack_end, UnwindEnd::kRoot);
  EXPECT_THAT(FormatStall(report), HasSubstr("read"));
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
  HogEveryProcessor(scheduler, [&leave] { ComputeUntil(leave); });
  EXPECT_EQ(reports_.WaitForFirst().kind, StallReport::Kind::kComputing);
  scheduler.Spawn([] { this_fiber::SleepFor(std::chrono::microseconds(10)); }).Join();
  EXPECT_GE(scheduler.metrics().stalls_computing, 1u);
  leave = true;
  for (const Fiber& hog : hogs_) hog.Join();
}

// ThreadSanitizer holds the signal back while the fiber computes.
#ifndef FIBERSCOPE_TSAN
TEST_P(MonitorTest, TheReportShowsWhereTheFiberComputes) {
  Scheduler scheduler(Options());
  std::atomic<bool> leave{false};
  HogEveryProcessor(scheduler, [&leave] {
    ComputeUntil(leave);
    asm volatile("");  // not a tail call
  });
  const StallReport report = reports_.WaitForFirst();
  leave = true;
  for (const Fiber& hog : hogs_) hog.Join();
  // A thread that gets no CPU within 10 ms says nothing; then the report says so.
  if (report.stack.empty()) {
    EXPECT_THAT(report.no_stack, HasSubstr("did not answer"));
    return;
  }
  EXPECT_EQ(report.no_stack, "");
  EXPECT_EQ(report.stack_end, UnwindEnd::kRoot);
  const std::string text = FormatStall(report);
  EXPECT_THAT(text, HasSubstr("    fiberscope::(anonymous namespace)::ComputeUntil() (0x"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("FiberMain")));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("RunEntry")));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("fiberscope_fiber_entry")));
  // Outermost is the fiber's function.
  EXPECT_THAT(text, EndsWith(absl::StrFormat("(0x%x)\n", report.stack[1]))) << text;
  EXPECT_THAT(text, ContainsRegex("    .*HogEveryProcessor.*lambda.*\\(0x[0-9a-f]+\\)\n$")) << text;
}
#endif

TEST_P(MonitorTest, ASleepIsNotCutShortByTheReportThatShowsIt) {
  Scheduler scheduler(Options());
  std::atomic<int> error{-1};
  // Its result is in whole seconds: 0 even when it was cut short. errno tells.
  const auto sleep_for_a_second = [&error] {
    errno = 0;
    sleep(1);
    error = errno;
  };
  scheduler.Spawn(sleep_for_a_second, {.name = "sleeper"}).Join();
  EXPECT_EQ(error, 0);
  const StallReport report = reports_.WaitForFirst();
  EXPECT_EQ(report.kind, StallReport::Kind::kBlocked);
  EXPECT_EQ(report.stack_end, UnwindEnd::kRoot);
  EXPECT_THAT(FormatStall(report), HasSubstr("    sleep (0x"));
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

TEST(StallReportTest, TheStackIsALinePerFrameAndEndsWithWhatIsMissing) {
  absl::InitializeSymbolizer("");
  StallReport report;
  report.fiber = {7};
  // An exact pc, then a return address: of the call before it.
  const auto function = reinterpret_cast<uintptr_t>(&ComputeUntil);
  report.stack = {function, function + 1};
  const std::string frames = absl::StrFormat("    fiberscope::(anonymous namespace)::ComputeUntil() (0x%x)\n"
                                             "    fiberscope::(anonymous namespace)::ComputeUntil() (0x%x)\n",
                                             function, function + 1);
  EXPECT_THAT(FormatStall(report), EndsWith("a yield\n" + frames));
  const std::pair<UnwindEnd, const char*> ends[] = {{UnwindEnd::kBufferFull, "too deep to show all"},
                                                    {UnwindEnd::kNoRule, "no unwind information"},
                                                    {UnwindEnd::kBadFrame, "corrupt"},
                                                    {UnwindEnd::kUnknownRegister, "registers unknown in a system call"}};
  for (const auto& [end, text] : ends) {
    report.stack_end = end;
    EXPECT_THAT(FormatStall(report), EndsWith(absl::StrFormat("a yield\n%s    ... (%s)\n", frames, text)));
  }
  report.stack.clear();
  report.no_stack = "the thread has ended";
  EXPECT_THAT(FormatStall(report), EndsWith("a yield\n    no stack: the thread has ended\n"));
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
