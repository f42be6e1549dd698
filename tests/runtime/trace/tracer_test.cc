// Several tracers of one recording, and what a generation from its middle must say to be a first one. The test plays the scheduler;
// each trace is judged by the reader that knows all rules (pprof/trace/trace_timeline.h).
#include "runtime/trace/tracer.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/trace/trace_timeline.h"
#include "runtime/trace/trace_reason.h"

namespace fiberscope::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kRunnable = 1, kRunning = 2, kBlocking = 3, kWaiting = 4;

// A thread that writes when it is told to.
class Player {
 public:
  explicit Player(uint64_t processor) : processor_{.number = processor, .state = {}}, thread_([this] { Run(); }) {}
  ~Player() {
    Do(nullptr);
    thread_.join();
  }

  // On its thread, in one section.
  void Do(std::function<void(TraceWriter&, TracedProcessor&)> what) {
    what_ = std::move(what);
    turn_.store(1);
    turn_.notify_all();
    turn_.wait(1);
  }

 private:
  void Run() {
    for (bool go_on = true; go_on;) {
      turn_.wait(0);
      go_on = what_ != nullptr;
      if (go_on) {
        TraceWriter writer(TraceThread::Current());
        what_(writer, processor_);
      }
      turn_.store(0);
      turn_.notify_all();
    }
  }

  TracedProcessor processor_;
  std::function<void(TraceWriter&, TracedProcessor&)> what_;
  std::atomic<int> turn_{0};
  std::thread thread_;
};

class TracerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Tracer> Start() {
    auto started = Tracer::Start({.for_each_fiber =
                                      [this](Tracer::Visit visit) {
                                        for (const auto& [id, fiber] : fibers_) visit(fiber, Traced::kWaiting);
                                      },
                                  .running_now = [] { return std::vector<TracedRunning>(); }});
    EXPECT_TRUE(started.ok()) << started.status();
    return *std::move(started);
  }

  const TracedFiber& Fiber(uint64_t id) {
    if (const auto known = fibers_.find(id); known != fibers_.end()) return known->second;
    states_.push_back(std::make_unique<TracedState>());
    return fibers_[id] = {id, states_.back().get(), 1000 + id};
  }

  // What the trace says at its beginning of each fiber: status and thread.
  static std::map<uint64_t, uint64_t> FirstStatuses(const TraceGenerations& generations) {
    const auto timeline = pprof::TraceTimeline::Make(generations);
    EXPECT_TRUE(timeline.ok()) << timeline.status();
    std::map<uint64_t, uint64_t> statuses;
    if (!timeline.ok()) return statuses;
    for (const pprof::TimelineEvent& each : timeline->events()) {
      if (each.type == TraceEvent::kFiberStatus) statuses[each.args[0]] = each.args[2];
    }
    return statuses;
  }

  std::map<uint64_t, TracedFiber> fibers_;
  std::vector<std::unique_ptr<TracedState>> states_;
};

TEST_F(TracerTest, ALaterTracerHearsOfFibersToWhichNothingHappens) {
  Fiber(1);
  const auto first = Start();
  (void)first->Next();

  const auto second = Start();
  const TraceGenerations heard = second->Stop();

  EXPECT_THAT(FirstStatuses(heard), ElementsAre(Pair(1, kWaiting)));
  ASSERT_EQ(heard.size(), 2u) << "what was before, and its own";
  ASSERT_EQ(heard.front()->stacks.size(), 1u);
  EXPECT_THAT(heard.front()->stacks[0].pcs, ElementsAre(1002)) << "one address within the entry function";
  EXPECT_EQ(heard.front()->statuses[0].stack, heard.front()->stacks[0].number);
}

