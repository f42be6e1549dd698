#include "runtime/pool.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/context.h"
#include "runtime/sync/channel.h"
#include "runtime/wait_cancelled.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;

class PoolTest : public testing::RuntimeTest {
 protected:
  // Until the pool's figures are as `condition` says.
  template <typename Condition>
  static void AwaitMetrics(const Pool& pool, Condition condition) {
    while (!condition(pool.metrics())) {
      if (this_fiber::id()) {
        this_fiber::Yield();
      } else {
        sched_yield();
      }
    }
  }

  static void ExpectBalanced(const PoolMetrics& metrics) {
    EXPECT_EQ(metrics.submitted, metrics.completed + metrics.cancelled + metrics.active + metrics.queued);
    EXPECT_LE(metrics.completed, Started(metrics));
  }

  static uint64_t Started(const PoolMetrics& metrics) {
    return std::accumulate(metrics.wait_ns_buckets.begin(), metrics.wait_ns_buckets.end(), uint64_t{0});
  }
};

TEST_P(PoolTest, ResultsComeThroughFutures) {
  Pool pool(scheduler(), {.fibers = 3, .queue_capacity = 100});
  std::vector<PoolFuture<int>> futures;
  for (int i = 0; i < 50; ++i) futures.push_back(*pool.Submit([i] { return i * i; }));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(futures[static_cast<size_t>(i)].Get(), i * i);
  PoolFuture<void> nothing = *pool.Submit([] {});
  nothing.Get();
  EXPECT_TRUE(nothing.ready());
  PoolFuture<std::unique_ptr<int>> moved =
      *pool.Submit([p = std::make_unique<int>(4)]() mutable { return std::move(p); });
  EXPECT_EQ(*moved.Get(), 4);
  PoolFuture<int> broken = *pool.Submit([]() -> int { throw std::out_of_range("task"); });
  EXPECT_THROW(broken.Get(), std::out_of_range);
  pool.Stop(PoolStop::kDrain);
  const PoolMetrics metrics = pool.metrics();
  EXPECT_EQ(metrics.submitted, 53u);
  EXPECT_EQ(metrics.completed, 53u);
  EXPECT_EQ(metrics.rejected + metrics.active + metrics.queued + metrics.cancelled, 0u);
  EXPECT_EQ(Started(metrics), 53u);
}

TEST_P(PoolTest, ResultsComeThroughCallbacks) {
  Pool pool(scheduler(), {.fibers = 2, .queue_capacity = 10});
  Channel<int> results(4);
  EXPECT_TRUE(pool.Submit([] { return 8; },
                          [&](std::exception_ptr exception, std::optional<int> value) {
                            EXPECT_FALSE(exception);
                            results.Send(*value);
                          })
                  .ok());
  EXPECT_EQ(results.Receive(), 8);
  EXPECT_TRUE(pool.Submit([] { throw std::length_error("x"); },
                          [&](std::exception_ptr exception) {
                            EXPECT_THROW(std::rethrow_exception(exception), std::length_error);
                            results.Send(9);
                          })
                  .ok());
  EXPECT_EQ(results.Receive(), 9);
}

TEST_P(PoolTest, NoMoreThanItsFibersRunAtOnceAndWorkStaysInOrder) {
  RunInFiber([&] {
    Pool pool({.fibers = 3, .queue_capacity = 1000});
    std::atomic<int> running{0};
    std::atomic<int> peak{0};
    std::atomic<int> arrived{0};
    for (int i = 0; i < 200; ++i) {
      EXPECT_TRUE(pool.Submit([&, i] {
                        const int now = ++running;
                        // The first three wait for each other, which ends only if they run at the same time.
                        if (i < 3) ++arrived;
                        while (i < 3 && arrived < 3) this_fiber::Yield();
                        int seen = peak;
                        while (now > seen && !peak.compare_exchange_weak(seen, now)) {
                        }
                        this_fiber::Yield();
                        --running;
                      })
                      .ok());
    }
    pool.Stop(PoolStop::kDrain);
    EXPECT_EQ(peak, 3);
    Pool serial({.fibers = 1, .queue_capacity = 1000});
    std::vector<int> order;
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(serial.Submit([&order, i] { order.push_back(i); }).ok());
    serial.Stop(PoolStop::kDrain);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  });
}

