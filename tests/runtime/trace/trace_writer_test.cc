// The rules by which a trace stays readable, one by one, without a scheduler: the test plays one. What real schedulers write is
// judged by Go's own reader, in tests/conformance/trace_test.sh.
#include "runtime/trace/trace_writer.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/trace/trace_reason.h"
#include "runtime/trace/tracer.h"
#include "tests/testing/trace_events.h"

namespace fiberscope::internal {
namespace {

using testing::DecodedEvent;
using Event = TraceEvent;

// "FiberStart 7 1": type by number, then arguments but for stacks.
std::string Text(const DecodedEvent& event) {
  std::string text = std::to_string(static_cast<int>(event.type));
  for (const uint64_t each : event.arguments) text += " " + (each == kNoTraceThread ? "-" : std::to_string(each));
  return text;
}

class TraceWriterTest : public ::testing::Test {
 protected:
  void Start() {
    const auto for_each_fiber = [this](Tracer::Visit visit) {
      for (const auto& [fiber, state] : swept_) visit(fiber, state);
    };
    auto started = Tracer::Start({.for_each_fiber = for_each_fiber, .running_now = [this] { return running_; }});
    ASSERT_TRUE(started.ok()) << started.status();
    tracer_ = *std::move(started);
  }

  // What this thread wrote, and the sweep.
  static std::vector<std::string> TextsOf(const TraceGeneration& generation) {
    std::vector<std::string> texts;
    for (const DecodedEvent& each : testing::Decode(generation)) texts.push_back(Text(each));
    for (const TraceStatus& each : generation.statuses) {
      const bool waits = each.status == TraceFiberStatus::kWaiting;
      texts.push_back("fiber " + std::to_string(each.fiber) + (waits ? " waits" : " is runnable"));
    }
    return texts;
  }
  std::vector<std::string> Next() { return TextsOf(testing::Only(tracer_->Next())); }
  std::vector<std::string> Stop() { return TextsOf(testing::Only(tracer_->Stop())); }

  TracedFiber Fiber(uint64_t id) {
    states_.push_back(std::make_unique<TracedState>());
    return {id, states_.back().get(), 0};
  }

