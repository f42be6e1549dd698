// The source over real fibers. That stacks are right is the unwinder's test, that names are is the symbolizer's; here
// the three forms must list the same fibers, while some of them run.
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "pprof/sources/goroutine_source.h"
#include "runtime/registry.h"
#include "tests/testing/fake_symbolizer.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope::pprof {
namespace {

using ::testing::StartsWith;

class GoroutineRuntimeTest : public fiberscope::testing::RuntimeTest {
 protected:
  GoroutineRuntimeTest()
      : source_(symbolizer_, {.for_each_fiber = ForEachFiber,
                              .fiber_count = FiberCount,
                              .mappings = [] { return std::vector<Mapping>(); },
                              .now = std::chrono::system_clock::now}) {}

  std::string Text(int debug) {
    StringSink sink;
    EXPECT_TRUE(source_.WriteText(debug, sink).ok());
    return sink.text();
  }

  static int Occurrences(const std::string& text, const std::string& what) {
    int count = 0;
    for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++count;
    return count;
  }

  FakeSymbolizer symbolizer_;
  GoroutineSource source_;
};

TEST_P(GoroutineRuntimeTest, AllFormsListEveryFiberWhateverItIsDoing) {
  constexpr int kSleeping = 100;
  for (int i = 0; i < kSleeping; ++i) {
    const Fiber sleeper = scheduler().Spawn([] { this_fiber::SleepFor(std::chrono::hours(1)); }, {.name = "sleeper"});
    AwaitState(sleeper, FiberState::kWaiting);
  }
  std::atomic<bool> done = false;
  const Fiber running = scheduler().Spawn([&done] {
    while (!done) {
    }
  });
  AwaitState(running, FiberState::kRunning);
  const bool has_queued = GetParam() == 1;  // the only processor is taken
  if (has_queued) scheduler().Spawn([] {}, {.labels = Labels{{"state", "queued"}}});
  const int fibers = kSleeping + 1 + has_queued;

  EXPECT_EQ(source_.Count(), fibers);
  const absl::StatusOr<Profile> profile = source_.Collect();
  ASSERT_TRUE(profile.ok());
  int64_t total = 0;
  for (const Profile::Sample& sample : profile->samples) {
    total += sample.values[0];
    EXPECT_FALSE(sample.stack.empty());
  }
  EXPECT_EQ(total, fibers);
  EXPECT_LE(profile->samples.size(), 10u) << "sleepers differ in what they did before, if at all";
  EXPECT_THAT(Text(1), StartsWith("goroutine profile: total " + std::to_string(fibers) + "\n"));
  const std::string dump = Text(2);
  EXPECT_EQ(Occurrences(dump,
                        " [sleep] {name: sleeper}:\n?"
                        "?(...)\n"),
            kSleeping);
  // Its thread may get no CPU before the dump's patience is at an end.
  const int without_stack = Occurrences(dump, " [running]:\n\tgoroutine running on other thread; stack unavailable\ncreated by ");
  const int with_stack = Occurrences(dump, " [running]:\n?""?(...)\n");
  EXPECT_EQ(without_stack + with_stack, 1);
  EXPECT_EQ(Occurrences(dump, " [runnable] {state: queued}:\n"), has_queued ? 1 : 0);
  EXPECT_EQ(Occurrences(dump, "\ncreated by "), fibers);
  done = true;
  running.Join();
}

INSTANTIATE_TEST_SUITE_P(Processors, GoroutineRuntimeTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope::pprof
