#include "pprof/trace/trace_profile.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/trace/trace_timeline.h"
#include "tests/testing/fake_trace_frames.h"
#include "tests/testing/trace_builder.h"

namespace fiberscope::pprof {
namespace {

using ::fiberscope::testing::TraceBuilder;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using enum TraceEvent;

// Thread 7 has processor 0, on which fiber 1 runs.
TraceBuilder Running() {
  TraceBuilder trace;
  trace.On(7).Add(kProcessorStatus, 0, 1).Add(kFiberStatus, 1, 7, 2);
  return trace;
}

Profile Make(const std::vector<TraceBuilder>& builders, TraceProfileKind kind) {
  std::vector<std::shared_ptr<const TraceGeneration>> generations;
  for (const TraceBuilder& builder : builders) generations.push_back(builder.Build());
  const auto timeline = TraceTimeline::Make(generations);
  EXPECT_TRUE(timeline.ok()) << timeline.status();
  FakeTraceFrames frames;
  return MakeTraceProfile(*timeline, kind, frames);
}

// "f1 f2" -> count and nanoseconds.
using Samples = std::vector<std::pair<std::string, std::vector<int64_t>>>;

Samples SamplesOf(const Profile& profile) {
  Samples samples;
  for (const Profile::Sample& sample : profile.samples) {
    std::string names;
    for (const Profile::LocationId id : sample.stack) {
      const Profile::Function& function = profile.Get(profile.Get(id).lines.at(0).function);
      names += (names.empty() ? "" : " ") + profile.Text(function.name);
    }
    samples.emplace_back(names, sample.values);
  }
  return samples;
}

TEST(TraceProfileTest, ReasonsAreToldApartByTheirWords) {
  struct Row {
    const char* reason;
    bool sync;
    bool net;
  };
  for (const Row& row : {Row{"chan receive", true, false}, Row{"chan send", true, false}, Row{"select", true, false},
                         Row{"sync", true, false}, Row{"sync.(*Cond).Wait", true, false},
                         Row{"sync (join)", true, false}, Row{"network", false, true},
                         Row{"network (tls)", false, false}, Row{"sleep", false, false}, Row{"", false, false}}) {
    SCOPED_TRACE(row.reason);
    TraceBuilder trace = Running();
    trace.Add(kFiberBlock, trace.String(row.reason), trace.Stack({1, 2}))
        .Add(kFiberUnblock, 1, 1, 0)
        .Add(kFiberStart, 1, 2);
    EXPECT_EQ(Make({trace}, TraceProfileKind::kSync).samples.size(), row.sync);
    EXPECT_EQ(Make({trace}, TraceProfileKind::kNet).samples.size(), row.net);
    EXPECT_THAT(Make({trace}, TraceProfileKind::kSched).samples, IsEmpty()) << "nobody's stack";
  }
}

TEST(TraceProfileTest, StacksThatLookTheSameAreOneSample) {
  TraceBuilder first = Running();
  const uint64_t reason = first.String("chan receive");
  first.Add(kFiberBlock, reason, first.Stack({1, 2})).Add(kFiberUnblock, 1, 1, 0).Add(kFiberStart, 1, 2);
  first.Add(kFiberBlock, reason, first.Stack({3})).At(1100).Add(kFiberUnblock, 1, 3, 0).Add(kFiberStart, 1, 4);
  TraceBuilder second(2);
  second.Stack({9});
  second.On(7).Add(kProcessorStatus, 0, 1).Add(kFiberStatus, 1, 7, 2);
  second.Add(kFiberBlock, second.String("select"), second.Stack({1, 2})).Add(kFiberUnblock, 1, 1, 0);

  const Profile profile = Make({first, second}, TraceProfileKind::kSync);

  EXPECT_THAT(SamplesOf(profile), ElementsAre(Pair("f1 f2", ElementsAre(2, 20)), Pair("f3", ElementsAre(1, 40))));
  EXPECT_EQ(profile.Text(profile.sample_types[0].type), "contentions");
  EXPECT_EQ(profile.Text(profile.sample_types[1].unit), "nanoseconds");
  EXPECT_EQ(profile.locations[0].address, 1);
  EXPECT_EQ(profile.locations[0].lines[0].line, 1);
  EXPECT_EQ(profile.duration.count(), 2040 - 1010);
}

TEST(TraceProfileTest, WhoWasRunnableIsBlamedOnWhoMadeItSo) {
  TraceBuilder trace = Running();
  trace.Add(kFiberCreate, 2, 0, trace.Stack({1})).At(1100).Add(kFiberStop, 0, trace.Stack({2}));
  trace.Add(kFiberStart, 2, 1).Add(kFiberBlock, 0, 0);
  trace.On(8).Add(kFiberUnblock, 2, 2, trace.Stack({3}));
  trace.On(7).Add(kFiberStart, 1, 1).Add(kFiberDestroy).Add(kFiberStart, 2, 3);
  EXPECT_THAT(
      SamplesOf(Make({trace}, TraceProfileKind::kSched)),
      ElementsAre(Pair("f1", ElementsAre(1, 80)), Pair("f2", ElementsAre(1, 40)), Pair("f3", ElementsAre(1, 30))));
}

TEST(TraceProfileTest, BlockingCallsEndWithOrWithoutTheirProcessor) {
  TraceBuilder trace = Running();
  const uint64_t stack = trace.Stack({1});
  trace.Add(kBlockingBegin, 1, stack)
      .Add(kBlockingEnd)
      .Add(kBlockingBegin, 2, stack)
      .Add(kProcessorStop)
      .Add(kBlockingEndLost);
  EXPECT_THAT(SamplesOf(Make({trace}, TraceProfileKind::kSyscall)), ElementsAre(Pair("f1", ElementsAre(2, 30))));
}

TEST(TraceProfileTest, AWaitTooShortForTheClockIsCounted) {
  TraceBuilder trace = Running();
  trace.Add(kFiberStop, 0, trace.Stack({1})).At(1030).Add(kFiberStart, 1, 1);
  EXPECT_THAT(SamplesOf(Make({trace}, TraceProfileKind::kSched)), ElementsAre(Pair("f1", ElementsAre(1, 0))));
}

TEST(TraceProfileTest, AWaitThatDoesNotEndIsNotCounted) {
  TraceBuilder trace = Running();
  trace.Add(kFiberBlock, trace.String("sync"), trace.Stack({1})).Add(kHeapAlloc, 1);
  EXPECT_THAT(Make({trace}, TraceProfileKind::kSync).samples, IsEmpty());
}

}  // namespace
}  // namespace fiberscope::pprof