TEST_P(PoolTest, AFullPoolRejects) {
  Pool pool(scheduler(), {.fibers = 1, .queue_capacity = 2, .name = "narrow"});
  Channel<int> leave;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.Submit([&] { leave.Receive(); }).ok());
  bool destroyed = false;
  struct Notice {
    bool* flag;
    explicit Notice(bool* f) : flag(f) {}
    Notice(Notice&& other) noexcept : flag(std::exchange(other.flag, nullptr)) {}
    ~Notice() {
      if (flag != nullptr) *flag = true;
    }
  };
  const absl::Status status = pool.Submit([notice = Notice(&destroyed)] {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("narrow"), absl::string_view::npos) << status;
  EXPECT_TRUE(destroyed);
  const PoolMetrics full = pool.metrics();
  EXPECT_EQ(full.active, 1u);
  EXPECT_EQ(full.queued, 2u);
  EXPECT_EQ(full.rejected, 1u);
  leave.Close();
  pool.Stop(PoolStop::kDrain);
  EXPECT_EQ(pool.metrics().completed, 3u);
}

TEST_P(PoolTest, AFullPoolBlocksItsSubmittersInOrder) {
  Pool pool(scheduler(), {.fibers = 1, .queue_capacity = 1, .when_full = WhenPoolFull::kBlock});
  Channel<int> steps;
  std::vector<int> order;
  EXPECT_TRUE(pool.Submit([&] { steps.Receive(); }).ok());
  EXPECT_TRUE(pool.Submit([&] { order.push_back(-1); }).ok());
  std::vector<Fiber> submitters;
  for (int i = 0; i < 5; ++i) {
    submitters.push_back(
        scheduler().Spawn([&, i] { EXPECT_TRUE(pool.Submit([&order, i] { order.push_back(i); }).ok()); }));
    AwaitMetrics(pool, [i](const PoolMetrics& metrics) { return metrics.blocked == static_cast<uint64_t>(i) + 1; });
  }
  std::thread thread([&] { EXPECT_TRUE(pool.Submit([&] { order.push_back(5); }).ok()); });
  AwaitMetrics(pool, [](const PoolMetrics& metrics) { return metrics.blocked == 6; });
  EXPECT_EQ(pool.metrics().queued, 1u);
  steps.Close();
  for (const Fiber& submitter : submitters) submitter.Join();
  thread.join();
  pool.Stop(PoolStop::kDrain);
  EXPECT_EQ(order, (std::vector<int>{-1, 0, 1, 2, 3, 4, 5}));
}

TEST_P(PoolTest, WithoutAQueueSubmittersHandOverDirectly) {
  RunInFiber([] {
    Pool pool({.fibers = 2, .queue_capacity = 0, .when_full = WhenPoolFull::kBlock});
    std::atomic<int> ran{0};
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(pool.Submit([&] {
                        this_fiber::Yield();
                        ++ran;
                      })
                      .ok());
      EXPECT_EQ(pool.metrics().queued, 0u);
    }
    pool.Stop(PoolStop::kDrain);
    EXPECT_EQ(ran, 100);
  });
}

