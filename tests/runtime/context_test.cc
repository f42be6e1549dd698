#include "runtime/context.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "runtime/park.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/wait_group.h"
#include "runtime/wait_cancelled.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

using ContextTest = testing::RuntimeTest;

constexpr ContextKey<std::string> kRequestId("request id");
constexpr ContextKey<int> kDepth("depth");
constexpr ContextKey<std::shared_ptr<int>> kShared("shared");

// ---- The tree, without fibers

TEST(ContextTreeTest, TheBackgroundIsNeverCancelledAndKnowsNothing) {
  const Context background;
  EXPECT_FALSE(background.cancellable());
  EXPECT_FALSE(background.cancelled());
  EXPECT_TRUE(background.err().ok());
  EXPECT_TRUE(background.cause().ok());
  EXPECT_FALSE(background.deadline().has_value());
  EXPECT_EQ(background.Get(kRequestId), nullptr);
  EXPECT_EQ(background.WithoutCancel(), background);
  EXPECT_EQ(this_fiber::context(), background);
}

TEST(ContextTreeTest, TheNearestValueUpTheTreeIsFoundByKey) {
  const Context outer = Context().With(kRequestId, "r-1").With(kDepth, 1);
  const Context inner = outer.With(kDepth, 2);
  EXPECT_EQ(*inner.Get(kRequestId), "r-1");
  EXPECT_EQ(*inner.Get(kDepth), 2);
  EXPECT_EQ(*outer.Get(kDepth), 1);
  EXPECT_EQ(outer.Get(kShared), nullptr);
}

TEST(ContextTreeTest, ValuesLiveAsLongAsAContextBelowThem) {
  const auto value = std::make_shared<int>(7);
  {
    Context leaf;
    {
      const Context outer = Context().With(kShared, value);
      leaf = outer.With(kDepth, 1);
    }
    EXPECT_EQ(value.use_count(), 2);
    EXPECT_EQ(**leaf.Get(kShared), 7);
  }
  EXPECT_EQ(value.use_count(), 1);
}

