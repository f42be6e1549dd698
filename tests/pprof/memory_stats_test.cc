#include "pprof/memory_stats.h"

#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

TEST(EstimateAllocationsTest, CountsEachSampleForWhatItStandsFor) {
  HeapSnapshot snapshot{.records = {}, .rate = 512 << 10, .lost = 3};
  // At a rate of 1 every allocation is a sample.
  snapshot.records.push_back({.stack = {}, .size = 100, .taken = 112, .rate = 1, .allocated = 10, .freed = 4});
  // Large ones are always sampled: exp(-16) is nothing.
  snapshot.records.push_back({.stack = {}, .size = 8 << 20, .taken = 8 << 20, .rate = 512 << 10, .allocated = 2, .freed = 1});
  // One in 1 / (1 - exp(-1/1024)) = 1024.5 allocations of 512 bytes.
  snapshot.records.push_back({.stack = {}, .size = 512, .taken = 512, .rate = 512 << 10, .allocated = 1, .freed = 1});
  const Allocations all = EstimateAllocations(snapshot);
  EXPECT_EQ(all.objects, 10u + 2u + 1025u);
  EXPECT_NEAR(static_cast<double>(all.bytes), 1000 + (16 << 20) + 1024.5 * 512, 10);
  EXPECT_EQ(all.freed_objects, 4u + 1u + 1025u);
  EXPECT_EQ(all.lost_samples, 3u);
}

TEST(ReadMemoryStatsTest, WithoutTcmallocKnowsNothing) {
  const MemoryStats stats = ReadMemoryStats();
  EXPECT_FALSE(stats.heap.has_value());
  EXPECT_FALSE(stats.allocations.has_value());
}

}  // namespace
}  // namespace fiberscope::pprof
