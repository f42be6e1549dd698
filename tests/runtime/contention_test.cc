#include "runtime/contention.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/base/clock.h"
#include "runtime/contention_events.h"
#include "runtime/sync/barrier.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/condition_variable.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/rw_mutex.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/place.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

// The profiles are the process's, so each test looks for stacks through a place of its own: an instance of this function.
template <int kPlace>
PLACE void At(const std::function<void()>& action) {
  action();
  asm volatile("" ::"i"(kPlace) : "memory");
}

struct Charge {
  int64_t count = 0;
  int64_t delay_ns = 0;
  Charge operator-(const Charge& other) const { return {count - other.count, delay_ns - other.delay_ns}; }
};

template <int kPlace>
Charge ChargedTo(Contention kind) {
  Charge sum;
  for (const ContentionRecord& record : ReadContention(kind).records) {
    if (!testing::GoesThrough(record.stack, &At<kPlace>)) continue;
    sum.count += record.count;
    sum.delay_ns += record.delay_ns;
  }
  return sum;
}

class ContentionTest : public testing::RuntimeTest {
 protected:
  void SetUp() override {
    SetBlockProfileRate(1);
    SetMutexProfileFraction(1);
  }
  void TearDown() override {
    SetBlockProfileRate(0);
    SetMutexProfileFraction(0);
    RuntimeTest::TearDown();
  }

  // Lets time pass by the clock, and others run.
  static void PassTime(std::chrono::nanoseconds time) {
    for (const int64_t end_ns = MonotonicNowNs() + time.count(); MonotonicNowNs() < end_ns;) this_fiber::Yield();
  }
};

// The truth lies between two pairs of clock readings. The tick clock may be off by 10 us per second (tick_clock.h).
void ExpectBetween(int64_t value_ns, int64_t least_ns, int64_t most_ns) {
  EXPECT_GE(value_ns, least_ns - least_ns / 1000 - 1000);
  EXPECT_LE(value_ns, most_ns + most_ns / 1000 + 1000);
}

TEST_P(ContentionTest, AReceiverIsChargedForAsLongAsItWaits) {
  const Charge before = ChargedTo<1>(Contention::kBlock);
  int64_t least_ns = 0;
  int64_t most_ns = 0;
  RunInFiber([&] {
    Channel<int> channel;
    for (int i = 0; i < 5; ++i) {
      Fiber receiver = Spawn([&] {
        const int64_t start_ns = MonotonicNowNs();
        At<1>([&] { EXPECT_EQ(channel.Receive(), 7); });
        most_ns += MonotonicNowNs() - start_ns;
      });
      AwaitState(receiver, FiberState::kWaiting);
      const int64_t waits_ns = MonotonicNowNs();
      PassTime(std::chrono::milliseconds(3));
      least_ns += MonotonicNowNs() - waits_ns;
      channel.Send(7);
      receiver.Join();
    }
  });
  const Charge charge = ChargedTo<1>(Contention::kBlock) - before;
  EXPECT_EQ(charge.count, 5);
  ExpectBetween(charge.delay_ns, least_ns, most_ns);
}

TEST_P(ContentionTest, TotalsAreTheSumOfTheRecords) {
  RunInFiber([&] {
    Channel<int> channel;
    Fiber receiver = Spawn([&] { (void)channel.Receive(); });
    AwaitState(receiver, FiberState::kWaiting);
    channel.Close();
    receiver.Join();
  });
  StopScheduler();
  for (const Contention kind : {Contention::kBlock, Contention::kMutex}) {
    const ContentionTotals totals = ReadContentionTotals(kind);
    const ContentionSnapshot snapshot = ReadContention(kind);
    double count = 0;
    double delay_ns = 0;
    for (const ContentionRecord& record : snapshot.records) {
      count += static_cast<double>(record.count);
      delay_ns += static_cast<double>(record.delay_ns);
    }
    // Each record's numbers are rounded.
    EXPECT_NEAR(totals.count, count, static_cast<double>(snapshot.records.size()));
    EXPECT_NEAR(static_cast<double>(totals.delay.count()), delay_ns, static_cast<double>(snapshot.records.size()));
    EXPECT_EQ(totals.lost, snapshot.lost);
  }
  EXPECT_GT(ReadContentionTotals(Contention::kBlock).count, 0);
}

