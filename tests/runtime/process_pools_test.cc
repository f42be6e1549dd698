#include "runtime/process_pools.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sync/channel.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ProcessPoolsTest = testing::RuntimeTest;

NamedPools Named(const std::string& name) {
  for (const NamedPools& group : ReadPools()) {
    if (group.name == name) return group;
  }
  return {};
}

TEST_P(ProcessPoolsTest, AddsUpPoolsOfOneName) {
  const uint64_t before = Named("thumbnails").metrics.submitted;
  Pool one(scheduler(), {.fibers = 2, .queue_capacity = 5, .name = "thumbnails"});
  Pool two(scheduler(), {.fibers = 3, .queue_capacity = 5, .name = "thumbnails"});
  Pool other(scheduler(), {.name = "other"});
  Channel<int> leave;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(one.Submit([&] { (void)leave.Receive(); }).ok());
  EXPECT_TRUE(two.Submit([&] { (void)leave.Receive(); }).ok());
  const NamedPools group = Named("thumbnails");
  EXPECT_EQ(group.pools, 2u);
  EXPECT_EQ(group.fibers, 5u);
  EXPECT_EQ(group.metrics.submitted, before + 5);
  EXPECT_EQ(group.metrics.active, 3u);
  EXPECT_EQ(group.metrics.queued, 2u);
  EXPECT_EQ(Named("other").pools, 1u);
  leave.Close();
}

TEST_P(ProcessPoolsTest, KeepsWhatPoolsThatAreGoneHaveCounted) {
  const PoolMetrics before = Named("brief").metrics;
  for (int i = 0; i < 3; ++i) {
    Pool brief(scheduler(), {.fibers = 1, .queue_capacity = 1, .name = "brief"});
    EXPECT_TRUE(brief.Submit([] {}).ok());
  }
  const NamedPools after = Named("brief");
  EXPECT_EQ(after.pools, 0u);
  EXPECT_EQ(after.fibers, 0u);
  EXPECT_EQ(after.metrics.completed, before.completed + 3);
  EXPECT_EQ(after.metrics.active, 0u);
}

TEST_P(ProcessPoolsTest, TellsOnlySoManyNamesApart) {
  std::vector<std::unique_ptr<Pool>> pools;
  for (int i = 0; i < 100; ++i) {
    pools.push_back(std::make_unique<Pool>(scheduler(), PoolOptions{.name = "request " + std::to_string(i)}));
    if (i % 2 == 0) pools.back() = nullptr;
  }
  const std::vector<NamedPools> groups = ReadPools();
  EXPECT_EQ(groups.size(), kMaxPoolNames + 1);
  EXPECT_TRUE(std::ranges::is_sorted(groups, {}, &NamedPools::name));
  uint64_t alive = 0;
  for (const NamedPools& group : groups) alive += group.pools;
  EXPECT_EQ(alive, 50u);
  EXPECT_GT(Named("(other pools)").pools, 0u);
}

// Goal: whoever reads never sees a pool that is half gone, and no sum goes down.
TEST_P(ProcessPoolsTest, IsReadWhilePoolsComeAndGo) {
  std::jthread others([this](std::stop_token stop) {
    while (!stop.stop_requested()) {
      Pool brief(scheduler(), {.fibers = 2, .queue_capacity = 2, .name = "brief"});
      EXPECT_TRUE(brief.Submit([] {}).ok());
    }
  });
  const uint64_t first = Named("brief").metrics.completed;
  for (uint64_t completed = first; completed < first + 100;) {
    const uint64_t now = Named("brief").metrics.completed;
    EXPECT_GE(now, completed);
    completed = now;
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, ProcessPoolsTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