TEST(ContextTreeTest, CancellingReachesAllBelowAndNothingAbove) {
  const CancelSource root = Context().WithCancel();
  const CancelSource middle = root.context().WithCancel();
  const CancelSource sibling = root.context().WithCancel();
  const CancelSource leaf = middle.context().With(kDepth, 3).WithCancel();
  const Context value_below = leaf.context().With(kDepth, 4);
  EXPECT_TRUE(middle.Cancel(absl::AbortedError("client gone")));
  EXPECT_FALSE(middle.Cancel(absl::InternalError("too late")));
  EXPECT_FALSE(root.context().cancelled());
  EXPECT_FALSE(sibling.context().cancelled());
  for (const Context& context : {middle.context(), leaf.context(), value_below}) {
    EXPECT_TRUE(context.cancelled());
    EXPECT_EQ(context.err().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(context.cause(), absl::AbortedError("client gone"));
  }
  EXPECT_TRUE(sibling.Cancel());
  EXPECT_EQ(sibling.context().cause().code(), absl::StatusCode::kCancelled);
}

TEST(ContextTreeTest, AContextBelowACancelledOneIsBornCancelledWithItsCause) {
  const CancelSource parent = Context().WithCancel();
  parent.Cancel(absl::AbortedError("before"));
  EXPECT_EQ(parent.context().WithCancel().context().cause(), absl::AbortedError("before"));
  EXPECT_EQ(parent.context().WithTimeout(hours(1)).context().cause(), absl::AbortedError("before"));
  EXPECT_EQ(parent.context().With(kDepth, 1).cause(), absl::AbortedError("before"));
}

TEST(ContextTreeTest, ASourceThatGoesAwayCancelsAndAReleasedOneDoesNot) {
  Context dropped;
  Context released;
  {
    const CancelSource source = Context().WithCancel();
    dropped = source.context();
    released = Context().WithCancel().Release();
  }
  EXPECT_TRUE(dropped.cancelled());
  EXPECT_FALSE(released.cancelled());
  CancelSource a = Context().WithCancel();
  dropped = a.context();
  a = Context().WithCancel();
  EXPECT_TRUE(dropped.cancelled());
  EXPECT_FALSE(a.context().cancelled());
}

TEST(ContextTreeTest, WithoutCancelKeepsTheValuesOnly) {
  const CancelSource source = Context().With(kDepth, 5).WithTimeout(hours(1));
  const Context kept = source.context().WithoutCancel();
  source.Cancel();
  EXPECT_FALSE(kept.cancellable());
  EXPECT_FALSE(kept.cancelled());
  EXPECT_FALSE(kept.deadline().has_value());
  EXPECT_EQ(*kept.Get(kDepth), 5);
}

TEST(ContextTreeTest, TheEarliestDeadlineUpTheTreeCounts) {
  const auto soon = steady_clock::now() + hours(1);
  const auto late = soon + hours(1);
  const CancelSource outer = Context().WithDeadline(soon);
  EXPECT_EQ(outer.context().deadline(), soon);
  EXPECT_EQ(outer.context().WithDeadline(late).context().deadline(), soon);
  EXPECT_EQ(outer.context().WithCancel().context().deadline(), soon);
  EXPECT_EQ(outer.context().WithDeadline(soon - milliseconds(1)).context().deadline(), soon - milliseconds(1));
  EXPECT_FALSE(Context().WithTimeout(std::chrono::nanoseconds::max()).context().deadline().has_value());
}

TEST(ContextTreeTest, ADeadlineThatHasPassedCancelsAtOnce) {
  const CancelSource source = Context().WithTimeout(std::chrono::nanoseconds(0));
  EXPECT_TRUE(source.context().cancelled());
  EXPECT_EQ(source.context().err().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(source.context().cause().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Context().WithTimeout(std::chrono::nanoseconds::min()).context().cancelled());
}

TEST(ContextTreeTest, APlainThreadWaitsForADeadline) {
  const CancelSource source = Context().WithTimeout(milliseconds(2));
  const CancelSource below = source.context().WithCancel();
  EXPECT_EQ(below.context().WaitDone().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(source.Cancel());
}

TEST(ContextTreeTest, WaitDoneUntilGivesUp) {
  const CancelSource source = Context().WithCancel();
  EXPECT_TRUE(source.context().WaitDoneUntil(steady_clock::now() + microseconds(200)).ok());
  EXPECT_TRUE(Context().WaitDoneUntil(steady_clock::now() + microseconds(200)).ok());
  source.Cancel(absl::AbortedError("x"));
  EXPECT_EQ(source.context().WaitDoneUntil(steady_clock::now()), absl::AbortedError("x"));
}

TEST(ContextTreeTest, DeadlinesPassInAnyOrderOfTheirMaking) {
  // Later ones first, so that each new one has to wake the watching thread.
  std::vector<CancelSource> sources;
  for (int i = 20; i > 0; --i) sources.push_back(Context().WithTimeout(microseconds(i * 150)));
  for (const CancelSource& source : sources) {
    EXPECT_EQ(source.context().WaitDone().code(), absl::StatusCode::kDeadlineExceeded);
  }
}

TEST(ContextTreeTest, ADeepTreeNeedsNoStackToCancelOrToDrop) {
  constexpr int kLevels = 100'000;
  const CancelSource root = Context().WithCancel();
  Context leaf = root.context();
  for (int i = 0; i < kLevels; ++i) leaf = leaf.WithCancel().Release();
  root.Cancel(absl::AbortedError("all"));
  EXPECT_EQ(leaf.cause(), absl::AbortedError("all"));
}

TEST(ContextTreeTest, MoreChildrenThanOneBatchAreAllCancelled) {
  const CancelSource root = Context().WithCancel();
  std::vector<CancelSource> children;
  for (int i = 0; i < 1000; ++i) children.push_back(root.context().WithCancel());
  // Some leave the list in between.
  for (int i = 0; i < 1000; i += 3) children[static_cast<size_t>(i)] = root.context().WithCancel();
  root.Cancel();
  for (const CancelSource& child : children) EXPECT_TRUE(child.context().cancelled());
}

TEST(ContextTreeTest, ACallbackRunsOnceOrNotAtAll) {
  std::atomic<int> calls{0};
  CancelSource source = Context().WithCancel();
  {
    ContextCallback taken_back(source.context(), [&] { calls += 100; });
  }
  ContextCallback first(source.context(), [&] { ++calls; });
  ContextCallback second(source.context().With(kDepth, 1), [&] { ++calls; });
  ContextCallback never(Context(), [&] { calls += 100; });
  EXPECT_EQ(calls, 0);
  source.Cancel();
  EXPECT_EQ(calls, 2);
  ContextCallback late(source.context(), [&] { ++calls; });
  EXPECT_EQ(calls, 3);
}

TEST(ContextTreeTest, ACallbacksDestructorWaitsForItsFunction) {
  for (int i = 0; i < 300; ++i) {
    const CancelSource source = Context().WithCancel();
    auto alive = std::make_unique<std::atomic<bool>>(true);
    auto callback = std::make_unique<ContextCallback>(source.context(), [&flag = *alive] {
      for (int turn = 0; turn < 20; ++turn) {
        EXPECT_TRUE(flag.load());
        sched_yield();
      }
    });
    std::thread canceller([&] { source.Cancel(); });
    callback.reset();
    *alive = false;
    canceller.join();
  }
}

TEST(ContextTreeDeathTest, MisuseIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(Context().WithCancel().Cancel(absl::OkStatus()), "cancelled with the cause OK");
  EXPECT_DEATH(ContextScope{Context()}, "must be made on a fiber");
}

// ---- Fibers

TEST_P(ContextTest, ChildrenInheritTheContextAtSpawn) {
  RunInFiber([] {
    EXPECT_EQ(this_fiber::context(), Context());
    Context expected;
    {
      ContextScope scope(Context().With(kRequestId, "r-2"));
      expected = this_fiber::context();
      Spawn([&] {
        EXPECT_EQ(this_fiber::context(), expected);
        Spawn([&] { EXPECT_EQ(*this_fiber::context().Get(kRequestId), "r-2"); }).Join();
      }).Join();
      Spawn([] { EXPECT_EQ(this_fiber::context(), Context()); }, {.context = Context()}).Join();
    }
    EXPECT_EQ(this_fiber::context(), Context());
    Spawn([] { EXPECT_EQ(this_fiber::context().Get(kRequestId), nullptr); }).Join();
  });
}

TEST_P(ContextTest, AFiberSpawnedFromOutsideGetsTheContextOfItsOptions) {
  const auto value = std::make_shared<int>(3);
  scheduler()
      .Spawn([] { EXPECT_EQ(**this_fiber::context().Get(kShared), 3); }, {.context = Context().With(kShared, value)})
      .Join();
  StopScheduler();
  EXPECT_EQ(value.use_count(), 1);
}

TEST_P(ContextTest, CancellingWakesEveryKindOfCancellableWait) {
  const CancelSource source = Context().WithCancel();
  Channel<int> channel;
  WaitGroup group;
  group.Add(1);
  WaitGroup never_joined;
  never_joined.Add(1);
  std::atomic<int> cancelled{0};
  const Fiber target = scheduler().Spawn([&] { never_joined.Wait(); });
  std::vector<Fiber> fibers;
  const auto waits = [&](auto&& wait) {
    fibers.push_back(scheduler().Spawn(
        [&cancelled, wait] {
          EXPECT_THROW(wait(), WaitCancelled);
          ++cancelled;
          EXPECT_THROW(wait(), WaitCancelled) << "the next wait ends at once";
        },
        {.context = source.context()}));
  };
  waits([&] { channel.Receive(); });
  waits([&] { group.Wait(); });
  waits([&] { target.Join(); });
  waits([] { this_fiber::SleepFor(hours(1)); });
  waits([] { std::ignore = Context().WaitDone(); });
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  EXPECT_TRUE(source.Cancel());
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(cancelled, 5);
  group.Done();
  never_joined.Done();
  target.Join();
}

TEST_P(ContextTest, AMutexIsWaitedForInSpiteOfACancellation) {
  const CancelSource source = Context().WithCancel();
  Mutex mutex;
  Channel<int> leave;
  std::atomic<bool> locked{false};
  const Fiber owner = scheduler().Spawn([&] {
    const std::lock_guard lock(mutex);
    locked = true;
    leave.Receive();
  });
  while (!locked) sched_yield();
  bool got_it = false;
  const Fiber fiber = scheduler().Spawn(
      [&] {
        const std::lock_guard lock(mutex);
        got_it = true;
      },
      {.context = source.context()});
  AwaitState(fiber, FiberState::kWaiting);
  source.Cancel();
  EXPECT_EQ(fiber.state(), FiberState::kWaiting);
  leave.Close();
  fiber.Join();
  owner.Join();
  EXPECT_TRUE(got_it);
}

TEST_P(ContextTest, AFiberInNoCancellableContextMakesPlainWaits) {
  Channel<int> channel;
  uint8_t bits = 0xff;
  const Context plain = Context().WithCancel().context().WithoutCancel().With(kDepth, 1);
  const Fiber fiber = scheduler().Spawn(
      [&] {
        bits = internal::CurrentFiber()->cancellation;
        channel.Receive();
        EXPECT_FALSE(internal::CurrentFiber()->waiter.claimed_wait);
      },
      {.context = plain});
  AwaitState(fiber, FiberState::kWaiting);
  channel.Close();
  fiber.Join();
  EXPECT_EQ(bits, 0);
}

TEST_P(ContextTest, ADeadlineEndsTheWaitsOfItsBlockAndNoLongerOnes) {
  RunInFiber([] {
    Channel<int> never;
    const ContextScope outer(Context().WithCancel());
    try {
      const ContextScope scope(this_fiber::context().WithTimeout(milliseconds(1)));
      never.Receive();
      ADD_FAILURE() << "returned";
    } catch (const WaitCancelled&) {
    }
    EXPECT_FALSE(this_fiber::context().cancelled());
    this_fiber::SleepFor(microseconds(10));  // does not throw any more
    {
      const ContextScope cancelled(this_fiber::context().WithTimeout(milliseconds(0)));
      EXPECT_EQ(this_fiber::context().err().code(), absl::StatusCode::kDeadlineExceeded);
      EXPECT_THROW(this_fiber::SleepFor(microseconds(10)), WaitCancelled);
      {
        const ContextScope cleanup(this_fiber::context().WithoutCancel());
        this_fiber::SleepFor(microseconds(10));
      }
      EXPECT_THROW(this_fiber::SleepFor(microseconds(10)), WaitCancelled);
    }
    this_fiber::SleepFor(microseconds(10));
  });
}

TEST_P(ContextTest, ACancellationOfTheOuterContextHoldsAfterAnInnerBlock) {
  RunInFiber([] {
    const CancelSource outer = Context().WithCancel();
    const ContextScope scope(outer.context());
    {
      const ContextScope inner(this_fiber::context().WithCancel());
      outer.Cancel(absl::AbortedError("outer"));
      EXPECT_EQ(this_fiber::context().cause(), absl::AbortedError("outer"));
    }
    EXPECT_THROW(this_fiber::SleepFor(microseconds(10)), WaitCancelled);
  });
}

TEST_P(ContextTest, FibersWaitForTheEndOfAContext) {
  const CancelSource source = Context().WithCancel();
  std::vector<Fiber> fibers;
  std::atomic<int> done{0};
  for (int i = 0; i < 100; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      EXPECT_EQ(source.context().WaitDone(), absl::AbortedError("now"));
      ++done;
    }));
  }
  // Of its own context a fiber hears the same way, not by an exception.
  fibers.push_back(scheduler().Spawn(
      [&] {
        EXPECT_EQ(this_fiber::context().WaitDone(), absl::AbortedError("now"));
        ++done;
      },
      {.context = source.context().With(kDepth, 1)}));
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  source.Cancel(absl::AbortedError("now"));
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(done, 101);
}

