#include "server/log/log.h"

#include <spdlog/details/log_msg.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <stdlib.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/request.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope::log {
namespace {

namespace json = boost::json;

using std::chrono::seconds;

// Keeps what it is given. Stands still while it is held.
class KeepingSink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::vector<std::string> lines() {
    std::lock_guard lock(mutex_);
    return lines_;
  }
  void Hold() { held_.store(true); }
  void Release() {
    held_.store(false);
    held_.notify_all();
  }
  void set_failing(bool failing) { failing_.store(failing); }
  // Until the log's thread stands still in this sink.
  void AwaitStanding() { standing_.wait(false); }

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (held_.load()) {
      standing_.store(true);
      standing_.notify_all();
      held_.wait(true);
    }
    if (failing_.load()) throw std::runtime_error("the disk is full");
    spdlog::memory_buf_t formatted;
    formatter_->format(message, formatted);
    lines_.emplace_back(formatted.data(), formatted.size());
  }
  void flush_() override {}

 private:
  std::vector<std::string> lines_;  // GUARDED_BY(mutex_), the base's
  std::atomic<bool> held_{false};
  std::atomic<bool> standing_{false};
  std::atomic<bool> failing_{false};
};

json::object Parse(const std::string& text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  EXPECT_FALSE(error) << error.message() << ": " << text;
  return value.is_object() ? value.as_object() : json::object();
}

int64_t SomeTime() { return 1'795'818'660'000'000'001; }

class LogTest : public fiberscope::testing::RuntimeTest {
 protected:
  std::unique_ptr<Log> Start(LogOptions options = {}) {
    options.sinks = {sink_};
    options.now_ns = &SomeTime;
    return *Log::Start(std::move(options));
  }
  // What was logged so far, parsed.
  std::vector<json::object> Lines(Log& log) {
    EXPECT_TRUE(log.Flush(seconds(60)));
    std::vector<json::object> parsed;
    for (const std::string& line : sink_->lines()) parsed.push_back(Parse(line));
    return parsed;
  }

  const std::shared_ptr<KeepingSink> sink_ = std::make_shared<KeepingSink>();
};

TEST_P(LogTest, ALineSaysWhatAndWhere) {
  const std::unique_ptr<Log> log = Start();
  log->logger("orders").Info("order placed", {{"order", 7}, {"ms", 1.5}});
  const int line = __LINE__ - 1;
  EXPECT_TRUE(log->Flush(seconds(60)));
  ASSERT_EQ(sink_->lines().size(), 1);
  EXPECT_EQ(sink_->lines()[0],
            R"({"ts":"2026-11-27T22:31:00.000000001Z","level":"info","logger":"orders",)"
            R"("caller":"tests/server/log/log_test.cc:)" +
                std::to_string(line) + R"(","msg":"order placed","order":7,"ms":1.5})" + "\n");
}

