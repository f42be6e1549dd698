#include "runtime/this_fiber.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono_literals::operator""us;
using std::chrono_literals::operator""ms;

using ThisFiberTest = testing::RuntimeTest;

TEST_P(ThisFiberTest, IdIsThatOfTheHandle) {
  FiberId seen;
  const Fiber fiber = scheduler().Spawn([&] { seen = this_fiber::id(); });
  fiber.Join();
  EXPECT_EQ(seen, fiber.id());
  EXPECT_TRUE(seen);
}

TEST_P(ThisFiberTest, APlainThreadIsNoFiberAndHasNoLabels) {
  EXPECT_FALSE(this_fiber::id());
  EXPECT_TRUE(this_fiber::labels().empty());
}

TEST_P(ThisFiberTest, NameIsThatOfTheSpawnUntilItIsSet) {
  scheduler()
      .Spawn(
          [] {
            EXPECT_EQ(this_fiber::name(), "order");
            this_fiber::SetName("delivery");
            EXPECT_EQ(this_fiber::name(), "delivery");
            this_fiber::SetName("");
            EXPECT_EQ(this_fiber::name(), "");
          },
          {.name = "order"})
      .Join();
  scheduler().Spawn([] { EXPECT_EQ(this_fiber::name(), "") << "not the last one's on this block"; }).Join();
}

TEST_P(ThisFiberTest, NamesAreCutTo32Bytes) {
  const std::string name(31, 'a');
  RunInFiber([&] {
    for (const std::string& longer : {name, name + "b", name + "bc", name + "b" + std::string(100, 'c')}) {
      this_fiber::SetName(longer);
      EXPECT_EQ(this_fiber::name(), longer.substr(0, 32));
    }
  });
}

TEST_P(ThisFiberTest, ChildrenInheritTheLabelsOfTheMomentTheyAreSpawned) {
  RunInFiber([&] {
    EXPECT_TRUE(this_fiber::labels().empty());
    this_fiber::SetLabels(Labels({{"route", "/a"}}));
    Channel<int> go;
    const Fiber child = Spawn([&] {
      go.Receive();
      EXPECT_EQ(this_fiber::labels(), Labels({{"route", "/a"}}));
      this_fiber::SetLabels(this_fiber::labels().With({{"step", "1"}}));
      Spawn([] { EXPECT_EQ(this_fiber::labels(), Labels({{"route", "/a"}, {"step", "1"}})); }).Join();
    });
    this_fiber::SetLabels(Labels({{"route", "/b"}}));
    go.Close();
    child.Join();
    EXPECT_EQ(this_fiber::labels(), Labels({{"route", "/b"}})) << "the child's are its own";
    Spawn([] { EXPECT_EQ(this_fiber::labels(), Labels({{"own", "x"}})); }, {.labels = Labels({{"own", "x"}})}).Join();
    Spawn([] { EXPECT_TRUE(this_fiber::labels().empty()); }, {.labels = Labels()}).Join();
  });
}

TEST_P(ThisFiberTest, AScopePutsTheLabelsBackThatItFound) {
  RunInFiber([&] {
    const Labels outer({{"route", "/a"}});
    this_fiber::SetLabels(outer);
    {
      const this_fiber::LabelsScope scope(Labels({{"step", "1"}}));
      EXPECT_EQ(this_fiber::labels(), Labels({{"step", "1"}}));
      {
        const this_fiber::LabelsScope inner{Labels()};
        EXPECT_TRUE(this_fiber::labels().empty());
      }
      EXPECT_EQ(this_fiber::labels(), Labels({{"step", "1"}}));
      this_fiber::SetLabels(Labels({{"step", "2"}}));
      Spawn([] { EXPECT_EQ(this_fiber::labels(), Labels({{"step", "2"}})); }).Join();
      this_fiber::Yield();  // the end may be on another thread
    }
    EXPECT_EQ(this_fiber::labels(), outer);
  });
}

TEST_P(ThisFiberTest, WithLabelsOverlaysForTheLengthOfACall) {
  RunInFiber([&] {
    const Labels outer({{"route", "/a"}, {"user", "x"}});
    this_fiber::SetLabels(outer);
    const int result = this_fiber::WithLabels({{"route", "/b"}, {"step", "1"}}, [] {
      EXPECT_EQ(this_fiber::labels(), Labels({{"route", "/b"}, {"step", "1"}, {"user", "x"}}));
      return 17;
    });
    EXPECT_EQ(result, 17);
    EXPECT_EQ(this_fiber::labels(), outer);
    EXPECT_THROW(this_fiber::WithLabels({{"step", "2"}}, [] { throw std::runtime_error("no"); }), std::runtime_error);
    EXPECT_EQ(this_fiber::labels(), outer);
    int target = 0;
    int& same = this_fiber::WithLabels({}, [&]() -> int& { return target; });
    EXPECT_EQ(&same, &target);
  });
}