TEST_P(PoolTest, ABlockedSubmitterCanBeCancelled) {
  const CancelSource source = Context().WithCancel();
  Pool pool(scheduler(), {.fibers = 1, .when_full = WhenPoolFull::kBlock});
  Channel<int> leave;
  EXPECT_TRUE(pool.Submit([&] { leave.Receive(); }).ok());
  const Fiber submitter = scheduler().Spawn(
      [&] {
        EXPECT_EQ(pool.Submit([] { ADD_FAILURE() << "ran"; }).status().code(), absl::StatusCode::kCancelled);
        EXPECT_EQ(pool.Submit([] { ADD_FAILURE() << "ran"; }).status().code(), absl::StatusCode::kCancelled);
      },
      {.context = source.context()});
  AwaitMetrics(pool, [](const PoolMetrics& metrics) { return metrics.blocked == 1; });
  source.Cancel();
  submitter.Join();
  EXPECT_EQ(pool.metrics().blocked, 0u);
  EXPECT_EQ(pool.metrics().rejected, 2u);
  leave.Close();
}

TEST_P(PoolTest, AFullPoolMakesItsCallersWork) {
  Pool pool(scheduler(), {.fibers = 1, .queue_capacity = 0, .when_full = WhenPoolFull::kCallerRuns});
  Channel<int> leave;
  EXPECT_TRUE(pool.Submit([&] { leave.Receive(); }).ok());
  RunInFiber([&] {
    const FiberId self = this_fiber::id();
    PoolFuture<FiberId> ran_on = *pool.Submit([] { return this_fiber::id(); });
    EXPECT_TRUE(ran_on.ready());
    EXPECT_EQ(ran_on.Get(), self);
  });
  PoolFuture<int> on_thread = *pool.Submit([]() -> int { throw std::runtime_error("on the thread"); });
  EXPECT_THROW(on_thread.Get(), std::runtime_error);
  EXPECT_EQ(pool.metrics().caller_runs, 2u);
  EXPECT_EQ(pool.metrics().completed, 2u);
  leave.Close();
}

TEST_P(PoolTest, TasksHaveTheLabelsAndTheContextOfTheirSubmitter) {
  static constexpr ContextKey<int> kOrder("order");
  RunInFiber([] {
    Pool pool({.fibers = 1, .queue_capacity = 10});
    std::optional<PoolFuture<void>> first;
    {
      this_fiber::SetLabels({{"route", "/orders"}});
      const ContextScope scope(Context().With(kOrder, 12));
      first = *pool.Submit([] {
        EXPECT_EQ(this_fiber::labels().Get("route"), "/orders");
        EXPECT_EQ(*this_fiber::context().Get(kOrder), 12);
      });
      this_fiber::SetLabels({});
    }
    PoolFuture<void> second = *pool.Submit([] {
      EXPECT_TRUE(this_fiber::labels().empty());
      EXPECT_EQ(this_fiber::context().Get(kOrder), nullptr);
    });
    first->Get();
    second.Get();
  });
}

TEST_P(PoolTest, WorkOfACancelledSubmitterIsNotStartedAndEndsItsWaits) {
  Pool pool(scheduler(), {.fibers = 1, .queue_capacity = 10});
  const CancelSource source = Context().WithCancel();
  std::optional<PoolFuture<void>> running;
  std::optional<PoolFuture<void>> queued;
  scheduler()
      .Spawn(
          [&] {
            running = *pool.Submit([] { this_fiber::SleepFor(hours(1)); });
            queued = *pool.Submit([] { ADD_FAILURE() << "ran"; });
          },
          {.context = source.context()})
      .Join();
  AwaitMetrics(pool, [](const PoolMetrics& metrics) { return Started(metrics) == 1; });
  source.Cancel();
  EXPECT_THROW(running->Get(), WaitCancelled);
  EXPECT_THROW(queued->Get(), absl::BadStatusOrAccess);
  pool.Stop(PoolStop::kDrain);
  EXPECT_EQ(pool.metrics().completed, 1u);
  EXPECT_EQ(pool.metrics().cancelled, 1u);
}

