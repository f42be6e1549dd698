#include "runtime/processor_watch.h"

#include "gtest/gtest.h"

namespace fiberscope::internal {
namespace {

constexpr int64_t kUs = 1'000;
constexpr int64_t kMs = 1'000'000;
constexpr int64_t kStallAfter = 10 * kMs;
using Finding = ProcessorWatch::Finding;

BlockingTicket Call(uint64_t number) { return {number << 2 | static_cast<uint64_t>(ProcessorState::kBlocking)}; }

TEST(ProcessorWatchTest, ACallIsLeftAloneAtTheFirstLook) {
  ProcessorWatch watch;
  EXPECT_FALSE(watch.ShouldRetake(Call(1), true, 0));
  EXPECT_TRUE(watch.ShouldRetake(Call(1), true, 20 * kUs));
}

TEST(ProcessorWatchTest, EachCallIsAnotherOne) {
  ProcessorWatch watch;
  EXPECT_FALSE(watch.ShouldRetake(Call(1), true, 0));
  EXPECT_FALSE(watch.ShouldRetake(Call(2), true, 20 * kUs));
  EXPECT_FALSE(watch.ShouldRetake(Call(3), true, 40 * kUs));
  EXPECT_TRUE(watch.ShouldRetake(Call(3), true, 60 * kUs));
}

TEST(ProcessorWatchTest, AProcessorThatNobodyNeedsIsLeftForTenMilliseconds) {
  ProcessorWatch watch;
  EXPECT_FALSE(watch.ShouldRetake(Call(1), false, 0));
  EXPECT_FALSE(watch.ShouldRetake(Call(1), false, 9 * kMs));
  EXPECT_TRUE(watch.ShouldRetake(Call(1), false, 10 * kMs));
}

TEST(ProcessorWatchTest, ASliceThatLastsIsFoundOnce) {
  ProcessorWatch watch;
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 100 * kMs), Finding::kNothing);
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 109 * kMs), Finding::kNothing);
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 110 * kMs), Finding::kStalled);
  EXPECT_EQ(watch.slice_age_ns(112 * kMs), 12 * kMs);
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 150 * kMs), Finding::kNothing);
  EXPECT_TRUE(watch.stalled());
  EXPECT_EQ(watch.LookAtSlice(8, true, kStallAfter, 151 * kMs), Finding::kStallEnded);
  EXPECT_FALSE(watch.stalled());
  EXPECT_EQ(watch.LookAtSlice(8, true, kStallAfter, 160 * kMs), Finding::kNothing);
  EXPECT_EQ(watch.LookAtSlice(8, true, kStallAfter, 161 * kMs), Finding::kStalled);
}

TEST(ProcessorWatchTest, ProgressBetweenLooksIsNoStall) {
  ProcessorWatch watch;
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(watch.LookAtSlice(i, true, kStallAfter, static_cast<int64_t>(i) * 9 * kMs), Finding::kNothing);
  }
}

TEST(ProcessorWatchTest, AWorkerInItsOwnLoopIsNotStalled) {
  ProcessorWatch watch;
  EXPECT_EQ(watch.LookAtSlice(7, false, kStallAfter, 0), Finding::kNothing);
  EXPECT_EQ(watch.LookAtSlice(7, false, kStallAfter, 50 * kMs), Finding::kNothing);
  // Its next fiber starts afresh, although nothing was counted in between.
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 51 * kMs), Finding::kNothing);
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 61 * kMs), Finding::kStalled);
  EXPECT_EQ(watch.LookAtSlice(7, false, kStallAfter, 62 * kMs), Finding::kStallEnded);
}

TEST(ProcessorWatchTest, AProcessorThatBecomesIdleOrBlocksEndsTheStall) {
  ProcessorWatch watch;
  EXPECT_FALSE(watch.Forget());
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 0), Finding::kNothing);
  EXPECT_FALSE(watch.Forget()) << "it was not found stalled";
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 1 * kMs), Finding::kNothing);
  EXPECT_EQ(watch.LookAtSlice(7, true, kStallAfter, 11 * kMs), Finding::kStalled);
  EXPECT_TRUE(watch.Forget());
  EXPECT_FALSE(watch.Forget());
}

}  // namespace
}  // namespace fiberscope::internal