TEST_P(ContextTest, AFiberWokenByACancellationFindsAllContextsBelowItCancelled) {
  for (int round = 0; round < 50; ++round) {
    const CancelSource root = Context().WithCancel();
    std::vector<CancelSource> others;
    for (int i = 0; i < 70; ++i) others.push_back(root.context().WithCancel());
    const CancelSource own = others[35].context().WithCancel();
    for (int i = 0; i < 70; ++i) others.push_back(others[static_cast<size_t>(i)].context().WithCancel());
    std::vector<Fiber> fibers;
    for (const Context& context : {root.context(), own.context(), others[0].context(), others[139].context()}) {
      fibers.push_back(scheduler().Spawn(
          [&] {
            EXPECT_THROW(this_fiber::SleepFor(hours(1)), WaitCancelled);
            for (const CancelSource& other : others) EXPECT_TRUE(other.context().cancelled());
          },
          {.context = context}));
    }
    for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
    root.Cancel();
    for (const Fiber& fiber : fibers) fiber.Join();
  }
}

TEST_P(ContextTest, ThousandsOfFibersOfAContextAreWokenOnceEach) {
  constexpr int kFibers = 3000;
  const CancelSource root = Context().WithCancel();
  std::vector<CancelSource> requests;
  for (int i = 0; i < 30; ++i) requests.push_back(root.context().WithTimeout(hours(1)));
  std::atomic<int> woken{0};
  std::vector<Fiber> fibers;
  for (int i = 0; i < kFibers; ++i) {
    fibers.push_back(scheduler().Spawn(
        [&] {
          try {
            this_fiber::SleepFor(hours(1));
          } catch (const WaitCancelled&) {
            ++woken;
          }
        },
        {.context = requests[static_cast<size_t>(i) % requests.size()].context()}));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  root.Cancel();
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(woken, kFibers);
}

TEST_P(ContextTest, StopUnwindsFibersThroughTheirScopes) {
  const CancelSource root = Context().WithCancel();
  Channel<int> never;
  std::vector<Fiber> fibers;
  for (int i = 0; i < 20; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      const ContextScope scope(root.context().WithTimeout(hours(1)));
      never.Receive();
    }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  scheduler().Stop();
  root.Cancel();  // must find nobody
}

// Goal: however a cancellation, a partner, a deadline, the start and the end of fibers fall, each wait ends once, no value is lost,
// and nobody is told after its end. Method: consumers in contexts that plain threads and deadlines cancel all the time; each
// value sent is received once.
TEST_P(ContextTest, StressOfCancellationRacingCompletion) {
  const uint32_t seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  constexpr int kValues = 2000;
  Channel<int> channel(2);
  std::atomic<int64_t> received{0};
  std::atomic<int> count{0};
  std::atomic<bool> finished{false};
  std::atomic<int> cancelled{0};
  std::vector<Fiber> fibers;
  for (int f = 0; f < 8; ++f) {
    fibers.push_back(scheduler().Spawn([&, f] {
      std::minstd_rand random(seed + static_cast<uint32_t>(f));
      for (bool open = true; open;) {
        const ContextScope scope(random() % 3 == 0 ? this_fiber::context().WithTimeout(microseconds(random() % 300))
                                                   : this_fiber::context().WithCancel());
        Context shared = this_fiber::context();
        // Somebody else cancels, perhaps after we are through.
        const Fiber canceller = Spawn([&scope, wait = random() % 3] {
          for (uint32_t i = 0; i < wait; ++i) this_fiber::Yield();
          scope.source().Cancel();
        }, {.context = Context()});
        try {
          for (int i = 0; i < 20; ++i) {
            const std::optional<int> value = channel.Receive();
            if (!value.has_value()) {
              open = false;
              break;
            }
            received += *value;
            ++count;
          }
        } catch (const WaitCancelled&) {
          ++cancelled;
        }
        const ContextScope uncancelled{Context()};
        canceller.Join();
      }
    }));
  }
  const Fiber sender = scheduler().Spawn([&] {
    for (int i = 1; i <= kValues; ++i) EXPECT_TRUE(channel.Send(i));
    channel.Close();
  });
  sender.Join();
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(count, kValues);
  EXPECT_EQ(received, int64_t{kValues} * (kValues + 1) / 2);
}

TEST_P(ContextTest, StressOfCancellingWhileFibersComeAndGo) {
#ifdef FIBERSCOPE_TSAN  // see .bazelrc
  constexpr int kRounds = 20;
#else
  constexpr int kRounds = 100;
#endif
  for (int round = 0; round < kRounds; ++round) {
    const CancelSource root = Context().WithCancel();
    std::atomic<bool> go{false};
    std::atomic<int> ended{0};
    std::thread canceller([&] {
      while (!go) sched_yield();
      root.Cancel();
    });
    const Fiber spawner = scheduler().Spawn(
        [&] {
          std::vector<Fiber> children;
          for (int i = 0; i < 50; ++i) {
            if (i == 10) go = true;
            children.push_back(Spawn([&] {
              try {
                const ContextScope scope(this_fiber::context().WithCancel());
                this_fiber::SleepFor(hours(1));
              } catch (const WaitCancelled&) {
                ++ended;
              }
            }));
          }
          const ContextScope uncancelled{Context()};
          for (const Fiber& child : children) child.Join();
        },
        {.context = root.context()});
    spawner.Join();
    canceller.join();
    EXPECT_EQ(ended, 50);
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, ContextTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