TEST_P(PoolTest, StopDrainsOrCancels) {
  Pool pool(scheduler(), {.fibers = 2, .queue_capacity = 10});
  std::vector<PoolFuture<void>> futures;
  for (int i = 0; i < 6; ++i) futures.push_back(*pool.Submit([] { this_fiber::SleepFor(hours(1)); }));
  std::atomic<int> called{0};
  EXPECT_TRUE(pool.Submit([] { ADD_FAILURE() << "ran"; },
                          [&](std::exception_ptr exception) {
                            EXPECT_THROW(std::rethrow_exception(exception), absl::BadStatusOrAccess);
                            ++called;
                          })
                  .ok());
  // Only tasks that have started are cancelled in their waits.
  AwaitMetrics(pool, [](const PoolMetrics& metrics) { return Started(metrics) == 2; });
  pool.Stop(PoolStop::kCancel);
  int cancelled = 0;
  int never_ran = 0;
  for (PoolFuture<void>& future : futures) {
    EXPECT_TRUE(future.ready());
    try {
      future.Get();
      ADD_FAILURE() << "returned";
    } catch (const WaitCancelled&) {
      ++cancelled;
    } catch (const absl::BadStatusOrAccess& error) {
      EXPECT_EQ(error.status().code(), absl::StatusCode::kCancelled);
      ++never_ran;
    }
  }
  EXPECT_EQ(cancelled, 2);
  EXPECT_EQ(never_ran, 4);
  EXPECT_EQ(called, 1);
  EXPECT_EQ(pool.Submit([] {}).status().code(), absl::StatusCode::kFailedPrecondition);
  pool.Stop(PoolStop::kDrain);
  ExpectBalanced(pool.metrics());
}

TEST_P(PoolTest, StopReleasesBlockedSubmitters) {
  Pool pool(scheduler(), {.fibers = 1, .when_full = WhenPoolFull::kBlock});
  EXPECT_TRUE(pool.Submit([] { this_fiber::SleepFor(hours(1)); }).ok());
  const Fiber submitter =
      scheduler().Spawn([&] { EXPECT_EQ(pool.Submit([] {}).status().code(), absl::StatusCode::kFailedPrecondition); });
  AwaitMetrics(pool, [](const PoolMetrics& metrics) { return metrics.blocked == 1; });
  pool.Stop(PoolStop::kCancel);
  submitter.Join();
}

