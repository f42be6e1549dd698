#include "server/handlers/trace_output.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/every_trace_event.h"
#include "tests/testing/fake_trace_frames.h"

namespace fiberscope::server {
namespace {

using ::testing::StartsWith;

struct Row {
  std::string query;
  std::string content_type;
  std::string disposition;
  std::string begins;  // the body
};

class TraceOutputTest : public ::testing::TestWithParam<Row> {};

TEST_P(TraceOutputTest, HasItsHeadAndItsBytes) {
  const auto output = ParseTraceOutput(*Query::Parse(GetParam().query));
  ASSERT_TRUE(output.ok()) << output.status();

  const ResponseHead head = TraceHead(*output);
  pprof::FakeTraceFrames frames;
  pprof::StringSink sink;
  const absl::Status status = WriteTrace(testing::EveryTraceEvent(), *output, frames, sink);

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(head.content_type, GetParam().content_type);
  ASSERT_EQ(head.fields.size(), 1u);
  EXPECT_EQ(head.fields[0].second, GetParam().disposition);
  EXPECT_THAT(sink.text(), StartsWith(GetParam().begins));
}

constexpr char kBytes[] = "application/octet-stream";

INSTANTIATE_TEST_SUITE_P(
    All, TraceOutputTest,
    ::testing::Values(Row{"", kBytes, "attachment; filename=\"trace\"", "go 1.22 trace"},
                      Row{"format=", kBytes, "attachment; filename=\"trace\"", "go 1.22 trace"},
                      Row{"format=go1.22", kBytes, "attachment; filename=\"trace\"", "go 1.22 trace"},
                      Row{"format=go1.23", kBytes, "attachment; filename=\"trace\"", "go 1.23 trace"},
                      Row{"format=go1.19", kBytes, "attachment; filename=\"trace\"", "go 1.19 trace"},
                      Row{"format=json", "application/json", "attachment; filename=\"trace.json\"", "{\"displayTimeUnit\""},
                      Row{"format=perfetto", "application/json", "attachment; filename=\"trace.json\"", "{\"displayTimeUnit\""},
                      Row{"profile=sched", kBytes, "attachment; filename=\"sched\"", "\x1f\x8b"},
                      Row{"profile=sync", kBytes, "attachment; filename=\"sync\"", "\x1f\x8b"},
                      Row{"profile=net", kBytes, "attachment; filename=\"net\"", "\x1f\x8b"},
                      Row{"profile=syscall&format=", kBytes, "attachment; filename=\"syscall\"", "\x1f\x8b"}));

TEST(TraceOutputErrorTest, SaysWhatTheParametersMayBe) {
  const std::pair<const char*, const char*> rows[] = {
      {"format=go1.18", "invalid value for \"format\" - must be go1.22, go1.23, go1.19 or json"},
      {"profile=cpu", "invalid value for \"profile\" - must be sched, sync, net or syscall"},
      {"profile=sync&format=json", "invalid value for \"profile\" - cannot be had together with a format"},
  };
  for (const auto& [query, message] : rows) {
    const auto output = ParseTraceOutput(*Query::Parse(query));
    ASSERT_FALSE(output.ok()) << query;
    EXPECT_EQ(output.status().message(), message);
  }
  EXPECT_FALSE(ParseTraceOutput(*Query::Parse("format=json&format=json")).ok());
  EXPECT_FALSE(ParseTraceOutput(*Query::Parse("profile=net&profile=net")).ok());
}

TEST(TraceOutputErrorTest, ATraceThatContradictsItselfIsAnInternalError) {
  auto broken = std::make_shared<TraceGeneration>(*testing::EveryTraceEvent().front());
  broken->number = 0;
  const std::vector<std::shared_ptr<const TraceGeneration>> generations = {broken};
  pprof::FakeTraceFrames frames;
  pprof::StringSink sink;
  const absl::Status status = WriteTrace(generations, {.kind = TraceOutputKind::kJson}, frames, sink);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace fiberscope::server
