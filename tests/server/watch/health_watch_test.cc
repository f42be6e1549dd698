// Goal: what is sampled when, what is kept, and who is told what. Method: figures and time are the test's; the thread is real.
#include "server/watch/health_watch.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/virtual_clock.h"

namespace fiberscope::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::chrono::system_clock::time_point kBegin(seconds(1'000'000));

class HealthWatchTest : public ::testing::Test {
 protected:
  HealthReading Read() {
    if (while_reading_) while_reading_();
    HealthReading reading;
    reading.at = clock_.Now();
    reading.time = kBegin + clock_.Now();
    reading.totals.queued = queued_;
    return reading;
  }

  HealthWatchOptions Options() {
    HealthWatchOptions options;
    options.clock = &clock_;
    options.read = [this] { return Read(); };
    options.on_line = [this](WatchLineLevel level, std::string_view text) {
      const std::lock_guard lock(mutex_);
      lines_.push_back((level == WatchLineLevel::kWarning ? "W " : "I ") + std::string(text));
    };
    return options;
  }

  // Raised by two values above 10, cleared by two below 5; tells of itself in events().
  Threshold Queue() {
    const auto note = [this](const ThresholdChange& change) {
      const std::lock_guard lock(mutex_);
      events_.push_back((change.raised ? "raise " : "clear ") + std::to_string(static_cast<int>(change.value)) + " at " +
                        std::to_string((change.time - kBegin) / seconds(1)));
      callback_thread_ = std::this_thread::get_id();
    };
    return {.name = "queue",
            .figure = QueuedFigure(),
            .bounds = {.raise_above = 10, .raise_after = 2, .clear_below = 5, .clear_after = 2},
            .on_raise = note,
            .on_clear = note};
  }

  void Start(HealthWatchOptions options) {
    auto watch = HealthWatch::Start(std::move(options));
    ASSERT_TRUE(watch.ok()) << watch.status();
    watch_ = *std::move(watch);
  }

  // So many seconds with so many fibers queued.
  void Pass(int count, uint64_t queued) {
    queued_ = queued;
    clock_.Advance(seconds(count));
  }

  std::vector<std::string> TakeEvents() {
    const std::lock_guard lock(mutex_);
    return std::exchange(events_, {});
  }
  std::vector<std::string> TakeLines() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }

  testing::VirtualClock clock_;
  std::atomic<uint64_t> queued_{0};
  std::function<void()> while_reading_;  // set while the watch's thread waits
  std::mutex mutex_;
  std::vector<std::string> events_;  // GUARDED_BY(mutex_)
  std::vector<std::string> lines_;   // GUARDED_BY(mutex_)
  std::thread::id callback_thread_;  // GUARDED_BY(mutex_)
  std::unique_ptr<HealthWatch> watch_;
};

TEST_F(HealthWatchTest, SamplesEachPeriodAndKeepsEachTier) {
  Start(Options());
  EXPECT_EQ(watch_->samples(), 0u);
  clock_.Advance(milliseconds(999));
  EXPECT_EQ(watch_->samples(), 0u);
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(watch_->samples(), 1u);
  Pass(59, 3);
  EXPECT_EQ(watch_->samples(), 60u);
  const std::vector<HealthWatch::Tier> history = watch_->history();
  ASSERT_EQ(history.size(), 2u);
  ASSERT_EQ(history[0].rows.size(), 60u);
  EXPECT_EQ(history[0].rows.front().end, kBegin + seconds(1));
  EXPECT_EQ(history[0].rows.front().length, seconds(1));
  EXPECT_EQ(history[0].rows.back().queued, 3u);
  ASSERT_EQ(history[1].rows.size(), 1u);
  EXPECT_EQ(history[1].rows.front().end, kBegin + minutes(1));
  EXPECT_EQ(history[1].rows.front().length, minutes(1));
  EXPECT_EQ(watch_->missed_samples(), 0u);
}

TEST_F(HealthWatchTest, ADayLaterKeepsTenMinutesAndADay) {
  HealthWatchOptions options = Options();
  options.period = seconds(1);
  Start(std::move(options));
  clock_.Advance(std::chrono::hours(25));
  const std::vector<HealthWatch::Tier> history = watch_->history();
  ASSERT_EQ(history[0].rows.size(), 600u);
  EXPECT_EQ(history[0].rows.front().end, kBegin + std::chrono::hours(25) - seconds(599));
  ASSERT_EQ(history[1].rows.size(), 1440u);
  EXPECT_EQ(history[1].rows.front().end, kBegin + std::chrono::hours(1) + minutes(1));
}

