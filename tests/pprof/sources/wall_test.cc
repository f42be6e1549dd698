// The sampler over fibers that a test defines and a clock that a test turns: what adds up to what.
#include "pprof/sources/wall.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

class WallTest : public testing::Test {
 protected:
  WallInputs Inputs() {
    const GoroutineInputs shop = shop_.Inputs();
    return {.for_each_fiber =
                [this, all = shop.for_each_fiber](const RegistryOptions& options, auto visit) {
                  EXPECT_TRUE(options.stacks);
                  EXPECT_TRUE(options.one_instant);
                  ++passes_;
                  clock_ += cost_;
                  all(options, visit);
                  return FiberListing{.is_one_instant = why_not_.empty(), .why_not = why_not_};
                },
            .monotonic_now = [this] { return clock_; },
            .now = shop.now,
            .mappings = shop.mappings};
  }

  static TestFiber Fiber(FiberState state, WaitReason reason, std::vector<uintptr_t> stack, std::vector<Label> labels = {}) {
    TestFiber fiber;
    fiber.snapshot.state = state;
    fiber.snapshot.wait_reason = reason;
    fiber.snapshot.entry_pc = Shop::kWorkerEntry;
    fiber.stack = std::move(stack);
    fiber.labels = std::move(labels);
    return fiber;
  }

  Profile Sample(const WallOptions& options, std::chrono::nanoseconds duration) {
    absl::StatusOr<Profile> profile = SampleWall(
        options, duration, shop_.symbolizer(),
        [this](std::chrono::nanoseconds time) {
          clock_ += time;
          return absl::OkStatus();
        },
        Inputs());
    EXPECT_TRUE(profile.ok());
    return *std::move(profile);
  }

  // "root ... leaf {key=value}": samples and time.
  static std::map<std::string, std::pair<int64_t, int64_t>> Describe(const Profile& profile) {
    std::map<std::string, std::pair<int64_t, int64_t>> samples;
    for (const Profile::Sample& sample : profile.samples) {
      std::string text;
      for (auto id = sample.stack.rbegin(); id != sample.stack.rend(); ++id) {
        const std::vector<Profile::Line>& lines = profile.Get(*id).lines;
        for (auto line = lines.rbegin(); line != lines.rend(); ++line) {
          text += ShortFunctionName(profile.Text(profile.Get(line->function).name)) + " ";
        }
      }
      text += "{";
      for (const Profile::Label& label : sample.labels) text += " " + profile.Text(label.key) + "=" + profile.Text(label.text);
      EXPECT_TRUE(samples.try_emplace(text + " }", sample.values.at(0), sample.values.at(1)).second) << text << " twice";
    }
    return samples;
  }

  static std::vector<std::string> Comments(const Profile& profile) {
    std::vector<std::string> texts;
    for (const Profile::StringId comment : profile.comments) texts.emplace_back(profile.Text(comment));
    return texts;
  }

  Shop shop_;
  std::chrono::nanoseconds clock_ = 1000s;
  std::chrono::nanoseconds cost_ = 0ns;  // of a pass
  int passes_ = 0;
  std::string_view why_not_;  // not of one instant; "": it is
};

