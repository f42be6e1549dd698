#include "pprof/sources/threads_source.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "tests/testing/fake_symbolizer.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

using Outcome = ThreadSnapshot::Outcome;

ThreadSnapshot Captured(int thread_id, std::string name, char state, std::vector<uintptr_t> stack) {
  ThreadSnapshot thread;
  thread.thread_id = thread_id;
  thread.name = std::move(name);
  thread.state = state;
  thread.outcome = Outcome::kCaptured;
  thread.stack = std::move(stack);
  return thread;
}

class ThreadsSourceTest : public testing::Test {
 protected:
  ThreadsSourceTest()
      : source_(symbolizer_, {.capture_threads = [this] { return threads_; },
                              .thread_count = [this] { return static_cast<int64_t>(threads_.size()); },
                              .mappings = [] { return std::vector<Mapping>(); },
                              .now = std::chrono::system_clock::now}) {
    symbolizer_.Function(0x1000, 0x1100, {.function = "shop::Work()", .file = "/src/shop.cc", .line = 42});
    symbolizer_.Function(0x2000, 0x2100, {.function = "fiberscope::internal::Worker::Run()", .file = "/src/worker.cc", .line = 7});
    threads_ = {Captured(10, "work", 'S', {0x2011, 0x1021}), Captured(11, "work", 'S', {0x2011, 0x1021}),
                Captured(12, "a\"\n\xff", 'R', {0x1021}), ThreadSnapshot()};
    threads_[2].fiber = {17};
    threads_[2].end = UnwindEnd::kUnknownRegister;
    threads_[3].thread_id = 13;
    threads_[3].name = "spin";
    threads_[3].state = 'R';
    threads_[3].outcome = Outcome::kBlocksSignal;
  }

  std::string Text(int debug) {
    StringSink sink;
    EXPECT_TRUE(source_.WriteText(debug, sink).ok());
    return sink.text();
  }

  FakeSymbolizer symbolizer_;
  std::vector<ThreadSnapshot> threads_;
  ThreadsSource source_;
};

TEST_F(ThreadsSourceTest, PresentsItself) {
  EXPECT_EQ(source_.name(), "threads");
  EXPECT_EQ(source_.Count(), 4);
  EXPECT_EQ(source_.fibers(), nullptr);
}

TEST_F(ThreadsSourceTest, ADumpHasEveryThreadWithAllItsFramesOrTheReasonWhyNot) {
  EXPECT_EQ(Text(2),
            "thread 10 \"work\" [sleeping]:\n"
            "fiberscope::internal::Worker::Run(...)\n"
            "\t/src/worker.cc:7 +0x11\n"
            "shop::Work(...)\n"
            "\t/src/shop.cc:42 +0x21\n"
            "\n"
            "thread 11 \"work\" [sleeping]:\n"
            "fiberscope::internal::Worker::Run(...)\n"
            "\t/src/worker.cc:7 +0x11\n"
            "shop::Work(...)\n"
            "\t/src/shop.cc:42 +0x21\n"
            "\n"
            "thread 12 \"a\\\"\\n\\xff\" [running], running goroutine 17:\n"
            "shop::Work(...)\n"
            "\t/src/shop.cc:42 +0x21\n"
            "...outer frames unknown: the kernel does not tell all registers of a sleeping thread...\n"
            "\n"
            "thread 13 \"spin\" [running]:\n"
            "\tstack unavailable: the thread blocks the signal that asks for its stack\n");
}

TEST_F(ThreadsSourceTest, CountsAreByStackNameAndState) {
  const std::string text = Text(1);
  EXPECT_THAT(text, testing::StartsWith("threads profile: total 4\n"
                                        "2 @ 0x2011 0x1021\n"
                                        "# labels: {\"state\":\"sleeping\", \"thread\":\"work\"}\n"
                                        "#\t0x2010\tfiberscope::internal::Worker::Run+0x10"));
  EXPECT_THAT(text, testing::HasSubstr("1 @ 0x0\n# labels: {\"no_stack\":\"the thread blocks the signal that asks for its stack\", "
                                       "\"state\":\"running\", \"thread\":\"spin\"}\n"));
}

TEST_F(ThreadsSourceTest, TheProfileHasOneSampleForEachGroup) {
  const absl::StatusOr<Profile> profile = source_.Collect();
  ASSERT_TRUE(profile.ok());
  ASSERT_EQ(profile->sample_types.size(), 1u);
  EXPECT_EQ(profile->Text(profile->sample_types[0].type), "threads");
  EXPECT_EQ(profile->Text(profile->sample_types[0].unit), "count");
  ASSERT_EQ(profile->samples.size(), 3u);
  EXPECT_EQ(profile->samples[0].values[0], 2);
  ASSERT_EQ(profile->samples[0].labels.size(), 2u);
  EXPECT_EQ(profile->Text(profile->samples[0].labels[0].key), "state");
  EXPECT_EQ(profile->Text(profile->samples[0].labels[1].text), "work");
}

TEST_F(ThreadsSourceTest, AReaderThatLeavesEndsTheDump) {
  LeavingSink sink(10);
  EXPECT_FALSE(source_.WriteText(2, sink).ok());
  EXPECT_EQ(sink.refusals(), 1);
}

}  // namespace
}  // namespace fiberscope::pprof