  std::vector<std::pair<TracedFiber, Traced>> swept_;
  std::vector<TracedRunning> running_;
  std::vector<std::unique_ptr<TracedState>> states_;
  TracedProcessor processor_{.number = 3, .state = {}};
  std::unique_ptr<Tracer> tracer_;
};

using Texts = std::vector<std::string>;

// The status of the fiber that runs names its thread, which differs from run to run.
void ForgetThreads(Texts& texts) {
  for (std::string& each : texts) {
    if (each.rfind("25 ", 0) == 0 && each.find(" - ") == std::string::npos) {
      each = each.substr(0, each.find(' ', 3)) + " T " + each.substr(each.rfind(' ') + 1);
    }
  }
}

TEST_F(TraceWriterTest, ALifeFromSpawnToEnd) {
  Start();
  const TracedFiber fiber = Fiber(7);
  {
    TraceWriter writer(TraceThread::Current());
    writer.FiberCreate(processor_, {}, fiber, 0);
    writer.FiberStart(processor_, fiber);
    writer.FiberBlock(processor_, fiber, 5, 0);
    writer.FiberUnblock(fiber, 0);
    writer.FiberStart(processor_, fiber);
    writer.FiberStop(processor_, fiber, kYieldTraceReason, 0);
    writer.FiberStart(processor_, fiber);
    writer.FiberDestroy(processor_, fiber);
    writer.ProcessorStop();
  }
  Texts texts = Stop();
  // Creation names the entry function's stack, of address 1.
  ASSERT_GE(texts.size(), 2u);
  EXPECT_EQ(texts[1].substr(0, 5), "14 7 ");
  texts.erase(texts.begin() + 1);
  EXPECT_EQ(texts, (Texts{"13 3 1", "16 7 1", "9 0 0", "20 5 0", "21 7 2 0", "16 7 3", "19 90 0", "16 7 4", "17", "11"}));
}

TEST_F(TraceWriterTest, AFiberThatRanBeforeTheTraceIsSaidToRun) {
  Start();
  const TracedFiber fiber = Fiber(7);
  { TraceWriter(TraceThread::Current()).FiberBlock(processor_, fiber, 5, 0); }
  Texts texts = Stop();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 T 2", "20 5 0"}));
}

TEST_F(TraceWriterTest, TheFirstGenerationNamesAllFibersOnce) {
  Start();
  const TracedFiber waits = Fiber(1);
  const TracedFiber runnable = Fiber(2);
  const TracedFiber blocks = Fiber(3);
  const TracedFiber woken = Fiber(4);
  swept_ = {{waits, Traced::kWaiting}, {runnable, Traced::kRunnable}, {blocks, Traced::kBlocking}, {woken, Traced::kRunnable}};
  { TraceWriter(TraceThread::Current()).FiberUnblock(woken, 0); }
  EXPECT_EQ(Next(), (Texts{"25 4 - 4", "21 4 1 0", "fiber 1 waits", "fiber 2 is runnable", "fiber 3 waits"}));
  EXPECT_EQ(Stop(), Texts());
}

TEST_F(TraceWriterTest, ALaterGenerationBeginsWithWhatTheThreadHasAndNumbersAnew) {
  Start();
  const TracedFiber fiber = Fiber(7);
  const TracedFiber other = Fiber(8);
  { TraceWriter(TraceThread::Current()).FiberBlock(processor_, other, 5, 0); }
  { TraceWriter(TraceThread::Current()).FiberStart(processor_, fiber); }
  Next();
  { TraceWriter(TraceThread::Current()).FiberUnblock(other, 0); }
  Texts texts = Stop();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 T 2", "25 8 - 4", "21 8 1 0"}));
}

// A thread that saw no trace yet may move a fiber after the sweep has named it: the trace is told what must have happened.
TEST_F(TraceWriterTest, WhatHappenedUnseenIsSupplied) {
  Start();
  const TracedFiber fiber = Fiber(7);
  swept_ = {{fiber, Traced::kWaiting}};
  const TracedFiber other = Fiber(8);
  { TraceWriter(TraceThread::Current()).FiberUnblock(other, 0); }
  Next();
  { TraceWriter(TraceThread::Current()).FiberBlock(processor_, fiber, 5, 0); }
  Texts texts = Next();
  // It was woken and started.
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 - 4", "21 7 1 0", "16 7 2", "20 5 0"}));
  // Another fiber than the trace knows runs: the one before must have let go.
  { TraceWriter(TraceThread::Current()).FiberStart(processor_, other); }
  const TracedFiber third = Fiber(9);
  { TraceWriter(TraceThread::Current()).FiberStop(processor_, third, kYieldTraceReason, 0); }
  texts = Stop();
  ASSERT_EQ(texts.size(), 8u);
  EXPECT_EQ(texts[4], "19 91 0");
  EXPECT_EQ(texts[5].substr(0, 5), "14 9 ");  // not known to the first generation: as if it were new
  EXPECT_EQ(texts[6], "16 9 1");
  EXPECT_EQ(texts[7], "19 90 0");
}

TEST_F(TraceWriterTest, WhatCannotFitIsLeftOutAndCounted) {
  Start();
  const TracedFiber fiber = Fiber(7);
  { TraceWriter(TraceThread::Current()).FiberStart(processor_, fiber); }
  const uint64_t dropped = DroppedTraceEvents();
  std::thread([&] { TraceWriter(TraceThread::Current()).FiberStart(processor_, fiber); }).join();
  std::thread([&] { TraceWriter(TraceThread::Current()).FiberUnblock(fiber, 0); }).join();
  EXPECT_EQ(DroppedTraceEvents(), dropped + 2);
  for (const DecodedEvent& each : testing::Decode(testing::Only(tracer_->Stop()))) EXPECT_NE(each.type, Event::kFiberUnblock);
}

TEST_F(TraceWriterTest, ABlockingCallThatKeepsItsProcessor) {
  Start();
  const TracedFiber fiber = Fiber(7);
  { TraceWriter(TraceThread::Current()).BlockingBegin(processor_, fiber, 0); }
  Next();
  { TraceWriter(TraceThread::Current()).BlockingEnd(processor_, fiber); }
  Texts texts = Stop();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"25 7 T 3", "13 3 3", "23"}));
}

TEST_F(TraceWriterTest, ABlockingCallThatLosesItsProcessorToTheMonitor) {
  Start();
  const TracedFiber fiber = Fiber(7);
  { TraceWriter(TraceThread::Current()).BlockingBegin(processor_, fiber, 0); }
  Next();
  std::thread([&] { TraceWriter(TraceThread::Current()).ProcessorSteal(processor_, 42); }).join();
  { TraceWriter(TraceThread::Current()).BlockingEndLost(nullptr, fiber); }
  { TraceWriter(TraceThread::Current()).FiberStart(processor_, fiber); }
  Texts texts = Stop();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"25 7 T 3", "24", "10 3 2", "16 7 1", "9 0 0", "13 3 4", "12 3 1 42"}));
}

TEST_F(TraceWriterTest, AHandOffStopsTheProcessorOnItsThread) {
  Start();
  const TracedFiber fiber = Fiber(7);
  TracedProcessor another{.number = 4, .state = {}};
  {
    TraceWriter writer(TraceThread::Current());
    writer.BlockingBegin(processor_, fiber, 0);
    writer.BlockingHandOff(processor_);
    writer.BlockingEndLost(&another, fiber);
  }
  Texts texts = Stop();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 T 2", "22 1 0", "11", "24", "13 4 1", "16 7 1"}));
}

// Of a spawn by a thread that has no processor: the worker that gets the fiber writes it.
TEST_F(TraceWriterTest, AForeignSpawnIsACreationWhereItArrives) {
  Start();
  const TracedFiber fiber = Fiber(7);
  std::thread([&] { TraceWriter(TraceThread::Current()).FiberBorn(fiber); }).join();
  swept_ = {{fiber, Traced::kRunnable}};
  Next();
  { TraceWriter(TraceThread::Current()).FiberArrived(processor_, fiber); }
  const Texts texts = Stop();
  ASSERT_EQ(texts.size(), 2u);
  EXPECT_EQ(texts[1].substr(0, 5), "14 7 ");
}