TEST_F(HealthWatchTest, TellsOfThresholdsOnItsThread) {
  HealthWatchOptions options = Options();
  options.thresholds = {Queue()};
  Start(std::move(options));
  Pass(5, 7);
  Pass(1, 11);
  Pass(1, 10);
  EXPECT_THAT(TakeEvents(), IsEmpty());
  EXPECT_FALSE(watch_->thresholds().front().raised);
  EXPECT_FALSE(watch_->thresholds().front().since.has_value());
  Pass(3, 12);
  EXPECT_THAT(TakeEvents(), ElementsAre("raise 12 at 9"));
  EXPECT_TRUE(watch_->thresholds().front().raised);
  EXPECT_EQ(watch_->thresholds().front().since, kBegin + seconds(9));
  EXPECT_EQ(watch_->thresholds().front().value, 12);
  Pass(10, 5);
  Pass(2, 4);
  EXPECT_THAT(TakeEvents(), ElementsAre("clear 4 at 22"));
  EXPECT_FALSE(watch_->thresholds().front().raised);
  EXPECT_EQ(watch_->thresholds().front().raises, 1u);
  EXPECT_NE(callback_thread_, std::thread::id());
  EXPECT_NE(callback_thread_, std::this_thread::get_id());
}

TEST_F(HealthWatchTest, WritesALinePerMinuteAndThresholdWhichTellsWhatIsNew) {
  HealthWatchOptions options = Options();
  options.thresholds = {Queue(), Queue()};
  options.thresholds[1].name = "another";
  options.thresholds[1].bounds.raise_above = 1000;
  Start(std::move(options));
  Pass(2, 20);
  EXPECT_THAT(TakeLines(), ElementsAre("W queue is 20: above 10 2 times in a row"));
  for (int i = 0; i < 5; ++i) {
    Pass(2, 4);
    Pass(2, 30);
  }
  Pass(10, 3);  // cleared after 24 s
  EXPECT_THAT(TakeLines(), IsEmpty());
  Pass(60, 7);
  EXPECT_THAT(TakeLines(),
              ElementsAre("I queue is 3: below 5 again, 2 times in a row, 38 s ago; the last of 11 changes since the line before"));
  // A minute after that one, the next goes out at once; another threshold's line is another matter.
  Pass(60, 7);
  Pass(2, 2000);
  EXPECT_THAT(TakeLines(),
              ElementsAre("W queue is 2000: above 10 2 times in a row", "W another is 2000: above 1000 2 times in a row"));
  EXPECT_EQ(watch_->thresholds().front().raises, 7u);
}

TEST_F(HealthWatchTest, WhatTakesTooLongCostsSamples) {
  HealthWatchOptions options = Options();
  Start(std::move(options));
  Pass(2, 0);
  while_reading_ = [this] {
    clock_.Jump(milliseconds(3500));
    while_reading_ = nullptr;
  };
  clock_.Advance(seconds(1));  // sampled at 3 s, until 6.5 s
  EXPECT_EQ(watch_->samples(), 3u);
  EXPECT_EQ(watch_->missed_samples(), 3u);
  clock_.Advance(milliseconds(499));
  EXPECT_EQ(watch_->samples(), 3u);
  clock_.Advance(milliseconds(1));  // at 7 s
  EXPECT_EQ(watch_->samples(), 4u);
  EXPECT_EQ(watch_->history()[0].rows.back().end, kBegin + seconds(7));
  EXPECT_EQ(watch_->missed_samples(), 3u);
}

TEST_F(HealthWatchTest, WhatIsThrownIsCountedAndWhatIsNoNumberIsNotKnown) {
  HealthWatchOptions options = Options();
  options.thresholds = {Queue(), Queue(), Queue()};
  options.thresholds[0].on_raise = [](const ThresholdChange&) { throw std::runtime_error("raise"); };
  options.thresholds[1].name = "throws";
  options.thresholds[1].figure = [](const HealthReading&, const HealthRow&) -> std::optional<double> { throw 1; };
  options.thresholds[2].name = "infinite";
  options.thresholds[2].figure = [](const HealthReading&, const HealthRow&) { return std::numeric_limits<double>::infinity(); };
  options.on_line = [](WatchLineLevel, std::string_view) { throw std::runtime_error("line"); };
  Start(std::move(options));
  Pass(3, 11);
  const std::vector<ThresholdStatus> statuses = watch_->thresholds();
  EXPECT_TRUE(statuses[0].raised);
  for (size_t i = 1; i < 3; ++i) {
    EXPECT_FALSE(statuses[i].raised);
    EXPECT_FALSE(statuses[i].value.has_value());
  }
  EXPECT_EQ(watch_->failed_calls(), 5u);  // three figures, a callback, a line
  EXPECT_EQ(watch_->samples(), 3u);
}

TEST_F(HealthWatchTest, ACallbackMayReadAndStopIt) {
  HealthWatchOptions options = Options();
  options.thresholds = {Queue()};
  size_t rows = 0;
  bool raised = false;
  options.thresholds[0].on_raise = [&](const ThresholdChange&) {
    rows = watch_->history()[0].rows.size();
    raised = watch_->thresholds()[0].raised;
    watch_->Stop();
  };
  Start(std::move(options));
  Pass(5, 11);
  watch_->Stop();
  EXPECT_EQ(rows, 2u);
  EXPECT_TRUE(raised);
  EXPECT_EQ(watch_->samples(), 2u);
}

