#include "server/metrics/log_collector.h"

#include <prometheus/text_serializer.h>
#include <spdlog/sinks/null_sink.h>

#include <chrono>
#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

TEST(LogCollectorTest, TellsWhatBecameOfLines) {
  const auto log =
      *log::Log::Start({.sinks = {std::make_shared<spdlog::sinks::null_sink_st>()}, .sampling = {.first = 2}});
  for (int i = 0; i < 5; ++i) log->logger().Info("a line");
  ASSERT_TRUE(log->Flush(std::chrono::seconds(60)));
  const log::LogCounts counts = log->counts();
  EXPECT_GE(counts.written, 2u);  // more if a second has passed meanwhile
  const std::string text = "\n" + prometheus::TextSerializer().Serialize(LogCollector(*log).Collect());
  for (const std::string& line : {
           std::string("# TYPE fiber_log_lines_total counter"),
           "fiber_log_lines_total{outcome=\"written\"} " + std::to_string(counts.written),
           "fiber_log_lines_total{outcome=\"sampled out\"} " + std::to_string(5 - counts.written),
           std::string("fiber_log_lines_total{outcome=\"dropped\"} 0"),
           std::string("fiber_log_sink_errors_total 0"),
       }) {
    EXPECT_NE(text.find("\n" + line + "\n"), std::string::npos) << line << text;
  }
}

}  // namespace
}  // namespace fiberscope::server