TEST_P(ThisFiberTest, OnAPlainThreadScopesOfLabelsDoNothing) {
  const this_fiber::LabelsScope scope(Labels({{"step", "1"}}));
  EXPECT_TRUE(this_fiber::labels().empty());
  EXPECT_EQ(this_fiber::WithLabels({{"step", "2"}}, [] { return this_fiber::labels(); }), Labels());
}

TEST_P(ThisFiberTest, YieldLetsAnotherRunnableFiberRun) {
  RunInFiber([&] {
    std::atomic<bool> ran{false};
    Spawn([&] { ran = true; });
    while (!ran) this_fiber::Yield();
  });
}

TEST_P(ThisFiberTest, OnOneProcessorYieldersTakeTurns) {
  if (GetParam() != 1) GTEST_SKIP() << "several processors run them side by side";
  std::vector<int> turns;
  RunInFiber([&] {
    WaitGroup group;
    for (int f = 0; f < 2; ++f) {
      group.Add(1);
      Spawn([&, f] {
        for (int i = 0; i < 10; ++i) {
          turns.push_back(f);
          this_fiber::Yield();
        }
        group.Done();
      });
    }
    group.Wait();
  });
  ASSERT_EQ(turns.size(), 20u);
  for (size_t i = 1; i < turns.size(); ++i) EXPECT_NE(turns[i], turns[i - 1]) << i;
}

TEST_P(ThisFiberTest, SleepersWakeNotBeforeTheirDeadline) {
  RunInFiber([] {
    for (const auto duration : {1us, 100us, 3000us}) {
      const auto start = std::chrono::steady_clock::now();
      this_fiber::SleepFor(duration);
      EXPECT_GE(std::chrono::steady_clock::now() - start, duration);
      const auto deadline = std::chrono::steady_clock::now() + duration;
      this_fiber::SleepUntil(deadline);
      EXPECT_GE(std::chrono::steady_clock::now(), deadline);
    }
  });
}

TEST_P(ThisFiberTest, ASleepThatIsOverAlreadyYields) {
  RunInFiber([&] {
    std::atomic<bool> ran{false};
    const Fiber other = Spawn([&] { ran = true; });
    while (!ran) {
      this_fiber::SleepFor(std::chrono::nanoseconds(0));
      this_fiber::SleepFor(std::chrono::nanoseconds(-5));
      this_fiber::SleepFor(std::chrono::nanoseconds::min());
      this_fiber::SleepUntil(std::chrono::steady_clock::time_point::min());
      this_fiber::SleepUntil(std::chrono::steady_clock::now());
    }
    other.Join();
  });
}

TEST_P(ThisFiberTest, TheLongestSleepDoesNotOverflow) {
  const Fiber relative = scheduler().Spawn([] { this_fiber::SleepFor(std::chrono::nanoseconds::max()); });
  const Fiber absolute =
      scheduler().Spawn([] { this_fiber::SleepUntil(std::chrono::steady_clock::time_point::max()); });
  AwaitState(relative, FiberState::kWaiting);
  AwaitState(absolute, FiberState::kWaiting);
  // Timers after them still work.
  RunInFiber([] { this_fiber::SleepFor(1ms); });
  EXPECT_EQ(relative.state(), FiberState::kWaiting);
  EXPECT_EQ(absolute.state(), FiberState::kWaiting);
}

TEST_P(ThisFiberTest, ManySleepersAllWake) {
  WaitGroup group;
  for (int i = 0; i < 1000; ++i) {
    group.Add(1);
    scheduler().Spawn([&, i] {
      for (int k = 0; k < 3; ++k) this_fiber::SleepFor(std::chrono::microseconds((i * 37 + k * 11) % 2000));
      group.Done();
    });
  }
  group.Wait();
}

TEST_P(ThisFiberTest, MisuseOnAPlainThreadEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(this_fiber::name(), "this_fiber was asked on a thread that runs no fiber");
  EXPECT_DEATH(this_fiber::SetName("x"), "this_fiber was asked on a thread that runs no fiber");
  EXPECT_DEATH(this_fiber::SetLabels(Labels()), "this_fiber was asked on a thread that runs no fiber");
  EXPECT_DEATH(this_fiber::Yield(), "this call must be made on a fiber");
  EXPECT_DEATH(this_fiber::SleepFor(1ms), "this_fiber was asked on a thread that runs no fiber");
  EXPECT_DEATH(Spawn([] {}), "fiberscope::Spawn must be called on a fiber");
}

INSTANTIATE_TEST_SUITE_P(Processors, ThisFiberTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