TEST_F(HealthWatchTest, IsStoppedByAnyoneAndReadAfterwards) {
  Start(Options());
  Pass(3, 0);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back([this] { watch_->Stop(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(watch_->history()[0].rows.size(), 3u);
  EXPECT_EQ(watch_->samples(), 3u);
}

TEST_F(HealthWatchTest, IsReadWhileItSamples) {
  HealthWatchOptions options = Options();
  options.thresholds = {Queue()};
  options.tiers = {{.samples = 1, .rows = 20}, {.samples = 7, .rows = 20}};
  Start(std::move(options));
  std::atomic<bool> leave{false};
  std::thread reader([&] {
    while (!leave) {
      for (const HealthWatch::Tier& tier : watch_->history()) {
        for (size_t i = 1; i < tier.rows.size(); ++i) {
          EXPECT_EQ(tier.rows[i].end - tier.rows[i - 1].end, seconds(tier.tier.samples));
        }
      }
      EXPECT_EQ(watch_->thresholds().front().name, "queue");
    }
  });
  for (int i = 0; i < 300; ++i) Pass(1, i / 3 % 2 == 0 ? 20 : 0);
  leave = true;
  reader.join();
  EXPECT_EQ(watch_->thresholds().front().raises, 50u);
}

TEST_F(HealthWatchTest, RefusesOptionsThatMakeNoSense) {
  const auto error = [this](const std::function<void(HealthWatchOptions&)>& change) {
    HealthWatchOptions options = Options();
    options.thresholds = {Queue()};
    change(options);
    const absl::Status status = HealthWatch::Start(std::move(options)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_THAT(error([](auto& options) { options.period = milliseconds(9); }), HasSubstr("period is not between 10 ms and 1 h"));
  EXPECT_THAT(error([](auto& options) { options.period = minutes(61); }), HasSubstr("period"));
  EXPECT_THAT(error([](auto& options) { options.line_interval = milliseconds(-1); }), HasSubstr("line_interval"));
  EXPECT_THAT(error([](auto& options) { options.tiers.resize(5); }), HasSubstr("5 tiers; 4 at most"));
  EXPECT_THAT(error([](auto& options) { options.tiers[0].rows = 0; }), HasSubstr("a tier has 0 rows of 1 samples"));
  EXPECT_THAT(error([](auto& options) { options.tiers[1].samples = 0; }), HasSubstr("a tier has 1440 rows of 0 samples"));
  EXPECT_THAT(error([](auto& options) { options.tiers[0].rows = 99'000; }), HasSubstr("the tiers have 100440 rows"));
  EXPECT_THAT(error([](auto& options) { options.read = nullptr; }), HasSubstr("read is empty"));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].name = ""; }), HasSubstr("the name of threshold 0"));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].name = "a\nb"; }), HasSubstr("the name of threshold 0"));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].name = "\xff"; }), HasSubstr("the name of threshold 0"));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].name = std::string(65, 'x'); }), HasSubstr("1 to 64 bytes"));
  EXPECT_THAT(error([this](auto& options) { options.thresholds.push_back(Queue()); }),
              HasSubstr("two thresholds have the name \"queue\""));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].figure = nullptr; }), HasSubstr("\"queue\" has no figure"));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].bounds.clear_below = 11; }),
              HasSubstr("raise_above is 10, clear_below 11"));
  EXPECT_THAT(error([&](auto& options) { options.thresholds[0].bounds.raise_above = infinity; }), HasSubstr("raise_above is inf"));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].bounds.raise_after = 0; }), HasSubstr("raise_after is 0"));
  EXPECT_THAT(error([](auto& options) { options.thresholds[0].bounds.clear_after = -1; }), HasSubstr("clear_after -1"));
  EXPECT_THAT(error([this](auto& options) {
                for (int i = 0; i < 64; ++i) {
                  options.thresholds.push_back(Queue());
                  options.thresholds.back().name = std::to_string(i);
                }
              }),
              HasSubstr("65 thresholds; 64 at most"));
}

TEST_F(HealthWatchTest, WithoutAHandlerLinesGoToStandardError) {
  HealthWatchOptions options = Options();
  options.thresholds = {Queue()};
  options.on_line = nullptr;
  ::testing::internal::CaptureStderr();
  Start(std::move(options));
  Pass(2, 11);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "fiberscope: queue is 11: above 10 2 times in a row\n");
}

// The only one with the system's time and the process' figures.
TEST(HealthWatchSystemTest, SamplesTheProcess) {
  auto watch = HealthWatch::Start({.period = milliseconds(10)});
  ASSERT_TRUE(watch.ok()) << watch.status();
  while ((*watch)->samples() < 3) sched_yield();
  (*watch)->Stop();
  const std::vector<HealthWatch::Tier> history = (*watch)->history();
  ASSERT_GE(history[0].rows.size(), 3u);
  EXPECT_GE(history[0].rows.back().length, milliseconds(1));
  EXPECT_GT(history[0].rows.back().resident_bytes.value_or(0), 0u);
}

}  // namespace
}  // namespace fiberscope::server
