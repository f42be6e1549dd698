// Goal: no fiber, wake-up or timer is lost, and no two workers have the same processor, whatever comes together.
// Method: run queues of two slots, so that overflow and stealing happen all the time; few or many processors, whose number
// changes; fibers that yield, wait, sleep, spawn, block and lock their threads in an order that the seed decides; plain threads
// that spawn and send. Every fiber must end, and a sum that all of them contribute to must be right.
#include <atomic>
#include <cstdio>
#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "runtime/blocking.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/wait_group.h"
#include "runtime/thread_lock.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 40;
#else
constexpr int kRounds = 200;
#endif
constexpr int kFibers = 64;
constexpr int kThreads = 3;
constexpr int kLockers = 6;

class SchedulerStressTest : public ::testing::TestWithParam<int> {};

TEST_P(SchedulerStressTest, EverythingAtOnce) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Scheduler scheduler({.processors = GetParam(),
                       .max_workers = GetParam() + 12,
                       .stall_after = std::chrono::milliseconds(2),
                       .on_stall = [](const StallReport&) {},
                       .run_queue_slots = 2});
  Channel<uint64_t> numbers(4);
  Mutex mutex;
  uint64_t under_mutex = 0;
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> children{0};
  std::atomic<int> lockers{0};
  WaitGroup group;

  const Fiber receiver = scheduler.Spawn([&] {
    while (const std::optional<uint64_t> number = numbers.Receive()) received += *number;
  });
  const auto life = [&](uint64_t id) {
    std::mt19937_64 random(seed + id);
    for (int round = 0; round < kRounds; ++round) {
      switch (random() % 10) {
        case 0: this_fiber::SleepFor(std::chrono::microseconds(random() % 50)); break;
        case 1: Blocking([] {}); break;
        case 2: Blocking([] { sched_yield(); }, {.expect_long = true}); break;
        case 3: numbers.Send(1); break;
        case 4: Spawn([&] { ++children; }).Join(); break;
        case 5: {
          const std::lock_guard lock(mutex);
          ++under_mutex;
          if (random() % 4 == 0) this_fiber::Yield();
          break;
        }
        case 6:
          // Not more of them than there are workers to spare.
          if (random() % 8 == 0) {
            if (++lockers <= kLockers) {
              const ThreadLock lock;
              this_fiber::Yield();
              Blocking([] {}, {.expect_long = true});
              this_fiber::SleepFor(std::chrono::microseconds(1));
            }
            --lockers;
          }
          break;
        default: this_fiber::Yield(); break;
      }
    }
    group.Done();
  };
  group.Add(kFibers + kThreads);
  for (uint64_t id = 0; id < kFibers; ++id) scheduler.Spawn([&, id] { life(id); });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed * 31 + static_cast<uint64_t>(t));
      for (int round = 0; round < kRounds; ++round) {
        numbers.Send(1);
        if (random() % 4 == 0) scheduler.Spawn([&] { ++children; }).Join();
        if (t == 0 && random() % 8 == 0) scheduler.SetProcessors(1 + static_cast<int>(random() % GetParam()));
        if (t == 1 && random() % 8 == 0) ForEachFiber({}, [](const FiberSnapshot&) { return true; });
        if (t == 2 && random() % 8 == 0) (void)scheduler.metrics();
      }
      group.Done();
    });
  }
  group.Wait();
  for (std::thread& thread : threads) thread.join();
  numbers.Close();
  receiver.Join();

  // What the seed decided, added up.
  uint64_t sent = static_cast<uint64_t>(kThreads) * kRounds;
  uint64_t locked = 0;
  for (uint64_t id = 0; id < kFibers; ++id) {
    std::mt19937_64 random(seed + id);
    for (int round = 0; round < kRounds; ++round) {
      switch (random() % 10) {
        case 0: random(); break;
        case 3: ++sent; break;
        case 5:
          ++locked;
          random();
          break;
        case 6: random(); break;
        default: break;
      }
    }
  }
  EXPECT_EQ(received, sent);
  EXPECT_EQ(under_mutex, locked);
  EXPECT_TRUE(scheduler.Stop({.drain = std::chrono::hours(1)}));
  const SchedulerMetrics metrics = scheduler.metrics();
  EXPECT_EQ(metrics.spawned, metrics.finished);
  EXPECT_EQ(metrics.queued, 0u);
  EXPECT_EQ(FiberCount(), 0);
}

INSTANTIATE_TEST_SUITE_P(Processors, SchedulerStressTest, ::testing::Values(1, 2, 4, 8));

}  // namespace
}  // namespace fiberscope
