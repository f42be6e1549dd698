// The number of processors changes while fibers run: nothing is lost, neither queued fibers nor timers.
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using SetProcessorsTest = testing::RuntimeTest;

uint64_t InUse(const SchedulerMetrics& metrics) {
  uint64_t count = 0;
  for (const ProcessorMetrics& processor : metrics.processors) count += processor.state != ProcessorState::kRetired;
  return count;
}

TEST_P(SetProcessorsTest, AsManyFibersRunAtOnceAsThereAreProcessors) {
  for (const int processors : {4, 1, 3}) {
    scheduler().SetProcessors(processors);
    EXPECT_EQ(scheduler().processors(), processors);
    std::atomic<int> running{0};
    std::atomic<bool> leave{false};
    std::vector<Fiber> hogs;
    for (int i = 0; i < processors; ++i) {
      hogs.push_back(scheduler().Spawn([&] {
        ++running;
        while (!leave) {
        }
      }));
    }
    while (running < processors) sched_yield();
    while (InUse(scheduler().metrics()) != static_cast<uint64_t>(processors)) sched_yield();
    const Fiber late = scheduler().Spawn([] {});
    EXPECT_EQ(late.state(), FiberState::kRunnable);
    leave = true;
    late.Join();
    for (const Fiber& hog : hogs) hog.Join();
  }
}

TEST_P(SetProcessorsTest, SleepersAndQueuedFibersSurviveEveryChange) {
  constexpr int kFibers = 60;
  std::atomic<bool> stop{false};
  std::atomic<int> rounds{0};
  WaitGroup group;
  for (int f = 0; f < kFibers; ++f) {
    group.Add(1);
    scheduler().Spawn([&, f] {
      while (!stop) {
        if (f % 3 == 0) this_fiber::SleepFor(std::chrono::microseconds(f));
        if (f % 3 == 1) this_fiber::Yield();
        if (f % 3 == 2) Spawn([] {}).Join();
        ++rounds;
      }
      group.Done();
    });
  }
  for (int i = 0; i < 60; ++i) {
    scheduler().SetProcessors(1 + i * 7 % 5);
    const int before = rounds;
    while (rounds < before + kFibers) sched_yield();
  }
  stop = true;
  group.Wait();
}

TEST_P(SetProcessorsTest, ATimerOfARetiredProcessorStillFires) {
  scheduler().SetProcessors(8);
  WaitGroup group;
  for (int i = 0; i < 200; ++i) {
    group.Add(1);
    scheduler().Spawn([&] {
      this_fiber::SleepFor(std::chrono::milliseconds(2));
      group.Done();
    });
  }
  scheduler().SetProcessors(1);
  group.Wait();
  while (InUse(scheduler().metrics()) != 1) sched_yield();
}

TEST_P(SetProcessorsTest, AFiberMayChangeIt) {
  RunInFiber([&] {
    scheduler().SetProcessors(2);
    this_fiber::Yield();
    scheduler().SetProcessors(1);
    for (int i = 0; i < 200; ++i) this_fiber::Yield();
  });
  while (InUse(scheduler().metrics()) != 1) sched_yield();
}

TEST_P(SetProcessorsTest, NumbersOutOfRangeAreRefused) {
  EXPECT_THROW(scheduler().SetProcessors(-1), std::invalid_argument);
  EXPECT_THROW(scheduler().SetProcessors(129), std::invalid_argument);
  EXPECT_EQ(scheduler().processors(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Processors, SetProcessorsTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