TEST_P(LogTest, ALineKnowsItsFiberAndItsRequest) {
  const std::unique_ptr<Log> log = Start();
  uint64_t fiber = 0;
  RunInFiber([&] {
    this_fiber::SetLabels(Labels({{"route", "/order"}}));
    const RequestScope scope(
        AcceptRequest({.request_id = "r-1", .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}));
    const std::string span = this_fiber::request()->trace.span_id.ToString();
    fiberscope::Spawn([&] {
      fiber = this_fiber::id().value;
      log->logger().Warn("slow");
      EXPECT_EQ(this_fiber::request()->trace.span_id.ToString(), span);
    }).Join();
  });
  const std::vector<json::object> lines = Lines(*log);
  ASSERT_EQ(lines.size(), 1);
  EXPECT_EQ(lines[0].at("level").as_string(), "warn");
  EXPECT_EQ(lines[0].at("fiber").to_number<uint64_t>(), fiber);
  EXPECT_EQ(lines[0].at("request_id").as_string(), "r-1");
  EXPECT_EQ(lines[0].at("trace_id").as_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(lines[0].at("span_id").as_string().size(), 16);
  EXPECT_EQ(json::serialize(lines[0].at("labels")), R"({"route":"/order"})");
}

TEST_P(LogTest, LevelsDecideByModule) {
  const std::unique_ptr<Log> log = Start({.level = Level::kWarn});
  const Logger orders = log->logger("orders");
  const Logger gateway = log->logger("gateway");
  ASSERT_TRUE(log->levels().Set("orders", Level::kDebug).ok());
  orders.Debug("1");
  gateway.Debug("not");
  gateway.Info("not");
  gateway.Warn("2");
  EXPECT_TRUE(orders.On(Level::kDebug));
  EXPECT_FALSE(gateway.On(Level::kInfo));
  log->levels().Inherit("orders");
  orders.Info("not");
  orders.Error("3");
  std::string messages;
  for (const json::object& line : Lines(*log)) messages += line.at("msg").as_string();
  EXPECT_EQ(messages, "123");
}

TEST_P(LogTest, TheDefaultLogIsWhoeverWasSet) {
  Info("nobody");
  {
    const std::unique_ptr<Log> log = Start();
    SetDefault(log.get());
    Debug("not");
    Info("1", {{"a", 1}});
    Warn("2");
    Error("3");
    std::string messages;
    for (const json::object& line : Lines(*log)) messages += line.at("msg").as_string();
    EXPECT_EQ(messages, "123");
  }
  Error("nobody");  // the log took itself back
}

TEST_P(LogTest, SamplingIsByPlaceAndCounted) {
  const std::unique_ptr<Log> log = Start({.sampling = {.first = 2, .thereafter = 10}});
  for (int i = 1; i <= 25; ++i) log->logger().Info("often", {{"i", i}});
  log->logger().Info("once");
  std::string got;
  for (const json::object& line : Lines(*log)) got += (line.contains("i") ? json::serialize(line.at("i")) : "once") + " ";
  EXPECT_EQ(got, "1 2 12 22 once ");
  EXPECT_EQ(log->counts().sampled_out, 21);
  EXPECT_EQ(log->counts().written, 5);
}

// Goal: nobody ever waits for a sink. It stands still while fibers log more than the queue holds: all of them come to their end;
// what did not fit is counted, and said in a line as soon as the sink goes on.
TEST_P(LogTest, ASinkThatStandsStillHoldsNobodyUp) {
  constexpr int kFibers = 50;
  constexpr int kLines = 100;
  const std::unique_ptr<Log> log = Start({.queue_bytes = 64 * 1024});
  sink_->Hold();
  log->logger().Info("the sink stands still with this one");
  sink_->AwaitStanding();
  RunInFiber([&] {
    std::vector<Fiber> fibers;
    for (int fiber = 0; fiber < kFibers; ++fiber) {
      fibers.push_back(fiberscope::Spawn([&] {
        for (int i = 0; i < kLines; ++i) log->logger().Info("line", {{"padding", std::string(200, 'x')}});
      }));
    }
    for (Fiber& fiber : fibers) fiber.Join();
  });
  const uint64_t dropped = log->counts().dropped;
  EXPECT_GT(dropped, kFibers * kLines / 2);  // 64 KiB hold 300 of the 5000
  EXPECT_LT(dropped, kFibers * kLines);
  EXPECT_FALSE(log->Flush(std::chrono::nanoseconds(1)));
  sink_->Release();
  const std::vector<json::object> lines = Lines(*log);
  EXPECT_EQ(log->counts().dropped, dropped);
  EXPECT_EQ(log->counts().written + dropped, 1 + kFibers * kLines);
  ASSERT_EQ(lines.size(), log->counts().written + 1);
  EXPECT_EQ(lines.back().at("msg").as_string(), "lines were dropped: the queue was full");
  EXPECT_EQ(lines.back().at("level").as_string(), "warn");
  EXPECT_EQ(lines.back().at("dropped").to_number<uint64_t>(), dropped);
}

// Goal: lines are whole and in the order of their fibers, in a file, however many write at once.
TEST_P(LogTest, LinesOfManyFibersNeverInterleave) {
#if defined(__SANITIZE_THREAD__)
  constexpr int kFibers = 4'000;
#elif defined(__SANITIZE_ADDRESS__)
  constexpr int kFibers = 20'000;
#else
  constexpr int kFibers = 100'000;
#endif
  constexpr int kLines = 3;
  std::string folder = ::testing::TempDir() + "log_test_XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = folder + "/log";
  LogOptions options;
  options.sinks = {std::make_shared<spdlog::sinks::basic_file_sink_st>(path)};
  options.queue_bytes = 256 * 1024 * 1024;
  const std::unique_ptr<Log> log = *Log::Start(options);
  std::atomic<int> running{kFibers};
  for (int fiber = 0; fiber < kFibers; ++fiber) {
    scheduler().Spawn([&, fiber] {
      for (int i = 0; i < kLines; ++i) {
        log->logger().Info("line", {{"of", fiber}, {"i", i}, {"text", std::string(static_cast<size_t>(fiber % 50), 'x')}});
        this_fiber::Yield();
      }
      if (running.fetch_sub(1) == 1) running.notify_all();
    });
  }
  for (int left = running.load(); left != 0; left = running.load()) running.wait(left);
  ASSERT_TRUE(log->Flush(seconds(300)));
  EXPECT_EQ(log->counts().dropped, 0);
  EXPECT_EQ(log->counts().written, kFibers * kLines);

  std::vector<int> next(kFibers);
  std::ifstream file(path);
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const json::object parsed = Parse(line);
    const auto fiber = static_cast<size_t>(parsed.at("of").as_int64());
    ASSERT_EQ(parsed.at("i").as_int64(), next[fiber]++);
    ASSERT_EQ(parsed.at("text").as_string().size(), fiber % 50);
  }
  EXPECT_EQ(count, kFibers * kLines);
  std::filesystem::remove_all(folder);
}

TEST_P(LogTest, ASinkThatFailsIsCountedAndTheOthersGoOn) {
  const auto failing = std::make_shared<KeepingSink>();
  failing->set_failing(true);
  LogOptions options;
  options.sinks = {failing, sink_};
  const std::unique_ptr<Log> log = *Log::Start(options);
  log->logger().Error("1");
  log->logger().Error("2");
  EXPECT_EQ(Lines(*log).size(), 2);
  EXPECT_EQ(log->counts().sink_errors, 2);
  EXPECT_EQ(log->counts().written, 2);
}

TEST_P(LogTest, ASinksOwnLevelHolds) {
  const std::unique_ptr<Log> log = Start();
  sink_->set_level(spdlog::level::err);
  log->logger().Info("not");
  log->logger().Error("1");
  EXPECT_EQ(Lines(*log).size(), 1);
}

TEST_P(LogTest, TheEndWritesWhatIsQueued) {
  std::unique_ptr<Log> log = Start();
  for (int i = 0; i < 1000; ++i) log->logger().Info("line");
  log.reset();
  EXPECT_EQ(sink_->lines().size(), 1000);
}

TEST_P(LogTest, BadOptionsAreRefused) {
  EXPECT_EQ(Log::Start({.sinks = {nullptr}}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Log::Start({.queue_bytes = 1024}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Log::Start({.queue_bytes = size_t{1} << 40}).status().code(), absl::StatusCode::kInvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Processors, LogTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope::log
