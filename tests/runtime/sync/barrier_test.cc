#include "runtime/sync/barrier.h"

#include <array>
#include <atomic>
#include <memory>
#include <random>

#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

using BarrierTest = testing::RuntimeTest;

TEST_P(BarrierTest, NobodyIsARoundAheadAndOneIsTheLastOfEach) {
  constexpr int kParties = 7;
  constexpr int kRounds = 100;
  Barrier barrier(kParties);
  std::array<std::atomic<int>, kRounds> arrived{};
  std::atomic<int> lasts{0};
  WaitGroup group;
  for (int p = 0; p < kParties; ++p) {
    group.Add(1);
    scheduler().Spawn([&] {
      for (size_t round = 0; round < kRounds; ++round) {
        ++arrived[round];
        lasts += barrier.ArriveAndWait() ? 1 : 0;
        ASSERT_EQ(arrived[round], kParties);
      }
      group.Done();
    });
  }
  group.Wait();
  EXPECT_EQ(lasts, kRounds);
}

TEST_P(BarrierTest, APartyThatGivesUpHasNotArrived) {
  RunInFiber([&] {
    Barrier barrier(2);
    EXPECT_EQ(barrier.ArriveAndWaitFor(milliseconds(1)).status().code(), absl::StatusCode::kDeadlineExceeded);
    const Fiber other = Spawn([&] { EXPECT_TRUE(barrier.ArriveAndWaitFor(hours(1)).ok()); });
    AwaitState(other, FiberState::kWaiting);
    EXPECT_TRUE(WithSnapshot(other.id(), [](const FiberSnapshot& s) { EXPECT_EQ(s.wait_reason, WaitReason::kBarrier); }));
    EXPECT_TRUE(barrier.ArriveAndWait());
    other.Join();
    const Fiber alone = Spawn([&] { barrier.ArriveAndWait(); });
    AwaitState(alone, FiberState::kWaiting);
    barrier.ArriveAndDrop();
    alone.Join();
    EXPECT_TRUE(barrier.ArriveAndWait()) << "one party is left";
  });
}

// Deadlines that pass just when the last party arrives: the parties agree about every round.
TEST_P(BarrierTest, DeadlinesRacingWithTheLastArrival) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  Barrier barrier(2);
  std::array<std::atomic<int>, 2> rounds{};
  WaitGroup group;
  for (size_t p = 0; p < 2; ++p) {
    group.Add(1);
    scheduler().Spawn([&, p] {
      std::mt19937 random(seed + static_cast<unsigned>(p));
      while (rounds[p] < 200) {
        if (barrier.ArriveAndWaitFor(microseconds(random() % 60)).ok()) {
          ++rounds[p];
        } else {
          this_fiber::Yield();
        }
      }
      group.Done();
    });
  }
  group.Wait();
  EXPECT_EQ(rounds[0], rounds[1]);
}

class BarrierDeathTest : public testing::RuntimeTest {};

TEST_P(BarrierDeathTest, MisuseIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH({ Barrier(0, "step"); }, "a barrier \\(step\\) for 0 parties");
  EXPECT_DEATH({ Barrier(-3, "step"); }, "a barrier \\(step\\) for -3 parties");
  EXPECT_DEATH(
      {
        Barrier barrier(1, "step");
        barrier.ArriveAndDrop();
        barrier.ArriveAndWait();
      },
      "barrier \\(step\\) is used by more than its 0 parties");
  EXPECT_DEATH(
      {
        Barrier barrier(1, "step");
        barrier.ArriveAndDrop();
        barrier.ArriveAndDrop();
      },
      "barrier \\(step\\) is used by more than its 0 parties");
  EXPECT_DEATH(
      {
        auto barrier = std::make_unique<Barrier>(2, "step");
        const Fiber waiter = scheduler().Spawn([&] { barrier->ArriveAndWait(); });
        AwaitState(waiter, FiberState::kWaiting);
        barrier.reset();
      },
      "barrier \\(step\\) destroyed while somebody waits for it");
}

INSTANTIATE_TEST_SUITE_P(Processors, BarrierDeathTest, ::testing::Values(1));
INSTANTIATE_TEST_SUITE_P(Processors, BarrierTest, ::testing::Values(1, 2, 4, 8));

}  // namespace
}  // namespace fiberscope
