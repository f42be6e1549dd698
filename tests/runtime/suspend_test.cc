#include "runtime/suspend.h"

#include <atomic>
#include <thread>
#include <vector>

#include "tests/testing/runtime_test.h"

namespace fiberscope::internal {
namespace {

class SuspendTest : public testing::RuntimeTest {
 protected:
  static bool Complete(const Suspension::Token& token, int value) {
    return Suspension::Complete(token, [&](void* slot) { *static_cast<int*>(slot) = value; });
  }
};

TEST_P(SuspendTest, ACompletionBeforeTheWaitIsNotLost) {
  RunInFiber([&] {
    int result = 0;
    Suspension suspension;
    suspension.set_slot(&result);
    EXPECT_TRUE(Complete(suspension.token(), 5));
    EXPECT_EQ(suspension.Wait({}), WaitOutcome::kDone);
    EXPECT_EQ(result, 5);
  });
}

TEST_P(SuspendTest, ACompletionWakesAParkedFiber) {
  Suspension::Token token;
  int result = 0;
  const Fiber fiber = scheduler().Spawn([&] {
    Suspension suspension;
    suspension.set_slot(&result);
    token = suspension.token();
    EXPECT_EQ(suspension.Wait({.reason = WaitReason::kSuspend, .object_id = 77, .owner_id = 88}), WaitOutcome::kDone);
    EXPECT_EQ(result, 6);
  });
  AwaitState(fiber, FiberState::kWaiting);
  EXPECT_TRUE(WithSnapshot(fiber.id(), [](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kSuspend);
    EXPECT_EQ(snapshot.wait_object_id, 77u);
    EXPECT_EQ(snapshot.wait_owner, FiberId{88});
  }));
  EXPECT_TRUE(Complete(token, 6));
  fiber.Join();
}

TEST_P(SuspendTest, OnlyTheFirstCompletionCounts) {
  RunInFiber([&] {
    int result = 0;
    Suspension suspension;
    suspension.set_slot(&result);
    EXPECT_TRUE(Complete(suspension.token(), 1));
    EXPECT_FALSE(Complete(suspension.token(), 2));
    EXPECT_EQ(suspension.Wait({}), WaitOutcome::kDone);
    EXPECT_FALSE(Complete(suspension.token(), 3));
    EXPECT_EQ(result, 1);
  });
}

TEST_P(SuspendTest, ATokenOfAnEarlierSuspensionCompletesNothing) {
  RunInFiber([&] {
    int first = 0;
    int second = 0;
    Suspension::Token old;
    {
      Suspension suspension;
      suspension.set_slot(&first);
      old = suspension.token();
      EXPECT_TRUE(Complete(old, 1));
      EXPECT_EQ(suspension.Wait({}), WaitOutcome::kDone);
    }
    Suspension suspension;
    suspension.set_slot(&second);
    EXPECT_FALSE(Complete(old, 2));
    EXPECT_EQ(second, 0);
    EXPECT_TRUE(Complete(suspension.token(), 3));
    EXPECT_EQ(suspension.Wait({}), WaitOutcome::kDone);
    EXPECT_EQ(second, 3);
  });
}

TEST_P(SuspendTest, ASuspensionThatNobodyWaitsForCompletesNothingOnceItIsGone) {
  RunInFiber([&] {
    int result = 0;
    Suspension::Token token;
    {
      Suspension suspension;  // as when starting the operation throws
      suspension.set_slot(&result);
      token = suspension.token();
    }
    EXPECT_FALSE(Complete(token, 1));
    EXPECT_EQ(result, 0);
  });
}

TEST_P(SuspendTest, ATokenOfAFiberThatHasEndedCompletesNothing) {
  Suspension::Token token;
  RunInFiber([&] {
    int result = 0;
    Suspension suspension;
    suspension.set_slot(&result);
    token = suspension.token();
    EXPECT_TRUE(Complete(token, 1));
    EXPECT_EQ(suspension.Wait({}), WaitOutcome::kDone);
  });
  EXPECT_FALSE(Complete(token, 2));
  RunInFiber([&] { EXPECT_FALSE(Complete(token, 3)); });  // probably on the same block
}

// Goal: exactly one of several racing completers wins, and the fiber sees its result, whether it has parked or is about to.
TEST_P(SuspendTest, RacingCompletersWakeTheFiberOnce) {
  constexpr int kRounds = 2000;
  constexpr int kCompleters = 2;
  std::atomic<int> started{0};  // rounds
  std::atomic<int> wins{0};
  Suspension::Token tokens[kRounds];
  std::vector<std::thread> completers;
  for (int t = 1; t <= kCompleters; ++t) {
    completers.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        while (started.load(std::memory_order_acquire) <= round) sched_yield();
        if (Complete(tokens[round], t)) ++wins;
      }
    });
  }
  RunInFiber([&] {
    for (int round = 0; round < kRounds; ++round) {
      int result = 0;
      Suspension suspension;
      suspension.set_slot(&result);
      tokens[round] = suspension.token();
      started.store(round + 1, std::memory_order_release);
      if (suspension.Wait({}) != WaitOutcome::kDone) return;
      EXPECT_TRUE(result == 1 || result == 2) << result;
    }
  });
  for (std::thread& completer : completers) completer.join();
  EXPECT_EQ(wins, kRounds);
}

TEST_P(SuspendTest, StopEndsTheWaitAndLaterCompletionsAreRefused) {
  Suspension::Token token;
  int result = 0;
  bool completed = true;
  const Fiber fiber = scheduler().Spawn([&] {
    Suspension suspension;
    suspension.set_slot(&result);
    token = suspension.token();
    completed = suspension.Wait({}) == WaitOutcome::kDone;
  });
  AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_FALSE(completed);
  EXPECT_FALSE(Complete(token, 9));
  EXPECT_EQ(result, 0);
}

TEST_P(SuspendTest, APlainThreadBlocks) {
  Suspension suspension;
  int result = 0;
  suspension.set_slot(&result);
  const Fiber fiber = scheduler().Spawn([token = suspension.token()] {
    Suspension::Complete(token, [](void* slot) { *static_cast<int*>(slot) = 7; });
  });
  EXPECT_EQ(suspension.Wait({.reason = WaitReason::kSuspend}), WaitOutcome::kDone);
  EXPECT_EQ(result, 7);
  fiber.Join();
}

INSTANTIATE_TEST_SUITE_P(Processors, SuspendTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope::internal
