#include "server/http/work_pool.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "tests/server/http/gate.h"

namespace fiberscope::server {
namespace {

using testing::Gate;

bool Submit(WorkPool& pool, std::function<void()> job) { return pool.Submit(job); }

// R-P5: so many at once, so many more in the queue, then no.
TEST(WorkPoolTest, TakesAsManyJobsAsThreadsAndQueueHold) {
  Gate gate;
  std::atomic<int> done = 0;
  WorkPool pool("work", 2, 8);
  ASSERT_TRUE(pool.Start(2).ok());
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(Submit(pool, [&] {
      gate.Pass();
      ++done;
    })) << i;
  }
  std::function<void()> refused = [] {};
  EXPECT_FALSE(pool.Submit(refused));
  EXPECT_TRUE(refused) << "a refused job is left as it was";
  gate.AwaitEntered(2);
  EXPECT_FALSE(pool.Submit(refused));
  gate.Open();
  pool.Join();
  EXPECT_EQ(done, 10);
}

TEST(WorkPoolTest, RunsJobsInOrderOnOneThread) {
  std::vector<int> order;
  WorkPool pool("work", 1, 100);
  ASSERT_TRUE(pool.Start(1).ok());
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(Submit(pool, [&order, i] { order.push_back(i); }));
  }
  pool.Join();
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(WorkPoolTest, AClosedPoolTakesNothingButEndsWhatItHas) {
  Gate gate;
  std::atomic<int> done = 0;
  WorkPool pool("work", 1, 8);
  ASSERT_TRUE(pool.Start(1).ok());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Submit(pool, [&] {
      gate.Pass();
      ++done;
    }));
  }
  pool.Close();
  EXPECT_FALSE(Submit(pool, [] {}));
  gate.Open();
  pool.Join();
  pool.Join();
  EXPECT_EQ(done, 3);
}

TEST(WorkPoolTest, WithoutAQueueAnIdleThreadStillTakesAJob) {
  std::atomic<bool> ran = false;
  WorkPool pool("work", 1, 0);
  ASSERT_TRUE(pool.Start(1).ok());
  EXPECT_TRUE(Submit(pool, [&] { ran = true; }));
  pool.Join();
  EXPECT_TRUE(ran);
}

TEST(WorkPoolTest, MakesThreadsWhenJobsNeedThemUpToTheLimit) {
  testing::Gate gate;
  WorkPool pool("work", 3, 0);
  ASSERT_TRUE(pool.Start(0).ok());
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(Submit(pool, [&] { gate.Pass(); }));
    gate.AwaitEntered(i);  // while the others are still there
  }
  EXPECT_FALSE(Submit(pool, [] {}));
  gate.Open();
  pool.Join();
  EXPECT_EQ(gate.entered(), 3);
}

TEST(WorkPoolTest, KnowsItsOwnThreads) {
  std::atomic<bool> inside = false;
  WorkPool pool("work", 2, 8);
  ASSERT_TRUE(pool.Start(2).ok());
  EXPECT_FALSE(pool.OnPoolThread());
  ASSERT_TRUE(Submit(pool, [&] { inside = pool.OnPoolThread(); }));
  pool.Join();
  EXPECT_TRUE(inside);
  EXPECT_FALSE(pool.OnPoolThread());
}

}  // namespace
}  // namespace fiberscope::server
