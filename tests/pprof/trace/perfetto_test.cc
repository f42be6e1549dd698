#include "pprof/trace/perfetto.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "pprof/trace/trace_timeline.h"
#include "tests/testing/every_trace_event.h"
#include "tests/testing/fake_trace_frames.h"
#include "tests/testing/golden.h"
#include "tests/testing/sinks.h"
#include "tests/testing/trace_builder.h"

namespace fiberscope::pprof {
namespace {

using ::fiberscope::testing::EveryTraceEvent;
using ::fiberscope::testing::TraceBuilder;
using ::testing::HasSubstr;
using enum TraceEvent;

TraceTimeline Timeline(const std::vector<std::shared_ptr<const TraceGeneration>>& generations) {
  auto timeline = TraceTimeline::Make(generations);
  EXPECT_TRUE(timeline.ok()) << timeline.status();
  return *std::move(timeline);
}

std::string Write(const TraceTimeline& timeline) {
  FakeTraceFrames frames;
  StringSink sink;
  EXPECT_TRUE(WritePerfettoTrace(timeline, frames, sink).ok());
  return sink.text();
}

TEST(PerfettoTest, EveryEvent) { ExpectGolden("trace_perfetto.json", Write(Timeline(EveryTraceEvent()))); }

TEST(PerfettoTest, TextIsEscaped) {
  TraceBuilder trace;
  const std::string hostile("\"\\\x01\n\t\x7f<\xff\xc3\xa9", 10);
  trace.On(7).Add(kProcessorStatus, 0, 1).Add(kFiberStatus, 1, 7, 2).Add(kRegionBegin, 0, trace.String(hostile), 0);
  EXPECT_THAT(Write(Timeline({trace.Build()})),
              HasSubstr("\"name\":\"\\\"\\\\\\u0001\\u000a\\u0009\x7f<\\\\xff\xc3\xa9\""));
}

TEST(PerfettoTest, StopsWhenTheReaderLeaves) {
  const TraceTimeline timeline = Timeline(EveryTraceEvent());
  FakeTraceFrames frames;
  LeavingSink sink(100);
  EXPECT_EQ(WritePerfettoTrace(timeline, frames, sink).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(sink.refusals(), 1);
}

TEST(PerfettoTest, LongTracesAreWrittenInPieces) {
  TraceBuilder trace;
  trace.On(7).Add(kProcessorStatus, 0, 1).Add(kFiberStatus, 1, 7, 2);
  for (uint64_t i = 1; i < 1000; ++i) trace.Add(kFiberStop, 0, 0).Add(kFiberStart, 1, i);
  const TraceTimeline timeline = Timeline({trace.Build()});
  FakeTraceFrames frames;
  MeasuringSink sink;
  ASSERT_TRUE(WritePerfettoTrace(timeline, frames, sink).ok());
  EXPECT_GT(sink.writes(), 3);
  EXPECT_LT(sink.largest(), 40'000);
}

}  // namespace
}  // namespace fiberscope::pprof
