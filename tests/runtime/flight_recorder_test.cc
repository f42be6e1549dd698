#include "runtime/flight_recorder.h"

#include <poll.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/trace/trace_timeline.h"
#include "runtime/execution_trace.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"

namespace fiberscope {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using pprof::TraceTimeline;

// Of snapshots that were taken by themselves.
class Reasons {
 public:
  void Add(const FlightSnapshot& snapshot) {
    const auto timeline = TraceTimeline::Make(snapshot.generations);
    EXPECT_TRUE(timeline.ok()) << timeline.status();
    {
      const std::lock_guard lock(mutex_);
      reasons_.push_back(snapshot.reason);
    }
    changed_.notify_all();
  }
  std::string AwaitFirst() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !reasons_.empty(); });
    return reasons_.front();
  }
  std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return reasons_;
  }
  std::function<void(const FlightSnapshot&)> Adder() {
    return [this](const FlightSnapshot& snapshot) { Add(snapshot); };
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> reasons_;
};

std::unique_ptr<FlightRecorder> Start(FlightRecorderOptions options) {
  auto recorder = FlightRecorder::Start(std::move(options));
  EXPECT_TRUE(recorder.ok()) << recorder.status();
  return *std::move(recorder);
}

// Fibers that were there at the beginning, or came later.
std::set<uint64_t> Named(const TraceTimeline& timeline) {
  std::set<uint64_t> named;
  for (const pprof::TimelineEvent& each : timeline.events()) {
    if (each.type == TraceEvent::kFiberStatus || each.type == TraceEvent::kFiberCreate) named.insert(each.args[0]);
  }
  return named;
}

// Fibers that pass a token around, come and go, and a few that do nothing.
class Bustle {
 public:
  explicit Bustle(Scheduler& scheduler) : scheduler_(scheduler) {
    for (int i = 0; i < kIdle; ++i) idle_.push_back(scheduler.Spawn([this] { (void)never_.Receive(); }));
    for (int i = 0; i < 2; ++i) {
      busy_.push_back(scheduler.Spawn([this] {
        while (!stop_.load()) {
          Fiber child = Spawn([] { this_fiber::Yield(); });
          child.Join();
          this_fiber::SleepFor(50us);  // readers of a trace are slower than its writers
          rounds_.fetch_add(1);
        }
      }));
    }
  }
  ~Bustle() {
    stop_.store(true);
    for (Fiber& each : busy_) each.Join();
    never_.Close();
    for (Fiber& each : idle_) each.Join();
  }
  void AwaitRounds(int more) const {
    for (const int until = rounds_.load() + more; rounds_.load() < until;) std::this_thread::yield();
  }
  const std::vector<Fiber>& idle() const { return idle_; }

 private:
  static constexpr int kIdle = 100;
  Scheduler& scheduler_;
  Channel<int> never_;
  std::atomic<bool> stop_{false};
  std::atomic<int> rounds_{0};
  std::vector<Fiber> idle_;
  std::vector<Fiber> busy_;
};

TEST(FlightRecorderTest, ASnapshotIsAWholeTraceHoweverMuchIsForgotten) {
  Scheduler scheduler({.processors = 2});
  const auto recorder = Start({.min_age = 1ms, .max_bytes = 64 << 10});
  const Bustle bustle(scheduler);
  for (int i = 0; i < 50; ++i) {
    bustle.AwaitRounds(1 + i * 3);
    const TraceGenerations snapshot = recorder->Snapshot();
    const auto timeline = TraceTimeline::Make(snapshot);
    ASSERT_TRUE(timeline.ok()) << timeline.status();
    const std::set<uint64_t> named = Named(*timeline);
    for (const Fiber& each : bustle.idle()) EXPECT_TRUE(named.contains(each.id().value));
  }
}