TEST_F(TraceWriterTest, AFiberThatRunsAllTheWhileIsSaidToRun) {
  const TracedFiber fiber = Fiber(7);
  running_ = {{TraceThread::Current(), &processor_, fiber, 1}};
  Start();
  Texts texts = Next();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 T 2"}));
  EXPECT_EQ(Next(), Texts());
  { TraceWriter(TraceThread::Current()).FiberBlock(processor_, fiber, 5, 0); }
  texts = Stop();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 T 2", "20 5 0"}));
}

TEST_F(TraceWriterTest, OneThatHasLetGoMeanwhileSpeaksForItself) {
  const TracedFiber fiber = Fiber(7);
  running_ = {{TraceThread::Current(), &processor_, fiber, 1}};
  Start();
  running_[0].slice = 3;
  EXPECT_EQ(Next(), Texts());
  tracer_.reset();
  Start();
  { TraceWriter(TraceThread::Current()).FiberBlock(processor_, fiber, 5, 0); }
  Texts texts = Stop();  // though it runs the same slice as far as the tracer sees
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 T 2", "20 5 0"}));
}

// It lets go without a word, because its thread has looked whether there is a trace before there was one, and the first generation
// is over before it goes on.
TEST_F(TraceWriterTest, OneThatHasLetGoUnseenIsNotNewToTheTrace) {
  const TracedFiber fiber = Fiber(7);
  running_ = {{TraceThread::Current(), &processor_, fiber, 1}};
  Start();
  Next();
  std::thread([&] {
    TracedProcessor another{.number = 4, .state = {}};
    TraceWriter writer(TraceThread::Current());
    writer.ProcessorStart(another);
    writer.FiberUnblock(fiber, 0);
    writer.FiberStart(another, fiber);   // left out
    writer.ProcessorStart(processor_);   // left out
    writer.ProcessorStop();
  }).join();
  EXPECT_EQ(Next(), (Texts{"13 4 1", "11"}));
  // Its thread is heard of again, and so it is there.
  { TraceWriter(TraceThread::Current()).FiberStart(processor_, Fiber(8)); }
  { TraceWriter(TraceThread::Current()).FiberStart(processor_, fiber); }
  Texts texts = Stop();
  ForgetThreads(texts);
  ASSERT_EQ(texts.size(), 8u);
  EXPECT_EQ(texts[1], "25 7 T 2");
  EXPECT_EQ(texts[2], "19 91 0");
  EXPECT_EQ(texts[3].substr(0, 5), "14 8 ");
  EXPECT_EQ(texts[7], "16 7 1");
}

TEST_F(TraceWriterTest, WhatAnotherThreadRunsIsNotForThisOneToName) {
  Start();
  const TracedFiber fiber = Fiber(7);
  { TraceWriter(TraceThread::Current()).FiberStart(processor_, fiber); }
  Next();
  const uint64_t dropped = DroppedTraceEvents();
  std::thread([&] { TraceWriter(TraceThread::Current()).FiberUnblock(fiber, 0); }).join();
  EXPECT_EQ(DroppedTraceEvents(), dropped + 1);
  EXPECT_EQ(Next(), Texts());
  { TraceWriter(TraceThread::Current()).FiberBlock(processor_, fiber, 5, 0); }
  Texts texts = Stop();
  ForgetThreads(texts);
  EXPECT_EQ(texts, (Texts{"13 3 1", "25 7 T 2", "20 5 0"}));
}

TEST_F(TraceWriterTest, LongTracesAreCutIntoBatchesOfTheirOwnTime) {
  Start();
  const TracedFiber fiber = Fiber(7);
  constexpr int kRounds = 20'000;
  for (int i = 0; i < kRounds; ++i) {
    TraceWriter writer(TraceThread::Current());
    writer.FiberStop(processor_, fiber, kYieldTraceReason, 0);
    writer.FiberStart(processor_, fiber);
  }
  const TraceGeneration last = testing::Only(tracer_->Stop());
  EXPECT_GT(last.batches.size(), 3u);
  uint64_t starts = 0;
  uint64_t before = 0;
  for (const DecodedEvent& each : testing::Decode(last)) {
    EXPECT_GE(each.time, before);
    before = each.time;
    if (each.type != Event::kFiberStart) continue;
    EXPECT_EQ(each.arguments[1], ++starts);
  }
  EXPECT_EQ(starts, uint64_t{kRounds});
}

TEST_F(TraceWriterTest, TracingEndsWithTheLastTracer) {
  Start();
  const std::unique_ptr<Tracer> first = std::move(tracer_);
  Start();
  EXPECT_TRUE(TraceOn());
  tracer_.reset();
  EXPECT_TRUE(TraceOn());
  (void)first->Stop();
  EXPECT_FALSE(TraceOn());
}

}  // namespace
}  // namespace fiberscope::internal
