#include "runtime/sync/rw_mutex.h"

#include <atomic>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

using RwMutexTest = testing::RuntimeTest;

TEST_P(RwMutexTest, ReadersShareAndWritersDoNot) {
  RunInFiber([&] {
    RwMutex mutex;
    std::shared_lock first(mutex);
    std::shared_lock second(mutex, std::try_to_lock);
    EXPECT_TRUE(second.owns_lock());
    EXPECT_EQ(mutex.readers(), 2);
    EXPECT_FALSE(mutex.try_lock());
    first.unlock();
    second.unlock();
    std::unique_lock writer(mutex);
    EXPECT_EQ(mutex.holder().fiber(), this_fiber::id());
    EXPECT_FALSE(mutex.try_lock_shared());
    EXPECT_FALSE(mutex.try_lock());
  });
}

TEST_P(RwMutexTest, AWaitingWriterKeepsNewReadersOutAndReadersGoBeforeTheNextWriter) {
  RunInFiber([&] {
    RwMutex mutex("table");
    std::vector<int> order;
    mutex.lock_shared();
    const Fiber writer = Spawn([&] {
      std::unique_lock lock(mutex);
      order.push_back(1);
    });
    AwaitState(writer, FiberState::kWaiting);
    EXPECT_FALSE(mutex.try_lock_shared());
    std::atomic<int> readers{0};
    std::vector<Fiber> later;
    for (int i = 0; i < 3; ++i) {
      later.push_back(Spawn([&] {
        std::shared_lock lock(mutex);
        ++readers;
        while (readers < 3) this_fiber::Yield();  // all three at the same time
      }));
    }
    const Fiber second_writer = Spawn([&] {
      std::unique_lock lock(mutex);
      order.push_back(readers == 3 ? 2 : -1);
    });
    for (const Fiber& fiber : later) AwaitState(fiber, FiberState::kWaiting);
    AwaitState(second_writer, FiberState::kWaiting);
    EXPECT_TRUE(WithSnapshot(writer.id(), [](const FiberSnapshot& s) { EXPECT_EQ(s.wait_reason, WaitReason::kRwMutexWrite); }));
    EXPECT_TRUE(WithSnapshot(later[0].id(), [](const FiberSnapshot& s) { EXPECT_EQ(s.wait_reason, WaitReason::kRwMutexRead); }));
    mutex.unlock_shared();
    writer.Join();
    second_writer.Join();
    for (const Fiber& fiber : later) fiber.Join();
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
  });
}

TEST_P(RwMutexTest, AWriterThatGivesUpLetsTheReadersBehindItIn) {
  RunInFiber([&] {
    RwMutex mutex;
    mutex.lock_shared();
    const Fiber writer = Spawn([&] { EXPECT_FALSE(mutex.try_lock_for(milliseconds(5))); });
    const Fiber reader = Spawn([&] {
      std::shared_lock lock(mutex);
    });
    reader.Join();  // while we still read
    writer.Join();
    mutex.unlock_shared();
    EXPECT_TRUE(mutex.try_lock());
    Spawn([&] { EXPECT_FALSE(mutex.try_lock_shared_for(microseconds(1))); }).Join();
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_shared_for(hours(1)));
    mutex.unlock_shared();
  });
}

TEST_P(RwMutexTest, ExcludesUnderLoadWithThreadsAndDeadlines) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  RwMutex mutex;
  int64_t value = 0;
  std::atomic<int> reading{0};
  std::atomic<int> writing{0};
  std::atomic<int64_t> written{0};
  const auto body = [&](unsigned number, bool on_fiber) {
    std::mt19937 random(seed + number);
    for (int i = 0; i < 400; ++i) {
      const bool timed = random() % 2 == 0;
      const auto timeout = microseconds(random() % 40);
      if (random() % 3 == 0) {
        if (timed && !mutex.try_lock_for(timeout)) continue;
        if (!timed) mutex.lock();
        ASSERT_EQ(++writing, 1);
        ASSERT_EQ(reading, 0);
        ++value;
        ++written;
        if (on_fiber) this_fiber::Yield();
        --writing;
        mutex.unlock();
      } else {
        if (timed && !mutex.try_lock_shared_for(timeout)) continue;
        if (!timed) mutex.lock_shared();
        ++reading;
        ASSERT_EQ(writing, 0);
        ASSERT_EQ(value, written);
        if (on_fiber) this_fiber::Yield();
        --reading;
        mutex.unlock_shared();
      }
    }
  };
  WaitGroup group;
  for (unsigned f = 0; f < 12; ++f) {
    group.Add(1);
    scheduler().Spawn([&, f] {
      body(f, true);
      group.Done();
    });
  }
  std::thread thread(body, 77u, false);
  group.Wait();
  thread.join();
  EXPECT_EQ(value, written);
  EXPECT_EQ(mutex.readers(), 0);
  EXPECT_TRUE(mutex.holder().nobody());
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

class RwMutexDeathTest : public testing::RuntimeTest {};

TEST_P(RwMutexDeathTest, MisuseIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH({ RwMutex("table").unlock(); }, "thread [0-9]+ unlocks rw-mutex \\(table\\), which nobody holds");
  EXPECT_DEATH({ RwMutex("table").unlock_shared(); }, "rw-mutex \\(table\\) is unlocked for reading, but nobody reads");
  EXPECT_DEATH(
      {
        RwMutex mutex("table");
        mutex.lock();
        mutex.lock();
      },
      "locks rw-mutex \\(table\\) twice");
  EXPECT_DEATH(
      {
        RwMutex mutex("table");
        mutex.lock_shared();
      },
      "rw-mutex \\(table\\) destroyed while 1 read");
  EXPECT_DEATH(
      {
        RwMutex mutex("table");
        mutex.lock();
      },
      "rw-mutex \\(table\\) destroyed while thread [0-9]+ writes");
  EXPECT_DEATH(
      {
        RwMutex mutex("table");
        mutex.lock();
        mutex.lock_shared();
      },
      "thread [0-9]+ locks rw-mutex \\(table\\) for reading while it writes");
  EXPECT_DEATH(
      {
        RwMutex mutex("table");
        mutex.lock();
        RunInFiber([&] { mutex.unlock(); });
      },
      "fiber [0-9]+ unlocks rw-mutex \\(table\\), which thread [0-9]+ holds");
  EXPECT_DEATH(
      {
        RwMutex mutex("table");
        mutex.lock();
        mutex.unlock_shared();
      },
      "rw-mutex \\(table\\) is unlocked for reading, but nobody reads");
  EXPECT_DEATH(
      {
        RwMutex mutex("table");
        mutex.lock_shared();
        mutex.unlock();
      },
      "thread [0-9]+ unlocks rw-mutex \\(table\\), which nobody holds");
}

INSTANTIATE_TEST_SUITE_P(Processors, RwMutexTest, ::testing::Values(1, 2, 4, 8));
INSTANTIATE_TEST_SUITE_P(Processors, RwMutexDeathTest, ::testing::Values(1));

}  // namespace
}  // namespace fiberscope