TEST_P(ContentionTest, TheHolderOfAMutexIsChargedForAllWhoWait) {
  constexpr int kWaiters = 8;
  const Charge before = ChargedTo<2>(Contention::kMutex);
  const Charge blocked_before = ChargedTo<3>(Contention::kBlock);
  int64_t all_wait_ns = 0;
  int64_t locked_ns = 0;
  int64_t unlocked_ns = 0;
  RunInFiber([&] {
    Mutex mutex;
    mutex.lock();
    locked_ns = MonotonicNowNs();
    std::vector<Fiber> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.push_back(Spawn([&] {
        At<3>([&] { mutex.lock(); });
        mutex.unlock();
      }));
    }
    for (const Fiber& waiter : waiters) AwaitState(waiter, FiberState::kWaiting);
    all_wait_ns = MonotonicNowNs();
    PassTime(std::chrono::milliseconds(5));
    const int64_t about_to_ns = MonotonicNowNs();
    At<2>([&] { mutex.unlock(); });
    unlocked_ns = MonotonicNowNs();
    all_wait_ns = about_to_ns - all_wait_ns;
    for (Fiber& waiter : waiters) waiter.Join();
  });
  const Charge charge = ChargedTo<2>(Contention::kMutex) - before;
  EXPECT_EQ(charge.count, 1);
  ExpectBetween(charge.delay_ns, kWaiters * all_wait_ns, kWaiters * (unlocked_ns - locked_ns));
  // Each of the waiters, itself, has waited once, or more often when another one took the mutex first.
  const Charge blocked = ChargedTo<3>(Contention::kBlock) - blocked_before;
  EXPECT_GE(blocked.count, kWaiters);
  EXPECT_GE(blocked.delay_ns, kWaiters * (all_wait_ns - all_wait_ns / 1000) - 1000);
}

TEST_P(ContentionTest, AWriterIsChargedForTheReadersItKeptOut) {
  const Charge before = ChargedTo<4>(Contention::kMutex);
  int64_t least_ns = 0;
  int64_t most_ns = 0;
  RunInFiber([&] {
    RwMutex mutex;
    mutex.lock();
    const int64_t locked_ns = MonotonicNowNs();
    std::vector<Fiber> readers;
    for (int i = 0; i < 3; ++i) {
      readers.push_back(Spawn([&] { std::shared_lock lock(mutex); }));
    }
    for (const Fiber& reader : readers) AwaitState(reader, FiberState::kWaiting);
    const int64_t all_wait_ns = MonotonicNowNs();
    PassTime(std::chrono::milliseconds(2));
    least_ns = 3 * (MonotonicNowNs() - all_wait_ns);
    At<4>([&] { mutex.unlock(); });
    most_ns = 3 * (MonotonicNowNs() - locked_ns);
    for (Fiber& reader : readers) reader.Join();
  });
  const Charge charge = ChargedTo<4>(Contention::kMutex) - before;
  EXPECT_EQ(charge.count, 1);
  ExpectBetween(charge.delay_ns, least_ns, most_ns);
}

// Waits in place 5 until `end` lets it go on.
void ExpectOneBlock(const std::function<void()>& wait, const std::function<void()>& end, int expected = 1) {
  const Charge before = ChargedTo<5>(Contention::kBlock);
  Fiber waiter = Spawn([&] { At<5>(wait); });
  while (waiter.state() != FiberState::kWaiting) this_fiber::Yield();
  end();
  waiter.Join();
  EXPECT_EQ((ChargedTo<5>(Contention::kBlock) - before).count, expected);
}

