// Traces of real schedulers. That they hold together is for Go's reader to say (tests/conformance/trace_test.sh); here it is what
// they contain, and that taking them while everything moves does no harm.
#include "runtime/execution_trace.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/blocking.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"
#include "runtime/trace/trace_event.h"
#include "runtime/trace/trace_reason.h"
#include "runtime/trace/trace_writer.h"
#include "runtime/wait_reason.h"
#include "tests/testing/trace_events.h"

namespace fiberscope {
namespace {

using testing::DecodedEvent;

int64_t Count(const std::vector<DecodedEvent>& events, TraceEvent type) {
  return std::ranges::count(events, type, &DecodedEvent::type);
}

std::unique_ptr<ExecutionTrace> Start() {
  auto trace = ExecutionTrace::Start();
  EXPECT_TRUE(trace.ok()) << trace.status();
  return *std::move(trace);
}

TEST(ExecutionTraceTest, ShowsEverySpawnWaitAndEnd) {
  constexpr int kFibers = 50;
  Scheduler scheduler({.processors = 2});
  const auto trace = Start();
  scheduler.Spawn([] {
    std::vector<Fiber> fibers;
    for (int i = 0; i < kFibers; ++i) fibers.push_back(Spawn([] { this_fiber::SleepFor(std::chrono::milliseconds(1)); }));
    for (Fiber& each : fibers) each.Join();
  }).Join();
  scheduler.Stop();  // the last worker has written the last end
  const std::vector<DecodedEvent> events = testing::Decode(testing::Only(trace->Stop()));
  EXPECT_EQ(Count(events, TraceEvent::kFiberCreate), kFibers + 1);
  EXPECT_EQ(Count(events, TraceEvent::kFiberDestroy), kFibers + 1);
  const auto sleeps = [](const DecodedEvent& event) {
    return event.type == TraceEvent::kFiberBlock &&
           event.arguments[0] == kFirstWaitTraceReason + static_cast<uint64_t>(WaitReason::kSleep);
  };
  EXPECT_EQ(std::ranges::count_if(events, sleeps), kFibers);
  EXPECT_GE(Count(events, TraceEvent::kProcessorsChange), 1);
}

TEST(ExecutionTraceTest, TheFirstGenerationNamesFibersThatDoNothing) {
  constexpr size_t kFibers = 200;
  Scheduler scheduler({.processors = 1});
  Channel<int> channel;
  std::vector<Fiber> fibers;
  for (size_t i = 0; i < kFibers; ++i) fibers.push_back(scheduler.Spawn([&] { (void)channel.Receive(); }));
  scheduler.Spawn([] {}).Join();  // behind them in the queue: they wait now
  const auto trace = Start();
  std::set<uint64_t> waiting;
  const TraceGeneration generation = testing::Only(trace->Next());
  for (const TraceStatus& each : generation.statuses) {
    if (each.status == TraceFiberStatus::kWaiting) waiting.insert(each.fiber);
    EXPECT_NE(each.stack, 0u);
  }
  for (const Fiber& each : fibers) EXPECT_TRUE(waiting.contains(each.id().value));
  EXPECT_TRUE(testing::Only(trace->Next()).batches.empty());
  channel.Close();
  for (Fiber& each : fibers) each.Join();
}

TEST(ExecutionTraceTest, AFiberThatComputesAllTheWhileIsShownToRun) {
  Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  std::atomic<bool> runs{false};
  std::atomic<bool> stop{false};
  Fiber fiber = scheduler.Spawn([&] {
    runs.store(true);
    while (!stop.load()) {
    }
  });
  while (!runs.load()) std::this_thread::yield();
  const auto trace = Start();
  const std::vector<DecodedEvent> first = testing::Decode(testing::Only(trace->Next()));
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].type, TraceEvent::kProcessorStatus);
  EXPECT_EQ(first[1].type, TraceEvent::kFiberStatus);
  EXPECT_EQ(first[1].arguments,
            (std::vector<uint64_t>{fiber.id().value, first[1].thread, static_cast<uint64_t>(TraceFiberStatus::kRunning)}));
  stop.store(true);
  fiber.Join();
  scheduler.Stop();
  const std::vector<DecodedEvent> second = testing::Decode(testing::Only(trace->Stop()));
  EXPECT_EQ(Count(second, TraceEvent::kFiberDestroy), 1);
  EXPECT_EQ(Count(second, TraceEvent::kFiberStart), 0);
}

TEST(ExecutionTraceTest, ABlockingCallShowsItsBeginningAndEnd) {
  Scheduler scheduler({.processors = 1});
  const auto trace = Start();
  scheduler.Spawn([] {
    Blocking([] {});
    Blocking([] {}, {.expect_long = true});
  }).Join();
  scheduler.Stop();
  const std::vector<DecodedEvent> events = testing::Decode(testing::Only(trace->Stop()));
  EXPECT_EQ(Count(events, TraceEvent::kBlockingBegin), 2);
  EXPECT_EQ(Count(events, TraceEvent::kBlockingEnd) + Count(events, TraceEvent::kBlockingEndLost), 2);
}