TEST_F(TracerTest, ThreadsThatWriteNothingAreSaidToDoWhatTheyDo) {
  Player runs(0);
  Player blocks(1);
  Player idles(2);
  const auto first = Start();
  const auto start = [this](uint64_t id) {
    return [this, id](TraceWriter& writer, TracedProcessor& processor) {
      writer.FiberCreate(processor, {}, Fiber(id), 0);
      writer.FiberStart(processor, Fiber(id));
    };
  };
  runs.Do(start(1));
  blocks.Do(start(2));
  idles.Do(start(3));
  blocks.Do([this](TraceWriter& writer, TracedProcessor& processor) { writer.BlockingBegin(processor, Fiber(2), 0); });
  idles.Do([this](TraceWriter& writer, TracedProcessor& processor) {
    writer.FiberBlock(processor, Fiber(3), kUnknownTraceReason, 0);
  });
  (void)first->Next();

  const auto second = Start();
  const TraceGenerations heard = second->Next();
  // 2 has kept its processor, and so seems to begin its call now.
  EXPECT_THAT(FirstStatuses(heard), ElementsAre(Pair(1, kRunning), Pair(2, kRunning), Pair(3, kWaiting)));

  // And what they do then fits.
  runs.Do([this](TraceWriter& writer, TracedProcessor& processor) {
    writer.FiberUnblock(Fiber(3), 0);
    writer.FiberStop(processor, Fiber(1), kYieldTraceReason, 0);
    writer.FiberStart(processor, Fiber(3));
  });
  blocks.Do([this](TraceWriter& writer, TracedProcessor& processor) { writer.BlockingEnd(processor, Fiber(2)); });
  TraceGenerations all = heard;
  for (const auto& each : second->Stop()) all.push_back(each);
  EXPECT_THAT(FirstStatuses(all), ElementsAre(Pair(1, kRunning), Pair(2, kRunning), Pair(3, kWaiting)));
}

// The processor of a call that goes on may be lost before the trace, in its first generation, or later.
TEST_F(TracerTest, ACallThatLosesItsProcessor) {
  for (const int lost_in : {0, 1, 2}) {
    SCOPED_TRACE(lost_in);
    Player blocks(0);
    Player steals(1);
    const uint64_t id = 100 + static_cast<uint64_t>(lost_in);
    TracedProcessor* processor = nullptr;
    uint64_t thread = 0;
    TraceThread* record = nullptr;
    const auto recorder = Start();
    blocks.Do([&](TraceWriter& writer, TracedProcessor& has) {
      processor = &has;
      record = TraceThread::Current();
      thread = record->id();
      writer.FiberCreate(has, {}, Fiber(id), 0);
      writer.FiberStart(has, Fiber(id));
      writer.BlockingBegin(has, Fiber(id), 0);
    });
    const auto steal = [&] {
      steals.Do([&](TraceWriter& writer, TracedProcessor&) { writer.ProcessorSteal(*processor, thread, record); });
    };
    recorder->Cut();
    if (lost_in == 0) steal();
    const auto trace = Start();
    if (lost_in == 1) steal();
    TraceGenerations all = trace->Next();
    if (lost_in == 2) steal();
    blocks.Do([&](TraceWriter& writer, TracedProcessor&) { writer.BlockingEndLost(nullptr, Fiber(id)); });
    for (const auto& each : trace->Stop()) all.push_back(each);
    EXPECT_THAT(FirstStatuses(all), ElementsAre(Pair(id, lost_in == 0 ? kBlocking : kRunning)));
    recorder->Trim(UINT64_MAX, std::chrono::nanoseconds(0));
    (void)FirstStatuses(recorder->Look());
    fibers_.clear();
  }
}

TEST_F(TracerTest, AThreadThatWritesInTheFirstGenerationSpeaksForItself) {
  Player player(0);
  const auto first = Start();
  player.Do([this](TraceWriter& writer, TracedProcessor& processor) {
    writer.FiberCreate(processor, {}, Fiber(1), 0);
    writer.FiberStart(processor, Fiber(1));
  });
  const auto second = Start();
  player.Do([this](TraceWriter& writer, TracedProcessor& processor) {
    writer.FiberBlock(processor, Fiber(1), kUnknownTraceReason, 0);
  });
  EXPECT_THAT(FirstStatuses(second->Stop()), ElementsAre(Pair(1, kRunning)));
}

