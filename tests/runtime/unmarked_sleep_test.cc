// What a user sees who forgets Blocking(): every processor is stuck in ::sleep(1), all other fibers go on, and the
// report names the culprit. (As a line on standard error: tests/conformance/stall_test.)
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "runtime/scheduler.h"
#include "runtime/stall_report.h"
#include "runtime/this_fiber.h"

namespace fiberscope {
namespace {

using ::testing::HasSubstr;

class UnmarkedSleepTest : public ::testing::TestWithParam<int> {};

TEST_P(UnmarkedSleepTest, KeepsNobodyElseFromRunningAndIsReportedByName) {
  std::string report;  // written before `reported` is set
  std::atomic<bool> reported{false};
  // All other options as they come. On a busy machine others may be reported, too, and a sleeper before it sleeps.
  Scheduler scheduler({.processors = GetParam(), .on_stall = [&](const StallReport& stall) {
                         if (stall.name != "sleeper" || stall.kind != StallReport::Kind::kBlocked || reported) return;
                         report = FormatStall(stall);
                         reported = true;
                       }});
  std::atomic<uint64_t> laps{0};
  std::atomic<int> arrived{0};
  std::atomic<bool> done{false};
  const Fiber runner = scheduler.Spawn([&] {
    for (; !done; ++laps) this_fiber::SleepFor(std::chrono::microseconds(100));
  });
  for (int i = 0; i < GetParam(); ++i) {
    scheduler.Spawn(
        [&] {
          // All but the last keep their processors, from before the last one's first sleep to after its last.
          if (++arrived < GetParam()) {
            while (!done) ::sleep(1);
            return;
          }
          while (!reported) {
            const uint64_t before = laps;
            ::sleep(1);
            EXPECT_GT(laps, before);
            this_fiber::SleepFor(std::chrono::milliseconds(1));
          }
          done = true;
        },
        {.name = "sleeper"});
  }
  runner.Join();
  EXPECT_THAT(report, HasSubstr("\"sleeper\" has not let go of thread "));
  EXPECT_THAT(report, HasSubstr(": blocked in the kernel outside Blocking(); entry "));
  EXPECT_THAT(report, HasSubstr("UnmarkedSleepTest"));  // it is this test's function
}

INSTANTIATE_TEST_SUITE_P(Processors, UnmarkedSleepTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