// "begin order", "end order", "log item apple": what the program said, in the order in which one fiber said it.
std::vector<std::string> Annotations(const TraceGeneration& generation) {
  const auto text = [&](uint64_t number) -> std::string {
    for (const TraceString& each : generation.strings) {
      if (each.number == number) return each.text;
    }
    return number == 0 ? "" : "unknown";
  };
  std::vector<std::string> said;
  for (const DecodedEvent& each : testing::Decode(generation)) {
    switch (each.type) {
      case TraceEvent::kTaskBegin: said.push_back("task " + text(each.arguments[2])); break;
      case TraceEvent::kTaskEnd: said.push_back("task ends"); break;
      case TraceEvent::kRegionBegin: said.push_back("begin " + text(each.arguments[1])); break;
      case TraceEvent::kRegionEnd: said.push_back("end " + text(each.arguments[1])); break;
      case TraceEvent::kLog: said.push_back("log " + text(each.arguments[1]) + " " + text(each.arguments[2])); break;
      case TraceEvent::kFiberLabel: said.push_back("labels " + text(each.arguments[0])); break;
      default: break;
    }
  }
  return said;
}

// What `function` says on a fiber that is traced.
template <typename F>
std::vector<std::string> AnnotationsOf(F function) {
  Scheduler scheduler({.processors = 1});
  const auto trace = Start();
  scheduler.Spawn(function).Join();
  scheduler.Stop();
  return Annotations(testing::Only(trace->Stop()));
}

using Said = std::vector<std::string>;

TEST(TraceAnnotationsTest, TasksRegionsAndLogsNest) {
  EXPECT_EQ(AnnotationsOf([] {
              const TraceTask task("order");
              const TraceRegion outer("outer");
              {
                const TraceRegion inner("inner");
                TraceLog("item", "apple");
              }
              TraceLog("", "");
            }),
            (Said{"task order", "begin outer", "begin inner", "log item apple", "end inner", "log  ", "end outer", "task ends"}));
}

TEST(TraceAnnotationsTest, ATaskIsOfTheFibersThatAreSpawnedInItAndParentOfTasksWithin) {
  uint64_t outer_id = 0;
  Scheduler scheduler({.processors = 1});
  const auto trace = Start();
  scheduler.Spawn([&] {
    const TraceTask outer("outer");
    outer_id = outer.id();
    Spawn([] {
      const TraceTask inner("inner");
      TraceLog("key", "value");
    }).Join();
    Spawn([] { const TraceRegion region("region"); }).Join();
  }).Join();
  scheduler.Spawn([] { const TraceRegion region("of no task"); }).Join();
  scheduler.Stop();
  uint64_t inner_id = 0;
  std::vector<uint64_t> tasks_of_regions;
  for (const DecodedEvent& each : testing::Decode(testing::Only(trace->Stop()))) {
    if (each.type == TraceEvent::kTaskBegin && each.arguments[1] != 0) {
      inner_id = each.arguments[0];
      EXPECT_EQ(each.arguments[1], outer_id);
    }
    if (each.type == TraceEvent::kLog) {
      EXPECT_EQ(each.arguments[0], inner_id);
    }
    if (each.type == TraceEvent::kRegionBegin) tasks_of_regions.push_back(each.arguments[0]);
  }
  EXPECT_NE(inner_id, 0u);
  EXPECT_EQ(tasks_of_regions, (std::vector<uint64_t>{outer_id, 0}));
}

TEST(TraceAnnotationsTest, ARegionThatEndsOutOfOrderTakesThoseWithinAlongAndIsCounted) {
  const uint64_t misused = MisusedTraceRegions();
  EXPECT_EQ(AnnotationsOf([] {
              auto outer = std::make_optional<TraceRegion>("outer");
              auto inner = std::make_optional<TraceRegion>("inner");
              outer.reset();
              inner.reset();
              const TraceRegion next("next");
            }),
            (Said{"begin outer", "begin inner", "end inner", "end outer", "begin next", "end next"}));
  EXPECT_EQ(MisusedTraceRegions(), misused + 2);
}

TEST(TraceAnnotationsTest, AnEndOnAnotherFiberIsLeftOutAndCounted) {
  const uint64_t misused = MisusedTraceRegions();
  EXPECT_EQ(AnnotationsOf([] {
              std::optional<TraceRegion> region;
              Spawn([&] { region.emplace("region"); }).Join();
              region.reset();
            }),
            (Said{"begin region"}));
  EXPECT_EQ(MisusedTraceRegions(), misused + 1);
}

