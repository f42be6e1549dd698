#include "pprof/trace/trace_timeline.h"

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/trace_builder.h"

namespace fiberscope::pprof {
namespace {

using ::fiberscope::testing::TraceBuilder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using enum TraceEvent;

// Statuses of processors (P) and fibers (F).
enum : uint64_t { kPRunning = 1, kPIdle = 2, kPBlocking = 3, kPAbandoned = 4 };
enum : uint64_t { kFRunnable = 1, kFRunning = 2, kFBlocking = 3, kFWaiting = 4 };

absl::StatusOr<TraceTimeline> Make(const std::vector<TraceBuilder>& builders) {
  std::vector<std::shared_ptr<const TraceGeneration>> generations;
  for (const TraceBuilder& builder : builders) generations.push_back(builder.Build());
  return TraceTimeline::Make(generations);
}

std::vector<TraceEvent> Types(const TraceTimeline& timeline) {
  std::vector<TraceEvent> types;
  for (const TimelineEvent& event : timeline.events()) types.push_back(event.type);
  return types;
}

// Thread 7 has processor 0, on which fiber 1 runs.
TraceBuilder Running(uint64_t number = 1) {
  TraceBuilder trace(number);
  trace.On(7).Add(kProcessorStatus, 0, kPRunning).Add(kFiberStatus, 1, 7, kFRunning);
  return trace;
}

TEST(TraceTimelineTest, EventsSayWhoseTheyAre) {
  TraceBuilder trace = Running();
  trace.Add(kFiberCreate, 2, 0, 0).Add(kFiberBlock, 0, 0).Add(kFiberStart, 2, 1).Add(kFiberDestroy).Add(kProcessorStop);

  const auto timeline = Make({trace});

  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_THAT(
      timeline->events(),
      ElementsAre(TimelineEvent{0, kProcessorStatus, 7, 0, 0, {0, kPRunning}, 0},
                  TimelineEvent{10, kFiberStatus, 7, 0, 1, {1, 7, kFRunning}, 0},
                  TimelineEvent{20, kFiberCreate, 7, 0, 1, {2}, 0}, TimelineEvent{30, kFiberBlock, 7, 0, 1, {}, 0},
                  TimelineEvent{40, kFiberStart, 7, 0, 2, {2, 1}, 0}, TimelineEvent{50, kFiberDestroy, 7, 0, 2, {}, 0},
                  TimelineEvent{60, kProcessorStop, 7, 0, 0, {}, 0}));
  EXPECT_EQ(timeline->end_ns(), 60);
}

TEST(TraceTimelineTest, AnUnblockStampedBeforeItsBlockComesAfterIt) {
  TraceBuilder trace = Running();
  trace.On(8).At(1015).Add(kFiberUnblock, 1, 1, 0);
  trace.On(7).At(1040).Add(kFiberBlock, 0, 0).Add(kFiberStart, 1, 2);

  const auto timeline = Make({trace});

  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_THAT(Types(*timeline), ElementsAre(kProcessorStatus, kFiberStatus, kFiberBlock, kFiberUnblock, kFiberStart));
  EXPECT_EQ(timeline->events()[3].time_ns, 30) << "not before the block";
  EXPECT_EQ(timeline->events()[3].processor, kNoTraceProcessor);
  EXPECT_EQ(timeline->events()[3].fiber, 0);
}

TEST(TraceTimelineTest, SequenceNumbersOrderWhatClocksDoNot) {
  TraceBuilder trace = Running();
  trace.Add(kFiberBlock, 0, 0);
  trace.On(9).Add(kProcessorStatus, 1, kPRunning).At(1050).Add(kFiberStart, 1, 4).Add(kFiberDestroy);
  trace.On(7).At(1100).Add(kFiberStart, 1, 2).Add(kFiberBlock, 0, 0);
  trace.On(8).At(1060).Add(kFiberUnblock, 1, 1, 0).At(1070).Add(kFiberUnblock, 1, 3, 0);

  const auto timeline = Make({trace});

  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_THAT(Types(*timeline),
              ElementsAre(kProcessorStatus, kFiberStatus, kFiberBlock, kProcessorStatus, kFiberUnblock, kFiberStart,
                          kFiberBlock, kFiberUnblock, kFiberStart, kFiberDestroy));
}

TEST(TraceTimelineTest, ABlockingCallLosesItsProcessorToAThief) {
  TraceBuilder trace = Running();
  trace.Add(kBlockingBegin, 1, 0);
  trace.On(8).Add(kProcessorSteal, 0, 2, 7).Add(kProcessorStart, 0, 3);
  trace.On(7).At(1045).Add(kBlockingEndLost);
  trace.On(8).At(1080).Add(kFiberStart, 1, 1);

  const auto timeline = Make({trace});

  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_THAT(Types(*timeline), ElementsAre(kProcessorStatus, kFiberStatus, kBlockingBegin, kProcessorSteal,
                                            kBlockingEndLost, kProcessorStart, kFiberStart));
  EXPECT_EQ(timeline->events()[3].processor, 0);
  EXPECT_EQ(timeline->events()[6].thread, 8);
}

TEST(TraceTimelineTest, StatusesOfLaterGenerationsAreCheckedAndLeftOut) {
  TraceBuilder first = Running();
  const uint64_t sleep = first.String("sleep");
  first.Add(kFiberBlock, sleep, first.Stack({1, 2}));
  TraceBuilder second(2);
  const uint64_t wakeup = second.Stack({3});
  second.On(kNoTraceThread).Add(kFiberStatus, 1, kNoTraceThread, kFWaiting);
  second.On(7).Add(kProcessorStatus, 0, kPRunning).Add(kFiberUnblock, 1, 1, wakeup);
  second.On(9).Add(kProcessorStatus, 5, kPIdle);

  const auto timeline = Make({first, second});

  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_THAT(Types(*timeline),
              ElementsAre(kProcessorStatus, kFiberStatus, kFiberBlock, kFiberUnblock, kProcessorStatus));
  EXPECT_EQ(timeline->Text(0, timeline->events()[2].args[0]), "sleep");
  EXPECT_THAT(timeline->Stack(0, 1), ElementsAre(1, 2));
  EXPECT_THAT(timeline->Stack(timeline->events()[3].generation, wakeup), ElementsAre(3));
  EXPECT_THAT(timeline->Stack(1, 0), ElementsAre());
}

TEST(TraceTimelineTest, BatchesOfAThreadContinueEachOther) {
  TraceBuilder trace = Running();
  trace.Add(kFiberStop, 0, 0).NewBatches().Add(kFiberStart, 1, 1);
  const auto timeline = Make({trace});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_EQ(timeline->end_ns(), 30);
}

TEST(TraceTimelineTest, SamplesAreInOrderOfTime) {
  TraceBuilder trace = Running();
  trace.generation().samples = {{1500, 7, 0, 1, trace.Stack({1})}, {1200, 7}, {5, 7}};
  const auto timeline = Make({trace});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  // The first event's time is 1010.
  EXPECT_THAT(timeline->samples(),
              ElementsAre(TimelineSample{0, 7}, TimelineSample{190, 7}, TimelineSample{490, 7, 0, 1, 1}));
  EXPECT_EQ(timeline->end_ns(), 490);
}

TEST(TraceTimelineTest, TimeIsInNanosecondsWhateverTheClock) {
  TraceBuilder trace = Running();
  trace.generation().ticks_per_second = 15'625'000;
  const auto timeline = Make({trace});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_EQ(timeline->end_ns(), 640);
}

TEST(TraceTimelineTest, OfNothingThereIsNoTimeline) {
  EXPECT_EQ(Make({}).status().message(), "a trace of no generation");
  const auto empty = Make({TraceBuilder()});
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_TRUE(empty->events().empty());
  EXPECT_EQ(empty->end_ns(), 0);
}

TEST(TraceTimelineTest, GenerationsWithoutEventsAreAllowed) {
  const auto timeline = Make({TraceBuilder(1), Running(2), TraceBuilder(3)});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_EQ(timeline->events()[0].generation, 1);
}

struct Violation {
  const char* name;
  std::function<void(TraceBuilder&)> add;  // to Running(), in thread 7
  const char* error;
};

class TraceTimelineRules : public ::testing::TestWithParam<Violation> {};

TEST_P(TraceTimelineRules, AreChecked) {
  TraceBuilder trace = Running();
  GetParam().add(trace);
  const auto timeline = Make({trace});
  ASSERT_FALSE(timeline.ok());
  EXPECT_EQ(timeline.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(timeline.status().message()), HasSubstr(GetParam().error));
}

const Violation kViolations[] = {
    {"NoSuchEvent", [](TraceBuilder& t) { t.Bytes("\x1a"); },
     "generation 1, thread 7, event 2 (?): no event has the number 26"},
    {"EndsInTime", [](TraceBuilder& t) { t.Bytes("\x11\x80"); }, "event 2 (FiberDestroy): it ends within its time"},
    {"EndsInArguments", [](TraceBuilder& t) { t.Bytes(std::string("\x10\0\x01", 3)); },
     "event 2 (FiberStart): it ends within its arguments"},
    {"LongVarint", [](TraceBuilder& t) { t.Bytes("\x11" + std::string(10, '\xff')); }, "it ends within its time"},
    {"TimeOverflows", [](TraceBuilder& t) { t.Bytes("\x11" + std::string(9, '\xff') + "\x01"); },
     "its time is after the end of time"},
    {"TimeIsFar", [](TraceBuilder& t) { t.Bytes("\x11" + std::string(8, '\xff') + "\x7f"); },
     "more than a hundred years"},
    {"BatchTooLong", [](TraceBuilder& t) { t.Bytes(std::string(TraceBatch::kMaxBytes, '\0')); }, "a batch of"},
    {"BatchTooEarly", [](TraceBuilder& t) { t.generation().start = 2000; }, "a batch from before the generation"},
    {"NoNumber", [](TraceBuilder& t) { t.generation().number = 0; }, "counted from 1"},
    {"NoClock", [](TraceBuilder& t) { t.generation().ticks_per_second = 0; }, "a clock without ticks"},
    {"StringTwice",
     [](TraceBuilder& t) {
       t.generation().strings = {{103, "a"}, {103, "b"}};
     },
     "string 103"},
    {"StringOfAReason",
     [](TraceBuilder& t) {
       t.generation().strings = {{99, "a"}};
     },
     "string 99"},
    {"StringTooLong", [](TraceBuilder& t) { t.String(std::string(1025, 'x')); }, "string 100 is too long"},
    {"StackTwice",
     [](TraceBuilder& t) {
       t.generation().stacks = {{3, {1}}, {3, {1}}};
     },
     "stack 3"},
    {"StackTooDeep", [](TraceBuilder& t) { t.Stack(std::vector<uintptr_t>(129, 1)); }, "stack 1 is too deep"},
    {"UnknownString", [](TraceBuilder& t) { t.Add(kFiberBlock, 105, 0); }, "(FiberBlock): there is no string 105"},
    {"UnknownStack", [](TraceBuilder& t) { t.Add(kFiberBlock, 0, 5); }, "there is no stack 5"},
    {"UnknownEntryStack", [](TraceBuilder& t) { t.Add(kFiberCreate, 2, 5, 0); }, "there is no stack 5"},
    {"UnknownSampleStack",
     [](TraceBuilder& t) {
       t.generation().samples = {{1100, 7, 0, 1, 5}};
     },
     "there is no stack 5"},
    {"ProcessorStatusUnknown", [](TraceBuilder& t) { t.Add(kProcessorStatus, 1, 5); }, "processors have no status 5"},
    {"ProcessorNamedTwice", [](TraceBuilder& t) { t.Add(kProcessorStatus, 0, kPRunning); },
     "named in this generation already"},
    {"ProcessorOfNobody", [](TraceBuilder& t) { t.On(kNoTraceThread).Add(kProcessorStatus, 1, kPRunning); },
     "nobody's thread"},
    {"TwoProcessors", [](TraceBuilder& t) { t.Add(kProcessorStatus, 1, kPRunning); },
     "the thread has another processor"},
    {"StartUnnamed", [](TraceBuilder& t) { t.On(8).Add(kProcessorStart, 1, 1); },
     "thread 8, event 0 (ProcessorStart): the processor was not"},
    {"StartRunning", [](TraceBuilder& t) { t.On(8).Add(kProcessorStart, 0, 1); },
     "the processor is not idle, and no other thread"},
    {"StartSkips", [](TraceBuilder& t) { t.On(8).Add(kProcessorStatus, 1, kPIdle).Add(kProcessorStart, 1, 2); },
     "the processor's next one"},
    {"StartSecond", [](TraceBuilder& t) { t.Add(kProcessorStatus, 1, kPIdle).Add(kProcessorStart, 1, 1); },
     "the thread has a processor"},
    {"StopWithout", [](TraceBuilder& t) { t.On(8).Add(kProcessorStop); }, "the thread has no processor"},
    {"StopUnderFiber", [](TraceBuilder& t) { t.Add(kProcessorStop); }, "a fiber runs on the processor"},
    {"StealRunning", [](TraceBuilder& t) { t.On(8).Add(kProcessorSteal, 0, 1, 7); },
     "the processor is not in a blocking call"},
    {"StealSkips", [](TraceBuilder& t) { t.Add(kBlockingBegin, 1, 0).On(8).Add(kProcessorSteal, 0, 3, 7); },
     "the processor's next one"},
    {"StealElsewhere", [](TraceBuilder& t) { t.Add(kBlockingBegin, 1, 0).On(8).Add(kProcessorSteal, 0, 2, 8); },
     "thread 8 does not have"},
    {"FiberZero", [](TraceBuilder& t) { t.Add(kFiberCreate, 0, 0, 0); }, "counted from 1"},
    {"FiberStatusUnknown", [](TraceBuilder& t) { t.Add(kFiberStatus, 2, 7, 9); }, "fibers have no status 9"},
    {"FiberNamedTwice", [](TraceBuilder& t) { t.Add(kFiberStatus, 1, 7, kFRunning); },
     "named in this generation already"},
    {"TwoFibers", [](TraceBuilder& t) { t.Add(kFiberStatus, 2, 7, kFRunning); }, "the thread has another fiber"},
    {"RunsWithoutThread", [](TraceBuilder& t) { t.Add(kFiberStatus, 2, kNoTraceThread, kFRunning); },
     "a fiber has a thread if it runs"},
    {"RunsWithoutProcessor", [](TraceBuilder& t) { t.On(8).Add(kFiberStatus, 2, 8, kFRunning); },
     "the thread has no processor"},
    {"RunsOnOthersWord", [](TraceBuilder& t) { t.On(8).Add(kFiberStatus, 2, 7, kFRunning); },
     "named by its own thread"},
    {"BlocksOnAnothers", [](TraceBuilder& t) { t.On(8).Add(kFiberStatus, 2, 7, kFBlocking); },
     "thread 7 is known without the fiber"},
    {"CreatedTwice", [](TraceBuilder& t) { t.Add(kFiberCreate, 1, 0, 0); }, "fiber 1 is there already"},
    {"CreatedWithoutProcessor", [](TraceBuilder& t) { t.On(8).Add(kFiberCreate, 2, 0, 0); },
     "the thread has no processor"},
    {"CreatedBlockingTwice", [](TraceBuilder& t) { t.On(8).Add(kFiberCreateBlocking, 1); }, "fiber 1 is there already"},
    {"CreatedBlockingOnAnother", [](TraceBuilder& t) { t.Add(kFiberCreateBlocking, 2); }, "the thread has fiber 1"},
    {"StartsUnnamed", [](TraceBuilder& t) { t.Add(kFiberStart, 2, 1); }, "the fiber was not named yet"},
    {"StartsRunning", [](TraceBuilder& t) { t.Add(kFiberStart, 1, 1); }, "the fiber is not runnable"},
    {"StartsSkipping", [](TraceBuilder& t) { t.Add(kFiberStop, 0, 0).Add(kFiberStart, 1, 2); }, "the fiber's next one"},
    {"StartsOverAnother", [](TraceBuilder& t) { t.Add(kFiberCreate, 2, 0, 0).Add(kFiberStart, 2, 1); },
     "the thread has fiber 1"},
    {"StartsNowhere", [](TraceBuilder& t) { t.Add(kFiberStop, 0, 0).On(8).Add(kFiberStart, 1, 1); },
     "the thread has no processor"},
    {"UnblocksUnnamed", [](TraceBuilder& t) { t.Add(kFiberUnblock, 2, 1, 0); }, "the fiber was not named yet"},
    {"UnblocksRunning", [](TraceBuilder& t) { t.On(8).Add(kFiberUnblock, 1, 1, 0); }, "the fiber is not waiting"},
    {"UnblocksTwice",
     [](TraceBuilder& t) { t.Add(kFiberBlock, 0, 0).On(8).Add(kFiberUnblock, 1, 1, 0).Add(kFiberUnblock, 1, 2, 0); },
     "thread 8, event 1 (FiberUnblock): the fiber is not waiting, and no other thread"},
    {"UnblocksSkipping", [](TraceBuilder& t) { t.Add(kFiberBlock, 0, 0).Add(kFiberUnblock, 1, 2, 0); },
     "the fiber's next one"},
    {"BlocksNobody", [](TraceBuilder& t) { t.Add(kFiberBlock, 0, 0).Add(kFiberBlock, 0, 0); },
     "event 3 (FiberBlock): the thread has no fiber"},
    {"EndsInCall", [](TraceBuilder& t) { t.Add(kBlockingBegin, 1, 0).Add(kFiberDestroy); },
     "processor has status 3 instead of 1"},
    {"EndsInCallOutside", [](TraceBuilder& t) { t.Add(kFiberDestroyBlocking); }, "fiber has status 2 instead of 3"},
    {"CallSkips", [](TraceBuilder& t) { t.Add(kBlockingBegin, 2, 0); }, "the processor's next one, 1, but 2"},
    {"CallInCall", [](TraceBuilder& t) { t.Add(kBlockingBegin, 1, 0).Add(kBlockingBegin, 2, 0); },
     "processor has status 3 instead of 1"},
    {"CallEndsOutside", [](TraceBuilder& t) { t.Add(kBlockingEnd); }, "processor has status 1 instead of 3"},
    {"CallEndsAfterLoss", [](TraceBuilder& t) { t.Add(kBlockingBegin, 1, 0).Add(kProcessorStop).Add(kBlockingEnd); },
     "no processor"},
    {"LostWhatItHas", [](TraceBuilder& t) { t.Add(kBlockingBegin, 1, 0).Add(kBlockingEndLost); },
     "the processor was not taken away yet"},
    {"HeapOfNobody", [](TraceBuilder& t) { t.On(8).Add(kHeapAlloc, 1); }, "the thread has no processor"},
    {"LabelOfNobody", [](TraceBuilder& t) { t.Add(kFiberStop, 0, 0).Add(kFiberLabel, 0); }, "the thread has no fiber"},
    {"TaskTwice", [](TraceBuilder& t) { t.Add(kTaskBegin, 9, 0, 0, 0).Add(kTaskBegin, 9, 0, 0, 0); },
     "task 9 has begun already"},
    {"TaskZero", [](TraceBuilder& t) { t.Add(kTaskBegin, 0, 0, 0, 0); }, "tasks are counted from 1"},
    {"RegionOfOtherTask", [](TraceBuilder& t) { t.Add(kRegionBegin, 1, 0, 0).Add(kRegionEnd, 2, 0, 0); },
     "the region that began last"},
    {"RegionOfOtherName",
     [](TraceBuilder& t) { t.Add(kRegionBegin, 1, t.String("a"), 0).Add(kRegionEnd, 1, t.String("b"), 0); },
     "the region that began last"},
    {"RegionsCross",
     [](TraceBuilder& t) {
       const uint64_t a = t.String("a");
       t.Add(kRegionBegin, 0, a, 0).Add(kRegionBegin, 0, t.String("b"), 0).Add(kRegionEnd, 0, a, 0);
     },
     "event 4 (RegionEnd): it is not of the region that began last"},
};

INSTANTIATE_TEST_SUITE_P(All, TraceTimelineRules, ::testing::ValuesIn(kViolations),
                         [](const ::testing::TestParamInfo<Violation>& info) { return std::string(info.param.name); });

// What a second generation may not say after Running().
struct Sequel {
  const char* name;
  std::function<void(TraceBuilder&)> add;
  const char* error;
};

class TraceTimelineSequels : public ::testing::TestWithParam<Sequel> {};

TEST_P(TraceTimelineSequels, AreChecked) {
  TraceBuilder second(2);
  second.On(7);
  GetParam().add(second);
  const auto timeline = Make({Running(), second});
  ASSERT_FALSE(timeline.ok());
  EXPECT_THAT(std::string(timeline.status().message()), HasSubstr(GetParam().error));
}

const Sequel kSequels[] = {
    {"Gap", [](TraceBuilder& t) { t.generation().number = 3; },
     "generation 3: not the one after the generation before"},
    {"OtherClock", [](TraceBuilder& t) { t.generation().ticks_per_second = 5; }, "another clock than before"},
    {"ProcessorUnnamed", [](TraceBuilder& t) { t.Add(kHeapAlloc, 5); },
     "generation 2, thread 7, event 0 (HeapAlloc): the thread's processor"},
    {"FiberUnnamed", [](TraceBuilder& t) { t.Add(kProcessorStatus, 0, kPRunning).Add(kFiberBlock, 0, 0); },
     "fiber was not named in this"},
    {"OtherProcessorStatus", [](TraceBuilder& t) { t.Add(kProcessorStatus, 0, kPIdle); }, "status 2 but had 1 before"},
    {"OtherFiberStatus", [](TraceBuilder& t) { t.Add(kFiberStatus, 1, kNoTraceThread, kFWaiting); },
     "status 4 but had 2 before"},
    {"OtherThreadsProcessor", [](TraceBuilder& t) { t.On(8).Add(kProcessorStatus, 0, kPRunning); },
     "the processor is not the thread's"},
    {"NewFiber", [](TraceBuilder& t) { t.Add(kFiberStatus, 2, kNoTraceThread, kFWaiting); },
     "new after the first generation"},
    {"RegionName", [](TraceBuilder& t) { t.Add(kProcessorStatus, 0, kPRunning).Add(kFiberBlock, 100, 0); },
     "there is no string 100"},
};

INSTANTIATE_TEST_SUITE_P(All, TraceTimelineSequels, ::testing::ValuesIn(kSequels),
                         [](const ::testing::TestParamInfo<Sequel>& info) { return std::string(info.param.name); });

TEST(TraceTimelineTest, AnAbandonedProcessorIsTakenWithoutAVictim) {
  TraceBuilder trace = Running();
  trace.Add(kBlockingBegin, 1, 0)
      .Add(kFiberDestroyBlocking)
      .On(8)
      .Add(kProcessorSteal, 0, 2, 7)
      .Add(kProcessorStart, 0, 3);
  const auto timeline = Make({trace});
  EXPECT_TRUE(timeline.ok()) << timeline.status();
}

TEST(TraceTimelineTest, AProcessorInACallMayBeNamedAsAbandonedByItsThief) {
  TraceBuilder first = Running();
  first.Add(kBlockingBegin, 1, 0);
  TraceBuilder second(2);
  second.On(8).Add(kProcessorStatus, 0, kPAbandoned).Add(kProcessorSteal, 0, 1, 7);
  const auto timeline = Make({first, second});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_EQ(timeline->events().back().type, kProcessorSteal);
}

TEST(TraceTimelineTest, AFiberInACallMayBeNamedBeforeTheProcessorItLoses) {
  TraceBuilder first = Running();
  first.Add(kBlockingBegin, 1, 0);
  TraceBuilder second(2);
  second.On(7).Add(kFiberStatus, 1, 7, kFBlocking).Add(kBlockingEndLost);
  second.On(8).Add(kProcessorStatus, 0, kPAbandoned).Add(kProcessorSteal, 0, 1, 7);
  const auto timeline = Make({first, second});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_THAT(Types(*timeline),
              ElementsAre(kProcessorStatus, kFiberStatus, kBlockingBegin, kProcessorSteal, kBlockingEndLost));
}

TEST(TraceTimelineTest, RegionsNestAcrossGenerationsByName) {
  TraceBuilder first = Running();
  first.String("other");
  first.Add(kRegionBegin, 0, first.String("parse"), 0);
  TraceBuilder second = Running(2);
  second.Add(kRegionEnd, 0, second.String("parse"), 0).Add(kRegionEnd, 0, 0, 0);
  const auto timeline = Make({first, second});
  EXPECT_TRUE(timeline.ok()) << timeline.status();
}

// Changes bytes of a trace at random: whatever comes out, it ends, and a timeline is in order.
TEST(TraceTimelineTest, GarbageIsRefusedOrInOrder) {
  TraceBuilder good = Running();
  good.Add(kFiberCreate, 2, 0, 0)
      .Add(kBlockingBegin, 1, 0)
      .Add(kBlockingEnd)
      .Add(kFiberBlock, 0, 0)
      .Add(kFiberStart, 2, 1);
  good.On(8).Add(kFiberUnblock, 1, 1, 0).Add(kProcessorStatus, 1, kPRunning).Add(kFiberStart, 1, 2).Add(kFiberDestroy);
  ASSERT_TRUE(Make({good}).ok()) << Make({good}).status();
  const auto seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  int refused = 0;
  for (int i = 0; i < 20'000; ++i) {
    TraceBuilder bad = good;
    std::string& data = bad.generation().batches[random() % 2].data;
    for (auto n = random() % 3 + 1; n > 0; --n) data[random() % data.size()] = static_cast<char>(random());
    if (random() % 4 == 0) data.resize(random() % data.size());
    const auto timeline = Make({bad});
    if (!timeline.ok()) {
      ++refused;
      continue;
    }
    for (size_t j = 1; j < timeline->events().size(); ++j) {
      ASSERT_LE(timeline->events()[j - 1].time_ns, timeline->events()[j].time_ns);
    }
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace fiberscope::pprof