TEST_P(PoolTest, AFutureIsWaitedForWithADeadline) {
  Pool pool(scheduler(), {.fibers = 1});
  Channel<int> leave;
  PoolFuture<int> future = *pool.Submit([&] {
    leave.Receive();
    return 2;
  });
  EXPECT_EQ(future.WaitFor(microseconds(200)).code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(future.ready());
  leave.Close();
  EXPECT_TRUE(future.WaitFor(hours(1)).ok());
  EXPECT_EQ(future.Get(), 2);
}

TEST_P(PoolTest, TheSchedulersStopEndsTasksAndTheirFutures) {
  Pool pool(scheduler(), {.fibers = 2, .queue_capacity = 10});
  std::vector<PoolFuture<void>> futures;
  const auto held = std::make_shared<int>(0);
  for (int i = 0; i < 5; ++i) futures.push_back(*pool.Submit([held] { this_fiber::SleepFor(hours(1)); }));
  std::thread waiter([&] { EXPECT_THROW(futures[0].Get(), absl::BadStatusOrAccess); });
  scheduler().Stop();
  waiter.join();
  EXPECT_EQ(pool.Submit([] {}).status().code(), absl::StatusCode::kFailedPrecondition);
  pool.Stop(PoolStop::kDrain);
  for (PoolFuture<void>& future : futures) EXPECT_TRUE(future.ready());
  EXPECT_EQ(held.use_count(), 1);
  ExpectBalanced(pool.metrics());
}

TEST_P(PoolTest, APoolOnAFiberIsUnwoundWithItsTasks) {
  std::atomic<int> started{0};
  std::atomic<int> unwound{0};
  scheduler().Spawn([&] {
    std::atomic<int> local{0};
    Pool pool({.fibers = 4, .queue_capacity = 4});
    for (int i = 0; i < 8; ++i) {
      EXPECT_TRUE(pool.Submit([&] {
                        struct Count {
                          std::atomic<int>& a;
                          std::atomic<int>& b;
                          ~Count() {
                            ++a;
                            ++b;
                          }
                        } count{local, unwound};
                        ++started;
                        this_fiber::SleepFor(hours(1));
                      })
                      .ok());
    }
    this_fiber::SleepFor(hours(1));
  });
  while (started < 4) sched_yield();
  scheduler().Stop();
  EXPECT_EQ(unwound, 4);
}

TEST_P(PoolTest, OptionsOutOfRangeAreRefused) { EXPECT_THROW(Pool(scheduler(), {.fibers = 0}), std::invalid_argument); }

TEST(PoolMetricsTest, BucketsArePowersOfTwo) {
  EXPECT_EQ(PoolMetrics::WaitBucket(-5), 0u);
  EXPECT_EQ(PoolMetrics::WaitBucket(0), 0u);
  EXPECT_EQ(PoolMetrics::WaitBucket(1), 1u);
  EXPECT_EQ(PoolMetrics::WaitBucket(1023), 10u);
  EXPECT_EQ(PoolMetrics::WaitBucket(1024), 11u);
  EXPECT_EQ(PoolMetrics::WaitBucket(INT64_MAX), PoolMetrics::kWaitBuckets - 1);
}

// Goal: whatever the policy, each accepted task is run or discarded once, and the figures add up at every moment.
// Method: fibers and a plain thread submit, some in contexts that are cancelled at random, while another fiber looks;
// then the pool is stopped.
TEST_P(PoolTest, StressOfSubmittersAndCancellation) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  for (const WhenPoolFull policy : {WhenPoolFull::kReject, WhenPoolFull::kBlock, WhenPoolFull::kCallerRuns}) {
    for (const PoolStop how : {PoolStop::kDrain, PoolStop::kCancel}) {
      Pool pool(scheduler(), {.fibers = 3, .queue_capacity = 2, .when_full = policy});
      std::atomic<int> accepted{0};
      std::atomic<int> called_back{0};
      const auto submit = [&](std::minstd_rand& random) {
        const absl::Status status = pool.Submit(
            [turns = random() % 3] {
              for (uint32_t i = 0; i < turns && this_fiber::id(); ++i) this_fiber::SleepFor(microseconds(1));
            },
            [&](std::exception_ptr) { ++called_back; });
        accepted += status.ok() ? 1 : 0;
      };
      std::vector<Fiber> fibers;
      for (uint32_t f = 0; f < 6; ++f) {
        fibers.push_back(scheduler().Spawn([&, f] {
          std::minstd_rand random(seed + f);
          for (int i = 0; i < 60; ++i) {
            const CancelSource source = Context().WithCancel();
            const Fiber canceller = Spawn([&, wait = random() % 5] {
              for (uint32_t turn = 0; turn < wait; ++turn) this_fiber::Yield();
              source.Cancel();
            });
            {
              const ContextScope scope(source.context());
              submit(random);
            }
            canceller.Join();
          }
        }));
      }
      std::thread thread([&] {
        std::minstd_rand random(seed + 99);
        for (int i = 0; i < 60; ++i) submit(random);
      });
      for (int i = 0; i < 20; ++i) ExpectBalanced(pool.metrics());
      if (how == PoolStop::kCancel) pool.Stop(how);
      for (const Fiber& fiber : fibers) fiber.Join();
      thread.join();
      pool.Stop(how);
      ExpectBalanced(pool.metrics());
      EXPECT_EQ(called_back, accepted);
      EXPECT_EQ(pool.metrics().submitted, static_cast<uint64_t>(accepted));
      EXPECT_EQ(pool.metrics().active + pool.metrics().queued + pool.metrics().blocked, 0u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, PoolTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