TEST(TraceAnnotationsTest, WhatBeganBeforeTheTraceOrInAnotherOneDoesNotEndInIt) {
  Scheduler scheduler({.processors = 1});
  Channel<int> go_on;
  Channel<int> there;
  Fiber fiber = scheduler.Spawn([&] {
    const TraceRegion untraced("untraced");
    there.Send(1);
    (void)go_on.Receive();
    std::optional<TraceTask> task("first");
    std::optional<TraceRegion> region("first");
    there.Send(1);
    (void)go_on.Receive();
    region.reset();
    task.reset();
    const TraceRegion second("second");
  });
  (void)there.Receive();
  auto trace = Start();
  go_on.Send(1);
  (void)there.Receive();
  EXPECT_EQ(Annotations(testing::Only(trace->Stop())), (Said{"task first", "begin first"}));
  trace = Start();
  go_on.Send(1);
  fiber.Join();
  scheduler.Stop();
  EXPECT_EQ(Annotations(testing::Only(trace->Stop())), (Said{"begin second", "end second"}));
}

TEST(TraceAnnotationsTest, NothingHappensOnThreadsAndWithinBlockingCalls) {
  EXPECT_EQ(AnnotationsOf([] {
              Blocking([] {
                const TraceTask task("task");
                const TraceRegion region("region");
                TraceLog("key", "value");
                EXPECT_EQ(task.id(), 0u);
              });
            }),
            Said{});
  const auto trace = Start();
  const TraceTask task("task");
  const TraceRegion region("region");
  TraceLog("key", "value");
  EXPECT_TRUE(testing::Only(trace->Stop()).batches.empty());
}

TEST(TraceAnnotationsTest, LongTextsAreCutBetweenCharacters) {
  const std::string text(1023, 'x');
  EXPECT_EQ(AnnotationsOf([&] { TraceLog("key", text + "\xc3\xa4" + "and more"); }), (Said{"log key " + text}));
  EXPECT_EQ(AnnotationsOf([&] { TraceLog("key", text + "y" + "and more"); }), (Said{"log key " + text + "y"}));
}

TEST(TraceAnnotationsTest, LabelsAreShownWhenTheyAreSetAndOnceInEachGeneration) {
  EXPECT_EQ(AnnotationsOf([] {
              this_fiber::SetLabels({{"route", "/order"}, {"tenant", "7"}});
              this_fiber::SleepFor(std::chrono::microseconds(1));
              this_fiber::SleepFor(std::chrono::microseconds(1));
              this_fiber::SetLabels({});
            }),
            (Said{"labels route=/order, tenant=7", "labels "}));
  Scheduler scheduler({.processors = 1});
  Channel<int> channel;
  const auto labels = Labels{{"route", "/order"}};
  Fiber fiber = scheduler.Spawn([&] {
    while (channel.Receive()) {
    }
  }, {.labels = labels});
  const auto trace = Start();
  channel.Send(1);
  channel.Send(2);
  scheduler.Spawn([] {}).Join();  // behind it: it waits now
  const TraceGeneration first = testing::Only(trace->Next());
  channel.Close();
  fiber.Join();
  scheduler.Stop();
  EXPECT_EQ(Annotations(testing::Only(trace->Stop())), (Said{"labels route=/order"}));
  EXPECT_LE(Annotations(first).size(), 1u);
}

TEST(ExecutionTraceTest, ThreadsThatHaveEndedLeaveNothingBehind) {
  for (int i = 0; i < 50; ++i) Scheduler scheduler({.processors = 2});
  const size_t before = internal::TraceThread::count();
  for (int i = 0; i < 50; ++i) Scheduler scheduler({.processors = 2});
  EXPECT_LE(internal::TraceThread::count(), before + 4);
  Start()->Stop();
  EXPECT_LE(internal::TraceThread::count(), before);
}

TEST(ExecutionTraceTest, OneAtATime) {
  const auto trace = Start();
  const auto second = ExecutionTrace::Start();
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(second.status().message(), "tracing is already enabled");
}

TEST(ExecutionTraceTest, BeginsAndEndsUnderLoad) {
  constexpr int kTraces = 200;
  Scheduler scheduler({.processors = 2, .run_queue_slots = 4});
  std::atomic<bool> stop{false};
  Channel<int> ring[2] = {Channel<int>(0), Channel<int>(2)};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 2; ++i) {
    fibers.push_back(scheduler.Spawn([&ring, i] {
      while (const auto value = ring[i].Receive()) {
        if (!ring[1 - i].Send(*value)) return;
      }
    }));
    fibers.push_back(scheduler.Spawn([&stop] {
      while (!stop.load()) Spawn([] { Blocking([] {}); }).Join();
    }));
  }
  ring[0].Send(1);
  std::thread foreign([&] {
    while (!stop.load()) scheduler.Spawn([] { this_fiber::Yield(); }).Join();
  });
  size_t events = 0;
  for (int i = 0; i < kTraces; ++i) {
    const auto trace = Start();
    scheduler.SetProcessors(1 + i % 3);
    for (int j = i % 3; j > 0; --j) events += testing::Decode(testing::Only(trace->Next())).size();
    events += testing::Decode(testing::Only(trace->Stop())).size();
  }
  EXPECT_GT(events, 0u);
  stop.store(true);
  foreign.join();
  for (Channel<int>& each : ring) each.Close();
  for (Fiber& each : fibers) each.Join();
}

}  // namespace
}  // namespace fiberscope
