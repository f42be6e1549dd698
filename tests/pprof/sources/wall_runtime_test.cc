// The sampler over real fibers, with a clock that a test turns: each pass stands for 10 ms.
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/sources/wall.h"
#include "runtime/sync/channel.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope::pprof {
namespace {

using std::chrono_literals::operator""ms;

class WallRuntimeTest : public fiberscope::testing::RuntimeTest {
 protected:
  WallRuntimeTest() {
    inputs_ = ProcessWallInputs();
    inputs_.monotonic_now = [this] { return clock_; };
    inputs_.for_each_fiber = [this](const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit) {
      ++passes_;
      const FiberListing listing = ForEachFiber(options, [&](const FiberSnapshot& fiber) {
        ++listed_;
        return visit(fiber);
      });
      if (listing.is_one_instant) ++exact_passes_;
      return listing;
    };
  }

  void Pass(WallSampler& sampler, int times) {
    for (int i = 0; i < times; ++i) {
      clock_ += 10ms;
      sampler.Pass();
    }
  }

  struct Sum {
    int64_t samples = 0;
    int64_t time_ns = 0;
    bool operator==(const Sum&) const = default;
  };

  // By the values of the labels `who` and `state`: "waiter chan receive".
  std::map<std::string, Sum> Sums(const WallSampler& sampler) {
    const Profile profile = sampler.Build(*symbolizer_);
    std::map<std::string, Sum> sums;
    for (const Profile::Sample& sample : profile.samples) {
      std::string text;
      for (const Profile::Label& label : sample.labels) text += (text.empty() ? "" : " ") + profile.Text(label.text);
      Sum& sum = sums[text];
      sum.samples += sample.values[0];
      sum.time_ns += sample.values[1];
      EXPECT_FALSE(sample.stack.empty());
    }
    return sums;
  }

  const std::unique_ptr<Symbolizer> symbolizer_ = MakeProcessSymbolizer();
  int passes_ = 0;
  int exact_passes_ = 0;  // of one instant
  int64_t listed_ = 0;
  std::chrono::nanoseconds clock_{0};
  WallInputs inputs_;
};

TEST_P(WallRuntimeTest, EveryFiberCountsWithTheWholeTimeWhateverItDoes) {
  constexpr int kPasses = 50;
  Channel<int> channel(0);
  std::atomic<bool> done = false;
  const Fiber waiter = scheduler().Spawn([&channel] { (void)channel.Receive(); }, {.labels = Labels{{"a", "waiter"}}});
  AwaitState(waiter, FiberState::kWaiting);
  const Labels sleepers{{"a", "sleeper"}};
  const Fiber sleeper = scheduler().Spawn([] { this_fiber::SleepFor(std::chrono::hours(1)); }, {.labels = sleepers});
  AwaitState(sleeper, FiberState::kWaiting);
  const Fiber runner = scheduler().Spawn(
      [&done] {
        while (!done) {
        }
      },
      {.labels = Labels{{"a", "runner"}}});
  AwaitState(runner, FiberState::kRunning);

  WallSampler sampler({}, inputs_);
  Pass(sampler, kPasses);
  const Sum all{kPasses, kPasses * 10'000'000};
  const std::map<std::string, Sum> expected = {{"runner running", all}, {"sleeper sleep", all}, {"waiter chan receive", all}};
  EXPECT_EQ(Sums(sampler), expected);

  done = true;
  runner.Join();
  RunInFiber([&channel] { (void)channel.Send(1); });
  waiter.Join();
  Pass(sampler, 1);
  std::map<std::string, Sum> later = expected;
  later["sleeper sleep"] = {kPasses + 1, (kPasses + 1) * 10'000'000};
  EXPECT_EQ(Sums(sampler), later);
}

// Fibers that switch and wander all the time are in every look of one instant exactly once, and in another one at most once.
TEST_P(WallRuntimeTest, RestlessFibersCountOncePerPass) {
  constexpr int kFibers = 20, kPasses = 200;
  std::atomic<bool> done = false;
  std::vector<Fiber> fibers;
  for (int i = 0; i < kFibers; ++i) {
    fibers.push_back(scheduler().Spawn(
        [&done, i] {
          while (!done) {
            if (i % 2 == 0) this_fiber::Yield();
            if (i % 2 == 1) this_fiber::SleepFor(std::chrono::microseconds(20));
          }
        },
        {.labels = Labels{{"a", "restless"}}}));
  }
  WallSampler sampler({}, inputs_);
  Pass(sampler, kPasses);
  done = true;
  for (const Fiber& fiber : fibers) fiber.Join();
  Sum all;
  for (const auto& [who, sum] : Sums(sampler)) {
    EXPECT_TRUE(who.starts_with("restless ")) << who;
    all.samples += sum.samples;
    all.time_ns += sum.time_ns;
  }
  EXPECT_EQ(all, (Sum{listed_, listed_ * 10'000'000}));
  EXPECT_LE(listed_, kFibers * passes_);
  EXPECT_GE(listed_, kFibers * exact_passes_);
}

INSTANTIATE_TEST_SUITE_P(Processors, WallRuntimeTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope::pprof