TEST(FlightRecorderTest, ATraceMayBeTakenBeside) {
  Scheduler scheduler({.processors = 2});
  const auto recorder = Start({.min_age = 1ms, .max_bytes = 64 << 10});
  const Bustle bustle(scheduler);
  for (int i = 0; i < 20; ++i) {
    bustle.AwaitRounds(20);
    auto trace = ExecutionTrace::Start();
    ASSERT_TRUE(trace.ok()) << trace.status();
    EXPECT_EQ(ExecutionTrace::Start().status().code(), absl::StatusCode::kAlreadyExists);
    TraceGenerations all;
    for (int j = i % 3; j > 0; --j) {
      bustle.AwaitRounds(10);
      for (const auto& each : (*trace)->Next()) all.push_back(each);
      (void)recorder->Snapshot();
    }
    for (const auto& each : (*trace)->Stop()) all.push_back(each);
    const auto timeline = TraceTimeline::Make(all);
    ASSERT_TRUE(timeline.ok()) << timeline.status();
    const std::set<uint64_t> named = Named(*timeline);
    for (const Fiber& each : bustle.idle()) EXPECT_TRUE(named.contains(each.id().value));
  }
}

TEST(FlightRecorderTest, ASlowTaskIsAReason) {
  Reasons reasons;
  Scheduler scheduler({.processors = 1});
  const auto recorder = Start({.slow_task = 5ms, .min_interval = 1h, .on_snapshot = reasons.Adder()});
  scheduler.Spawn([] { const TraceTask quick("quick"); }).Join();
  scheduler
      .Spawn([] {
        const TraceTask order("order");
        this_fiber::SleepFor(20ms);
      })
      .Join();
  EXPECT_THAT(reasons.AwaitFirst(), StartsWith("slow task order: "));
  EXPECT_EQ(recorder->snapshots(), 1u);

  scheduler
      .Spawn([] {
        const TraceTask order("order");
        this_fiber::SleepFor(20ms);
      })
      .Join();
  EXPECT_EQ(recorder->suppressed(), 1u) << "so soon after the first";
}

TEST(FlightRecorderTest, AStallIsAReason) {
  Reasons reasons;
  Scheduler scheduler({.processors = 1, .on_stall = [](const StallReport&) {}});
  const auto recorder = Start({.on_snapshot = reasons.Adder()});
  scheduler
      .Spawn([] {
        const timespec time = {.tv_sec = 0, .tv_nsec = 200'000'000};
        (void)ppoll(nullptr, 0, &time, nullptr);  // not marked as blocking
      })
      .Join();
  EXPECT_THAT(reasons.AwaitFirst(), StartsWith("stall of fiber "));
}

TEST(FlightRecorderTest, AProgramMayHaveReasonsOfItsOwn) {
  Reasons reasons;
  auto recorder = Start({.min_interval = 1h, .on_snapshot = reasons.Adder()});
  EXPECT_TRUE(recorder->Trigger("odd answer"));
  EXPECT_FALSE(recorder->Trigger("another"));
  recorder.reset();  // takes what is due
  EXPECT_THAT(reasons.all(), ::testing::ElementsAre("odd answer"));
}

TEST(FlightRecorderTest, WithoutAReaderThereIsNoReason) {
  const auto recorder = Start({});
  EXPECT_FALSE(recorder->Trigger("odd answer"));
}

TEST(FlightRecorderTest, HeapBytesAreInTheTrace) {
  Scheduler scheduler({.processors = 1});
  std::atomic<int> asked{0};
  const auto recorder = Start({.heap_bytes = [&asked] {
    asked.fetch_add(1);
    return uint64_t{12'345};
  }});
  while (asked.load() < 2) std::this_thread::yield();
  scheduler.Spawn([] {}).Join();
  const auto timeline = TraceTimeline::Make(recorder->Snapshot());
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  bool found = false;
  for (const pprof::TimelineEvent& each : timeline->events()) {
    if (each.type == TraceEvent::kHeapAlloc) found |= each.args[0] == 12'345;
  }
  EXPECT_TRUE(found);
}

TEST(FlightRecorderTest, OneAtATime) {
  auto recorder = Start({});
  EXPECT_EQ(FlightRecorder::Start({}).status().code(), absl::StatusCode::kAlreadyExists);
  recorder.reset();
  EXPECT_NE(Start({}), nullptr);
}

TEST(FlightRecorderTest, RefusesOptionsByName) {
  const std::pair<FlightRecorderOptions, const char*> rows[] = {
      {{.min_age = 0ns}, "min_age"},        {{.min_age = 2h}, "min_age"},
      {{.max_bytes = 1000}, "max_bytes"},   {{.slow_task = -1ns}, "slow_task"},
      {{.min_interval = -1ns}, "min_interval"},
  };
  for (const auto& [options, name] : rows) {
    const absl::Status status = FlightRecorder::Start(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
}

}  // namespace
}  // namespace fiberscope
