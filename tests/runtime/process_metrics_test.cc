#include "runtime/process_metrics.h"

#include <sched.h>

#include <string>
#include <thread>
#include <vector>

#include "runtime/scheduler.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ProcessMetricsTest = testing::RuntimeTest;

const NamedMetrics* Named(const ProcessMetrics& all, const std::string& name) {
  for (const NamedMetrics& each : all.schedulers) {
    if (each.name == name) return &each;
  }
  return nullptr;
}

void RunFibers(Scheduler& scheduler, int count) {
  for (int i = 0; i < count; ++i) scheduler.Spawn([] {}).Join();
}

TEST_P(ProcessMetricsTest, ListsSchedulersWhileTheyAreAlive) {
  EXPECT_EQ(Named(ReadProcessMetrics(), "first"), nullptr);
  {
    Scheduler first({.processors = GetParam(), .name = "first"});
    Scheduler second({.processors = 2, .name = "second"});
    RunFibers(first, 3);
    // The last one may be joined before it is counted.
    while (first.metrics().finished < 3) sched_yield();
    const ProcessMetrics all = ReadProcessMetrics();
    ASSERT_EQ(all.schedulers.size(), 2u);
    EXPECT_EQ(all.schedulers[0].name, "first");
    EXPECT_EQ(all.schedulers[1].name, "second");
    EXPECT_EQ(all.schedulers[0].processors, static_cast<uint32_t>(GetParam()));
    EXPECT_EQ(all.schedulers[0].metrics.finished, 3u);
    EXPECT_EQ(all.schedulers[1].metrics.finished, 0u);
    EXPECT_GE(all.totals.workers, static_cast<uint64_t>(GetParam() + 2));  // the monitor may have asked for more
  }
  EXPECT_TRUE(ReadProcessMetrics().schedulers.empty());
  EXPECT_EQ(ReadProcessMetrics().totals.workers, 0u);
}

TEST_P(ProcessMetricsTest, TotalsKeepWhatEndedSchedulersCounted) {
  const uint64_t before = ReadProcessMetrics().totals.spawned;
  {
    Scheduler ended({.processors = GetParam()});
    RunFibers(ended, 5);
  }
  const SchedulerMetrics after = ReadProcessMetrics().totals;
  EXPECT_EQ(after.spawned, before + 5);
  EXPECT_EQ(after.finished, after.spawned);
  EXPECT_GE(after.switches, after.finished);
  EXPECT_EQ(after.queued, 0u);
}

TEST_P(ProcessMetricsTest, KnowsTheStacks) {
  RunFibers(scheduler(), 1);
  const StackMetrics stacks = ReadProcessMetrics().stacks;
  EXPECT_GE(stacks.ready, 1u);
  EXPECT_GE(stacks.ready_bytes, 64u << 10);
  EXPECT_FALSE(stacks.guards.empty());
  EXPECT_EQ(stacks.guards == "none", stacks.unguarded == stacks.ready);
}

// Goal: whoever reads never sees a scheduler that is half made or half gone, and no total goes down.
TEST_P(ProcessMetricsTest, IsReadWhileSchedulersComeAndGo) {
  std::jthread others([processors = GetParam()](std::stop_token stop) {
    while (!stop.stop_requested()) {
      Scheduler brief({.processors = processors});
      RunFibers(brief, 2);
    }
  });
  uint64_t finished = 0;
  const uint64_t first = ReadProcessMetrics().totals.finished;
  while (finished < first + 40) {
    const uint64_t now = ReadProcessMetrics().totals.finished;
    EXPECT_GE(now, finished);
    finished = now;
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, ProcessMetricsTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