TEST_P(ContentionTest, EveryPrimitiveIsOneThatOneWaitsIn) {
  RunInFiber([&] {
    Channel<int> channel;
    ExpectOneBlock([&] { channel.Send(1); }, [&] { channel.Receive(); });
    ExpectOneBlock([&] { (void)channel.ReceiveFor(std::chrono::hours(1)); }, [&] { channel.Send(1); });
    std::optional<int> received;
    ExpectOneBlock([&] { Select(ReceiveCase(&channel, received)); }, [&] { channel.Send(1); });
    Semaphore semaphore(0);
    ExpectOneBlock([&] { semaphore.Acquire(); }, [&] { semaphore.Release(); });
    WaitGroup group;
    group.Add(1);
    ExpectOneBlock([&] { group.Wait(); }, [&] { group.Done(); });
    Barrier barrier(2);
    ExpectOneBlock([&] { (void)barrier.ArriveAndWait(); }, [&] { (void)barrier.ArriveAndWait(); });
    RwMutex rw_mutex;
    rw_mutex.lock_shared();
    ExpectOneBlock([&] { std::lock_guard lock(rw_mutex); }, [&] { rw_mutex.unlock_shared(); });
    Mutex mutex;
    ConditionVariable condition;
    bool ready = false;
    ExpectOneBlock(
        [&] {
          std::unique_lock lock(mutex);
          condition.wait(lock, [&] { return ready; });
        },
        [&] {
          {
            std::lock_guard lock(mutex);
            ready = true;
          }
          condition.notify_one();  // without the mutex, for which the waiter would wait as well
        });
    Channel<int> end;
    Fiber joined = Spawn([&] { end.Receive(); });
    ExpectOneBlock([&] { joined.Join(); }, [&] { end.Send(1); });
    // Waiting for time to pass is not waiting for somebody.
    ExpectOneBlock([&] { this_fiber::SleepFor(std::chrono::milliseconds(1)); }, [] {}, 0);
  });
}

TEST_P(ContentionTest, APlainThreadIsChargedToo) {
  const Charge before = ChargedTo<6>(Contention::kBlock);
  RunInFiber([&] {
    Channel<int> channel;
    std::thread thread([&] { At<6>([&] { channel.Receive(); }); });
    channel.Send(1);  // waits here if it comes first
    thread.join();
    std::thread again([&] { At<6>([&] { (void)channel.ReceiveFor(std::chrono::milliseconds(1)); }); });
    again.join();
  });
  EXPECT_GE((ChargedTo<6>(Contention::kBlock) - before).count, 1);
}

TEST_P(ContentionTest, OffRecordsNothing) {
  SetBlockProfileRate(0);
  SetMutexProfileFraction(0);
  const int64_t block_events = ReadContention(Contention::kBlock).events;
  const int64_t mutex_events = ReadContention(Contention::kMutex).events;
  RunInFiber([&] {
    Mutex mutex;
    mutex.lock();
    Fiber waiter = Spawn([&] { std::lock_guard lock(mutex); });
    AwaitState(waiter, FiberState::kWaiting);
    mutex.unlock();
    waiter.Join();
  });
  EXPECT_EQ(ReadContention(Contention::kBlock).events, block_events);
  EXPECT_EQ(ReadContention(Contention::kMutex).events, mutex_events);
}

INSTANTIATE_TEST_SUITE_P(Processors, ContentionTest, ::testing::Values(1, 3));

void RecordOneBlock(int64_t delay_ns) {
  if (const uint32_t weight = internal::OfferBlock(); weight != 0) internal::RecordBlock(delay_ns, weight);
}

// Makes events on a thread of its own, with so much time between them that none needs to be thinned out.
void MakeEvents(int count, const std::function<void()>& event) {
  constexpr int kAtOnce = 100;
  std::thread([&] {
    for (int i = 0; i < count; i += kAtOnce) {
      const int64_t start_ns = MonotonicNowNs();
      for (int j = 0; j < kAtOnce; ++j) event();
      const int64_t end_ns = MonotonicNowNs() + 25 * (MonotonicNowNs() - start_ns);
      while (MonotonicNowNs() < end_ns) sched_yield();
    }
  }).join();
}

