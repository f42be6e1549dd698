#include "pprof/trace/go119_encoder.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "pprof/trace/trace_timeline.h"
#include "tests/testing/every_trace_event.h"
#include "tests/testing/fake_trace_frames.h"
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

std::string Encode(const TraceTimeline& timeline) {
  FakeTraceFrames frames;
  StringSink sink;
  EXPECT_TRUE(WriteGo119Trace(timeline, frames, sink).ok());
  return sink.text();
}

std::string Bytes(std::initializer_list<int> bytes) {
  std::string text;
  for (const int byte : bytes) text += static_cast<char>(byte);
  return text;
}

TEST(Go119EncoderTest, SmallestTrace) {
  TraceBuilder trace;
  trace.On(7).Add(kProcessorStatus, 0, 1).Add(kFiberStatus, 1, 7, 2).Add(kFiberDestroy);

  const std::string bytes = Encode(Timeline({trace.Build()}));

  std::string want("go 1.19 trace\0\0\0", 16);
  want += Bytes({1 | 1 << 6, 0, 1});            // processor 0, from tick 1
  want += Bytes({13 | 3 << 6, 4, 0, 1, 1, 0});  // fiber 1 is created
  want += Bytes({5 | 1 << 6, 1, 7});            // the processor is started by thread 7
  want += Bytes({14 | 2 << 6, 1, 1, 1});        // fiber 1 starts
  want += Bytes({4 | 2 << 6, 1, 1, 0});         // one processor
  want += Bytes({4 | 2 << 6, 1, 1, 0});
  want += Bytes({15, 21});                        // the end, 20 ns after the timeline's beginning, which is tick 6
  want += Bytes({2, 0x80, 0x94, 0xeb, 0xdc, 3});  // 10^9 ticks per second
  want += Bytes({37, 1, 9}) + "(unknown)";
  want += Bytes({3 | 3 << 6, 6, 1, 1, 1, 1, 0, 0});  // stack 1 is one frame
  EXPECT_EQ(bytes, want);
}

TEST(Go119EncoderTest, TheSameTraceGivesTheSameBytes) {
  const TraceTimeline timeline = Timeline(EveryTraceEvent());
  EXPECT_EQ(Encode(timeline), Encode(timeline));
}

TEST(Go119EncoderTest, AFiberNumberIsUsedOnce) {
  TraceBuilder trace;
  trace.On(7).Add(kProcessorStatus, 0, 1).Add(kFiberStatus, 1, 7, 2).Add(kFiberDestroy).Add(kFiberCreate, 1, 0, 0);
  FakeTraceFrames frames;
  StringSink sink;
  const absl::Status status = WriteGo119Trace(Timeline({trace.Build()}), frames, sink);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("fiber 1 was there before"));
}

TEST(Go119EncoderTest, StopsWhenTheReaderLeaves) {
  const TraceTimeline timeline = Timeline(EveryTraceEvent());
  for (const size_t limit : {0, 30, 100}) {
    FakeTraceFrames frames;
    LeavingSink sink(limit);
    EXPECT_EQ(WriteGo119Trace(timeline, frames, sink).code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(sink.refusals(), 1);
  }
}

}  // namespace
}  // namespace fiberscope::pprof
