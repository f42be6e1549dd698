#include "server/vars/log_vars.h"

#include <spdlog/sinks/null_sink.h>

#include <chrono>
#include <memory>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

TEST(LogVarsTest, ShowLevelAndCounts) {
  const auto log = *log::Log::Start(
      {.level = log::Level::kWarn, .sinks = {std::make_shared<spdlog::sinks::null_sink_st>()}});
  VarRegistry registry;
  ASSERT_TRUE(PublishLogVars(registry, *log).ok());
  log->logger().Info("not on");
  log->logger().Error("on");
  ASSERT_TRUE(log->Flush(std::chrono::seconds(60)));
  EXPECT_EQ(registry.Json(),
            "{\n\"log\": {\"level\":\"warn\",\"written\":1,\"dropped\":0,\"sampled_out\":0,\"sink_errors\":0}\n}\n");
}

TEST(LogVarsTest, ATakenNameIsAnError) {
  const auto log = *log::Log::Start({.sinks = {std::make_shared<spdlog::sinks::null_sink_st>()}});
  VarRegistry registry;
  (*registry.NewInt("log"))->Set(3);
  EXPECT_EQ(PublishLogVars(registry, *log).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(registry.Json(), "{\n\"log\": 3\n}\n");
}

}  // namespace
}  // namespace fiberscope::server