// Recorded with probability 1/10, each for ten: n of them are off by 1 / sqrt(n), relatively; five times that.
TEST(ContentionRatesTest, ShortWaitsAreRightOnAverage) {
  constexpr int kEvents = 20'000;
  SetBlockProfileRate(1'000);
  const Charge before = ChargedTo<7>(Contention::kBlock);
  const int64_t recorded_before = ReadContention(Contention::kBlock).events;
  MakeEvents(kEvents, [] { At<7>([] { RecordOneBlock(100); }); });
  SetBlockProfileRate(0);
  const Charge charge = ChargedTo<7>(Contention::kBlock) - before;
  const auto recorded = static_cast<double>(ReadContention(Contention::kBlock).events - recorded_before);
  ASSERT_GT(recorded, 1000);
  const double tolerance = 5 / std::sqrt(recorded);
  EXPECT_NEAR(static_cast<double>(charge.count) / kEvents, 1, tolerance);
  EXPECT_NEAR(static_cast<double>(charge.delay_ns) / (100.0 * kEvents), 1, tolerance);
}

TEST(ContentionRatesTest, OneInSeveralUnlocksCountsForAll) {
  constexpr int kEvents = 20'000;
  EXPECT_EQ(SetMutexProfileFraction(10), 0);
  EXPECT_EQ(SetMutexProfileFraction(-1), 10);
  const int64_t recorded_before = ReadContention(Contention::kMutex).events;
  MakeEvents(kEvents, [] { At<8>([] { internal::RecordMutexContention(50); }); });
  EXPECT_EQ(SetMutexProfileFraction(0), 10);
  const Charge charge = ChargedTo<8>(Contention::kMutex);
  const auto recorded = static_cast<double>(ReadContention(Contention::kMutex).events - recorded_before);
  ASSERT_GT(recorded, 1000);
  const double tolerance = 5 / std::sqrt(recorded);
  EXPECT_NEAR(static_cast<double>(charge.count) / kEvents, 1, tolerance);
  EXPECT_NEAR(static_cast<double>(charge.delay_ns) / (50.0 * kEvents), 1, tolerance);
}

TEST(ContentionRatesTest, AreAsTheyWereSet) {
  SetBlockProfileRate(123);
  EXPECT_EQ(BlockProfileRate(), 123);
  SetBlockProfileRate(-5);
  EXPECT_EQ(BlockProfileRate(), 0);
  internal::RecordBlock(1'000'000, 1);  // somebody who began to wait before
  EXPECT_EQ(SetMutexProfileFraction(0), 0);
}

// Events of several threads and readers at the same time: totals never go down, and add up.
TEST(ContentionRatesTest, ReadersSeeTotalsThatOnlyGrow) {
  constexpr int kEvents = 20'000;
  SetBlockProfileRate(1);
  const Charge before = ChargedTo<9>(Contention::kBlock);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([] {
      At<9>([] {
        for (int i = 0; i < kEvents; ++i) RecordOneBlock(1'000);
      });
    });
  }
  Charge last = before;
  for (int i = 0; i < 50; ++i) {
    const Charge now = ChargedTo<9>(Contention::kBlock);
    EXPECT_GE(now.count, last.count);
    EXPECT_GE(now.delay_ns, last.delay_ns);
    last = now;
  }
  for (std::thread& thread : threads) thread.join();
  SetBlockProfileRate(0);
  const Charge charge = ChargedTo<9>(Contention::kBlock) - before;
  EXPECT_EQ(charge.delay_ns, 1'000 * charge.count);
  EXPECT_GT(charge.count, 0);
}

}  // namespace
}  // namespace fiberscope