TEST_F(WallTest, IsLikeFgprofs) {
  shop_.fibers() = {Fiber(FiberState::kRunning, WaitReason::kNone, {Shop::kWorker})};
  const Profile profile = Sample({.hz = 100}, 2s);
  ASSERT_THAT(profile.sample_types, SizeIs(2));
  EXPECT_EQ(profile.Text(profile.sample_types[0].type) + "/" + profile.Text(profile.sample_types[0].unit), "samples/count");
  EXPECT_EQ(profile.Text(profile.sample_types[1].type) + "/" + profile.Text(profile.sample_types[1].unit), "time/nanoseconds");
  EXPECT_EQ(profile.Text(profile.period_type.type) + "/" + profile.Text(profile.period_type.unit), "wall/nanoseconds");
  EXPECT_EQ(profile.period, 10'000'000);
  EXPECT_EQ(profile.time, shop_.Inputs().now());
  EXPECT_EQ(profile.duration, 2s);
  EXPECT_THAT(Describe(profile), ElementsAre(Pair("shop::Worker { state=running }", Pair(200, 2'000'000'000))));
  EXPECT_EQ(passes_, 200);
  EXPECT_THAT(Comments(profile), ElementsAre("200 looks at all goroutines in 2.00 s, 100 per second asked for; one took 0 us, "
                                             "together they took 0.0 % of the time"));
}

TEST_F(WallTest, AFiberThatLivesAllTheWhileAddsUpToTheDurationHoweverUnevenThePassesAre) {
  shop_.fibers() = {Fiber(FiberState::kWaiting, WaitReason::kIo, {Shop::kProcess})};
  WallSampler sampler({}, Inputs());
  for (const auto gap : {1ms, 70ms, 2ms, 500ms}) {
    clock_ += gap;
    sampler.Pass();
    EXPECT_EQ(sampler.last_pass(), clock_);
    shop_.fibers()[0].snapshot.wait_reason = WaitReason::kSleep;  // from the second pass on
  }
  clock_ += 3600s;  // nobody has looked
  const Profile profile = sampler.Build(shop_.symbolizer());
  EXPECT_EQ(profile.duration, 573ms);
  EXPECT_THAT(Describe(profile), ElementsAre(Pair("shop::(anonymous)::Process<...> { state=IO wait }", Pair(1, 1'000'000)),
                                             Pair("shop::(anonymous)::Process<...> { state=sleep }", Pair(3, 572'000'000))));
}

TEST_F(WallTest, FibersCountWhileTheyLive) {
  WallSampler sampler({}, Inputs());
  const TestFiber fiber = Fiber(FiberState::kBlocking, WaitReason::kNone, {Shop::kWorker});
  for (const int alive : {0, 3, 1, 0}) {
    clock_ += 10ms;
    shop_.fibers() = std::vector<TestFiber>(alive, fiber);
    sampler.Pass();
  }
  EXPECT_THAT(Describe(sampler.Build(shop_.symbolizer())),
              ElementsAre(Pair("shop::Worker { state=syscall }", Pair(4, 40'000'000))));
}

TEST_F(WallTest, SamplesCarryLabelsAndStates) {
  shop_.fibers() = {
      Fiber(FiberState::kRunnable, WaitReason::kNone, {Shop::kWorker}, {{"route", "/orders"}, {"tenant", "\xff"}}),
      Fiber(FiberState::kWaiting, WaitReason::kChannelReceive, {Shop::kWorker}, {{"route", "/orders"}}),
      Fiber(FiberState::kWaiting, WaitReason::kChannelReceive, {Shop::kWorker}, {{"route", "/orders"}}),
      Fiber(FiberState::kWaiting, WaitReason::kMutexLock, {Shop::kWorker}),
  };
  WallSampler sampler({}, Inputs());
  clock_ += 1ms;
  sampler.Pass();
  EXPECT_THAT(Describe(sampler.Build(shop_.symbolizer())),
              ElementsAre(Pair("shop::Worker { route=/orders state=chan receive }", Pair(2, 2'000'000)),
                          Pair("shop::Worker { route=/orders tenant=\\xff state=runnable }", Pair(1, 1'000'000)),
                          Pair("shop::Worker { state=sync.Mutex.Lock }", Pair(1, 1'000'000))));
}

TEST_F(WallTest, StacksAreShownWithoutTheirRootsAndThoseWithoutOneAtTheirEntry) {
  shop_.fibers() = {
      Fiber(FiberState::kRunning, WaitReason::kNone, {Shop::kWorker, Shop::kRunWorker, Shop::kTrampoline}),
      Fiber(FiberState::kRunning, WaitReason::kNone, {Shop::kWorker, Shop::kFiberMain}),
      Fiber(FiberState::kRunning, WaitReason::kNone, {}),
  };
  const Profile profile = Sample({.hz = 1}, 1s);
  ASSERT_THAT(profile.samples, SizeIs(2));
  EXPECT_THAT(profile.samples[0].values, ElementsAre(2, 2'000'000'000));
  EXPECT_THAT(profile.samples[0].stack, SizeIs(1));
  EXPECT_THAT(profile.samples[1].stack, SizeIs(1));
  EXPECT_EQ(profile.Get(profile.samples[1].stack[0]).address, Shop::kWorkerEntry);
}

TEST_F(WallTest, TheSamePassesAreTheSameProfile) {
  const Profile first = Sample({}, 1s);
  std::reverse(shop_.fibers().begin(), shop_.fibers().end());
  clock_ = 1000s;
  EXPECT_EQ(first, Sample({}, 1s));
  EXPECT_THAT(first.samples, SizeIs(5));
}

// A pass of 5 ms may happen every 500 ms; the first, which is always slower, does not count. So: after 10 ms, 20 ms, then every
// 500 ms, the last time at the end.
TEST_F(WallTest, PassesTakeAHundredthOfTheTimeAndNothingIsLostByThat) {
  cost_ = 5ms;
  shop_.fibers() = {Fiber(FiberState::kRunning, WaitReason::kNone, {Shop::kWorker})};
  const Profile profile = Sample({.hz = 100}, 10s);
  EXPECT_EQ(passes_, 22);
  EXPECT_EQ(profile.duration, 10s);
  EXPECT_THAT(Describe(profile), ElementsAre(Pair("shop::Worker { state=running }", Pair(22, 10'000'000'000))));
  EXPECT_THAT(Comments(profile), ElementsAre("22 looks at all goroutines in 10.00 s, 100 per second asked for; one took 5000 us, "
                                             "together they took 1.1 % of the time"));
}

TEST_F(WallTest, SlowPassesStillEndInTime) {
  cost_ = 30s;
  shop_.fibers() = {Fiber(FiberState::kRunning, WaitReason::kNone, {Shop::kWorker})};
  const Profile profile = Sample({}, 1s);
  EXPECT_EQ(passes_, 2);
  EXPECT_EQ(Describe(profile)["shop::Worker { state=running }"].second, profile.duration.count());
}

TEST_F(WallTest, NoFibersAreAnEmptyProfile) {
  shop_.fibers().clear();
  const Profile profile = Sample({.hz = 1000}, 1s);
  EXPECT_EQ(passes_, 1000);
  EXPECT_THAT(profile.samples, IsEmpty());
  EXPECT_THAT(profile.sample_types, SizeIs(2));
  EXPECT_EQ(profile.duration, 1s);
}

TEST_F(WallTest, SaysWhenItIsNotOfOneInstant) {
  WallSampler sampler({}, Inputs());
  for (const char* const why_not : {"", "the dog ate it", "it is late", ""}) {
    why_not_ = why_not;
    clock_ += 1ms;
    sampler.Pass();
  }
  const std::vector<std::string> comments = Comments(sampler.Build(shop_.symbolizer()));
  ASSERT_THAT(comments, SizeIs(2));
  EXPECT_EQ(comments[1], "2 of these looks were not of one instant: it is late");
}

TEST_F(WallTest, WaitsAgainWhenItIsWokenTooEarly) {
  int waits = 0;
  const absl::StatusOr<Profile> profile = SampleWall(
      {.hz = 10}, 1s, shop_.symbolizer(),
      [&](std::chrono::nanoseconds time) {
        ++waits;
        clock_ += std::max(time / 2, std::chrono::nanoseconds(1us));
        return absl::OkStatus();
      },
      Inputs());
  ASSERT_TRUE(profile.ok());
  EXPECT_EQ(passes_, 10);
  EXPECT_GT(waits, 100);
}

TEST_F(WallTest, EndsWhenItCannotWait) {
  int waits = 0;
  const absl::StatusOr<Profile> profile = SampleWall(
      {}, 300s, shop_.symbolizer(),
      [&](std::chrono::nanoseconds time) {
        clock_ += time;
        return ++waits < 3 ? absl::OkStatus() : absl::CancelledError("the client has left");
      },
      Inputs());
  EXPECT_EQ(profile.status(), absl::CancelledError("the client has left"));
  EXPECT_EQ(passes_, 2);
  EXPECT_EQ(shop_.symbolizer().waits(), 0);
}

TEST_F(WallTest, WaitsForLinesOnceAndNotForLong) {
  Sample({}, 1s);
  EXPECT_EQ(shop_.symbolizer().waits(), 1);
  EXPECT_EQ(shop_.symbolizer().longest_wait(), 2s);
}

TEST_F(WallTest, RatesOutOfRangeAreBugs) {
  EXPECT_DEATH(WallSampler({.hz = 0}, Inputs()), "at 0 Hz: must be 1 to 1000");
  EXPECT_DEATH(WallSampler({.hz = 1001}, Inputs()), "at 1001 Hz: must be 1 to 1000");
}

}  // namespace
}  // namespace fiberscope::pprof
