#include "runtime/fiber_state.h"

#include "gtest/gtest.h"

namespace fiberscope {
namespace {

TEST(FiberStateTest, TheSequenceIsOddExactlyWhileRunning) {
  AtomicStateWord word;
  EXPECT_EQ(word.Load().state(), FiberState::kDead);
  uint64_t last = word.Load().sequence();
  const auto expect = [&](FiberState state, uint64_t steps) {
    const StateWord now = word.Load();
    EXPECT_EQ(now.state(), state);
    EXPECT_EQ(now.sequence(), last + steps);
    EXPECT_EQ(now.running(), state == FiberState::kRunning);
    EXPECT_EQ(now.sequence() % 2, state == FiberState::kRunning ? 1u : 0u);
    last = now.sequence();
  };
  word.Create();
  expect(FiberState::kNew, 0);
  word.MakeRunnable();
  expect(FiberState::kRunnable, 0);
  word.Resume();
  expect(FiberState::kRunning, 1);
  word.PublishRunnable();
  expect(FiberState::kRunnable, 1);
  word.Resume();
  expect(FiberState::kRunning, 1);
  word.PublishWaiting();
  expect(FiberState::kWaiting, 1);
  word.MakeRunnable();
  expect(FiberState::kRunnable, 0);
  word.Resume();
  expect(FiberState::kRunning, 1);
  word.PublishDead();
  expect(FiberState::kDead, 1);
  word.Create();
  expect(FiberState::kNew, 0);  // the next fiber on the same block goes on counting
}

TEST(FiberStateTest, AReaderNoticesEveryVisitOfTheFiber) {
  AtomicStateWord word;
  word.Create();
  word.MakeRunnable();
  word.Resume();
  word.PublishWaiting();
  const StateWord before = word.Load();
  EXPECT_TRUE(word.Unchanged(before));
  word.MakeRunnable();
  word.Resume();
  word.PublishWaiting();  // the same state again, but it has run
  EXPECT_FALSE(word.Unchanged(before));
}

TEST(FiberStateTest, EveryStateHasAName) {
  for (int i = 0; i <= static_cast<int>(FiberState::kWaiting); ++i) {
    EXPECT_STRNE(StateName(static_cast<FiberState>(i)), "?");
  }
}

#ifdef FIBERSCOPE_DCHECK_ENABLED
TEST(FiberStateDeathTest, IllegalTransitionsAreFound) {
  EXPECT_DEATH(AtomicStateWord().Resume(), "a dead fiber was to go from runnable to running");
  EXPECT_DEATH(
      {
        AtomicStateWord word;
        word.Create();
        word.MakeRunnable();
        word.MakeRunnable();
      },
      "a runnable fiber was made runnable");
}
#endif

}  // namespace
}  // namespace fiberscope