TEST_F(TracerTest, WhatIsLeftOfThePastBeginsWithEveryFiber) {
  Player worker(0);
  Player sleeper(1);
  const auto tracer = Start();
  const auto create = [this](uint64_t id) {
    return [this, id](TraceWriter& writer, TracedProcessor& processor) { writer.FiberCreate(processor, {}, Fiber(id), 0); };
  };
  for (const uint64_t id : {1, 2, 3, 4}) worker.Do(create(id));
  sleeper.Do([this](TraceWriter& writer, TracedProcessor& processor) {
    writer.FiberStart(processor, Fiber(2));
    writer.BlockingBegin(processor, Fiber(2), 0);
  });
  tracer->Cut();
  tracer->Trim(UINT64_MAX, std::chrono::nanoseconds(0));
  worker.Do([this](TraceWriter& writer, TracedProcessor& processor) { writer.FiberStart(processor, Fiber(1)); });
  tracer->Cut();
  tracer->Trim(UINT64_MAX, std::chrono::nanoseconds(0));
  tracer->Cut();
  // Only here are fibers 2 and 3 mentioned again; 4 never is.
  sleeper.Do([this](TraceWriter& writer, TracedProcessor& processor) { writer.BlockingEnd(processor, Fiber(2)); });
  worker.Do([this](TraceWriter& writer, TracedProcessor& processor) {
    writer.FiberStop(processor, Fiber(1), kYieldTraceReason, 0);
    writer.FiberStart(processor, Fiber(3));
    writer.FiberDestroy(processor, Fiber(3));
  });
  const TraceGenerations all = tracer->Look();
  EXPECT_EQ(all.size(), 4u) << "what was before, two that are kept, and the look's own";
  EXPECT_THAT(FirstStatuses(all),
              UnorderedElementsAre(Pair(1, kRunnable), Pair(2, kRunning), Pair(3, kRunnable), Pair(4, kRunnable)));
  EXPECT_THAT(FirstStatuses(tracer->Look()), FirstStatuses(all)) << "looking changes nothing";
  tracer->Trim(0, std::chrono::nanoseconds(0));
  // 1 is runnable since it yielded, 2 runs again.
  EXPECT_THAT(FirstStatuses(tracer->Look()), UnorderedElementsAre(Pair(1, kRunnable), Pair(2, kRunning), Pair(4, kRunnable)));
}

TEST_F(TracerTest, TrimKeepsWhatIsYoungUnlessItIsTooMuch) {
  const auto tracer = Start();
  for (int i = 0; i < 5; ++i) tracer->Cut();
  tracer->Trim(UINT64_MAX, std::chrono::hours(1));
  EXPECT_EQ(tracer->Look().size(), 6u);
  {
    TracedProcessor processor{.number = 0, .state = {}};
    TraceWriter(TraceThread::Current()).ProcessorStart(processor);
  }
  tracer->Cut();
  tracer->Trim(3, std::chrono::hours(1));
  EXPECT_EQ(tracer->Look().size(), 3u) << "what was before, the last one, though it is more, and the look's own";
  tracer->Trim(UINT64_MAX, std::chrono::nanoseconds(0));
  EXPECT_EQ(tracer->Look().size(), 3u);
}

TEST_F(TracerTest, EveryTracerGetsWhatAnotherHasCut) {
  const auto first = Start();
  const auto second = Start();
  EXPECT_EQ(first->Next().size(), 2u) << "the one before the other came, and its own";
  EXPECT_EQ(second->Next().size(), 3u) << "what was before, too";
  EXPECT_EQ(second->Stop().size(), 1u);
  EXPECT_EQ(first->Stop().size(), 3u);
}

}  // namespace
}  // namespace fiberscope::internal
