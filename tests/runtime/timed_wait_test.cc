// Waits that several parties may end (wait_claim.h). Goal: each ends exactly once, the waiter and the party that ended
// it agree on how, and nothing of an ended wait is left in a queue or among the timers. Method: each outcome alone,
// then races of all of them.
#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/scheduler_core.h"
#include "runtime/suspend.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using internal::CancelWait;
using internal::ControlBlock;
using internal::CurrentFiber;
using internal::Suspension;
using internal::WaitOutcome;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

using TimedWaitTest = testing::RuntimeTest;

int64_t In(std::chrono::nanoseconds timeout) { return internal::DeadlineNs(DeadlineAfter(timeout)); }

size_t TimersOf(const ControlBlock& fiber) {
  size_t count = 0;
  for (const auto& processor : fiber.scheduler->processors()) count += processor->timers().size();
  return count;
}

void Write(const Suspension::Token& token, int value, bool* won = nullptr) {
  const bool done = Suspension::Complete(token, [&](void* slot) { *static_cast<int*>(slot) = value; });
  if (won != nullptr) *won = done;
}

TEST_P(TimedWaitTest, ASuspensionEndsByItsDeadline) {
  RunInFiber([] {
    int result = 0;
    Suspension suspension({.deadline_ns = In(milliseconds(2))});
    suspension.set_slot(&result);
    const Suspension::Token token = suspension.token();
    const int64_t start_ns = MonotonicNowNs();
    EXPECT_EQ(suspension.Wait({}), WaitOutcome::kTimedOut);
    EXPECT_GE(MonotonicNowNs() - start_ns, 1'000'000);
    bool won = true;
    Write(token, 1, &won);
    EXPECT_FALSE(won);
    EXPECT_EQ(result, 0);
  });
}

TEST_P(TimedWaitTest, ACompletionInTimeTakesTheTimerAway) {
  RunInFiber([] {
    for (int i = 0; i < 100; ++i) {
      int result = 0;
      Suspension suspension({.deadline_ns = In(hours(1))});
      suspension.set_slot(&result);
      const Fiber completer = Spawn([token = suspension.token()] { Write(token, 7); });
      EXPECT_EQ(suspension.Wait({}), WaitOutcome::kDone);
      EXPECT_EQ(result, 7);
      completer.Join();
    }
    EXPECT_EQ(TimersOf(*CurrentFiber()), 0u);
  });
}

TEST_P(TimedWaitTest, ADeadlineThatHasPassedDoesNotPark) {
  RunInFiber([] {
    Suspension suspension({.deadline_ns = MonotonicNowNs() - 1});
    EXPECT_EQ(suspension.Wait({}), WaitOutcome::kTimedOut);
    // Unless it was completed before.
    int result = 0;
    Suspension completed({.deadline_ns = MonotonicNowNs() - 1});
    completed.set_slot(&result);
    Write(completed.token(), 3);
    EXPECT_EQ(completed.Wait({}), WaitOutcome::kDone);
    EXPECT_EQ(result, 3);
  });
}

TEST_P(TimedWaitTest, ATokenEndsOnlyItsOwnWait) {
  RunInFiber([] {
    Suspension::Token old;
    {
      Suspension abandoned;
      old = abandoned.token();
    }
    int result = 0;
    Suspension suspension({.deadline_ns = In(milliseconds(2))});
    suspension.set_slot(&result);
    EXPECT_FALSE(CancelWait(old));
    bool won = true;
    Write(old, 9, &won);
    EXPECT_FALSE(won);
    EXPECT_EQ(suspension.Wait({}), WaitOutcome::kTimedOut);
    EXPECT_EQ(result, 0);
  });
}

TEST_P(TimedWaitTest, PlainThreadsAreSuspendedToo) {
  int result = 0;
  Suspension suspension;
  suspension.set_slot(&result);
  scheduler().Spawn([token = suspension.token()] { Write(token, 5); });
  EXPECT_EQ(suspension.Wait({}), WaitOutcome::kDone);
  EXPECT_EQ(result, 5);
  Suspension timed({.deadline_ns = In(milliseconds(1))});
  EXPECT_EQ(timed.Wait({}), WaitOutcome::kTimedOut);
  Suspension cancelled;
  std::thread thread([token = cancelled.token()] { EXPECT_TRUE(CancelWait(token)); });
  EXPECT_EQ(cancelled.Wait({}), WaitOutcome::kCancelled);
  thread.join();
}

// ---- Cancellation of whatever wait a fiber is in

void Cancel(ControlBlock& fiber) {
  fiber.cancellation.fetch_or(internal::kCancelPending);
  CancelWait(fiber);
}

// A cancellable fiber that runs `body`; what it leaves with.
enum class Left { kNot, kNormally, kCancelled };
Fiber SpawnCancellable(ControlBlock*& self, std::atomic<Left>& left, std::function<void()> body) {
  return Spawn([&self, &left, body = std::move(body)] {
    self = CurrentFiber();
    self->cancellation.store(internal::kCancellable);
    try {
      body();
      left = Left::kNormally;
    } catch (const WaitCancelled&) {
      left = Left::kCancelled;
    }
    self->cancellation.store(0);
  });
}

TEST_P(TimedWaitTest, EveryKindOfWaitCanBeCancelled) {
  RunInFiber([&] {
    Channel<int> channel;
    WaitGroup group;
    group.Add(1);
    Semaphore semaphore(0);
    const Fiber endless = Spawn([&] { channel.Receive(); });
    const std::pair<const char*, std::function<void()>> waits[] = {
        {"receive", [&] { Channel<int>().Receive(); }},
        {"send", [&] { Channel<int>().Send(1); }},
        {"wait group", [&] { group.Wait(); }},
        {"semaphore", [&] { semaphore.Acquire(); }},
        {"join", [&] { endless.Join(); }},
        {"sleep", [&] { this_fiber::SleepFor(hours(1)); }},
        {"no channel", [&] { Receive(static_cast<Channel<int>*>(nullptr)); }},
    };
    for (const auto& [name, wait] : waits) {
      ControlBlock* self = nullptr;
      std::atomic<Left> left{Left::kNot};
      const Fiber fiber = SpawnCancellable(self, left, wait);
      AwaitState(fiber, FiberState::kWaiting);
      Cancel(*self);
      fiber.Join();
      EXPECT_EQ(left, Left::kCancelled) << name;
    }
    EXPECT_EQ(TimersOf(*CurrentFiber()), 0u);
    channel.Close();
    endless.Join();
    group.Done();
  });
}

TEST_P(TimedWaitTest, WaitsWithADeadlineReturnTheCancellation) {
  RunInFiber([&] {
    ControlBlock* self = nullptr;
    std::atomic<Left> left{Left::kNot};
    absl::Status status;
    Channel<int> channel(0, "orders");
    const Fiber fiber = SpawnCancellable(self, left, [&] { status = channel.ReceiveFor(hours(1)).status(); });
    AwaitState(fiber, FiberState::kWaiting);
    Cancel(*self);
    fiber.Join();
    EXPECT_EQ(left, Left::kNormally);
    EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(status.message(), "receive from channel (orders): cancelled");
  });
}

TEST_P(TimedWaitTest, APendingCancellationEndsTheNextWaitAtOnceButNotWhatIsReady) {
  RunInFiber([&] {
    Channel<int> channel(1);
    channel.Send(1);
    ControlBlock* self = nullptr;
    std::atomic<Left> left{Left::kNot};
    std::optional<int> got;
    const Fiber fiber = SpawnCancellable(self, left, [&] {
      Cancel(*CurrentFiber());
      got = channel.Receive();
      channel.Receive();
    });
    fiber.Join();
    EXPECT_EQ(got, 1);
    EXPECT_EQ(left, Left::kCancelled);
  });
}

TEST_P(TimedWaitTest, MutexesAndOtherFibersWaitsAreNotCancelled) {
  RunInFiber([&] {
    Mutex mutex;
    mutex.lock();
    ControlBlock* self = nullptr;
    std::atomic<Left> left{Left::kNot};
    const Fiber locker = SpawnCancellable(self, left, [&] { std::lock_guard lock(mutex); });
    AwaitState(locker, FiberState::kWaiting);
    Cancel(*self);
    EXPECT_EQ(locker.state(), FiberState::kWaiting);
    mutex.unlock();
    locker.Join();
    EXPECT_EQ(left, Left::kNormally);
    // Not cancellable: CancelWait finds nothing.
    Channel<int> channel;
    ControlBlock* plain = nullptr;
    const Fiber receiver = Spawn([&] {
      plain = CurrentFiber();
      EXPECT_EQ(channel.Receive(), 4);
    });
    AwaitState(receiver, FiberState::kWaiting);
    EXPECT_FALSE(CancelWait(*plain));
    channel.Send(4);
    receiver.Join();
  });
}

#ifdef FIBERSCOPE_DCHECK_ENABLED
TEST_P(TimedWaitTest, AWaitWithinAnotherIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(RunInFiber([] {
                 const Suspension outer;
                 const Suspension inner;
               }),
               "a wait begins within another one");
}
#endif

// ---- Timed forms of the objects

TEST_P(TimedWaitTest, TimedWaitsOfEveryObjectTimeOutAndLeaveNothingBehind) {
  Channel<int> channel(0, "orders");
  Channel<int> full(1);
  Mutex mutex("books");
  WaitGroup group;
  Semaphore semaphore(1);
  full.Send(0);
  group.Add(1);
  mutex.lock();  // by this thread
  const auto body = [&] {
    const auto soon = milliseconds(1);
    EXPECT_EQ(channel.ReceiveFor(soon).status().message(), "receive from channel (orders): the deadline passed");
    int value = 5;
    EXPECT_EQ(full.SendFor(std::move(value), soon).code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_FALSE(mutex.try_lock_for(soon));
    EXPECT_EQ(group.WaitFor(soon).code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(semaphore.AcquireFor(2, soon).code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_TRUE(semaphore.TryAcquire());
    semaphore.Release();
  };
  RunInFiber(body);
  std::thread(body).join();
  EXPECT_NE(mutex.holder().thread(), 0);
  EXPECT_FALSE(mutex.owner());
  mutex.unlock();
  EXPECT_FALSE(channel.TrySend(1));
  EXPECT_EQ(full.Receive(), 0);
  EXPECT_EQ(full.TryReceive(), std::nullopt);
  group.Done();
  RunInFiber([&] {
    EXPECT_TRUE(mutex.try_lock_for(hours(1)));
    mutex.unlock();
    EXPECT_TRUE(group.WaitFor(hours(1)).ok());
    EXPECT_TRUE(semaphore.AcquireFor(1, hours(1)).ok());
    semaphore.Release();
  });
}

// A table: what each timed form does when its time is over before it begins, without and with what it wants.
TEST_P(TimedWaitTest, ATimeoutOfZeroOrLessTakesWhatIsThereAndDoesNotWait) {
  RunInFiber([] {
    Channel<int> channel(1);
    Semaphore semaphore(0);
    WaitGroup group;
    Mutex mutex;
    std::unique_lock held(mutex);
    struct Row {
      const char* name;
      std::function<bool(std::chrono::nanoseconds)> done;
      std::function<void()> prepare;
    };
    const Row rows[] = {
        {"receive", [&](auto t) { return channel.ReceiveFor(t).ok(); }, [&] { channel.Send(1); }},
        {"send", [&](auto t) { return channel.SendFor(1, t).ok(); }, [&] { channel.TryReceive(); }},
        {"acquire", [&](auto t) { return semaphore.AcquireFor(1, t).ok(); }, [&] { semaphore.Release(); }},
        {"wait group", [&](auto t) { return group.WaitFor(t).ok(); }, [&] { group.Done(); }},
        {"mutex",
         [&](auto t) {
           bool locked = false;  // by another fiber: this one has it
           Spawn([&] {
             locked = mutex.try_lock_for(t);
             if (locked) mutex.unlock();
           }).Join();
           return locked;
         },
         [&] { held.unlock(); }},
    };
    using std::chrono::nanoseconds;
    for (const nanoseconds timeout : {nanoseconds(0), nanoseconds(-1), nanoseconds::min()}) {
      for (const Row& row : rows) {
        if (row.name == std::string_view("send")) channel.Send(1);
        if (row.name == std::string_view("wait group")) group.Add(1);
        if (row.name == std::string_view("mutex") && !held.owns_lock()) held.lock();
        EXPECT_FALSE(row.done(timeout)) << row.name << " " << timeout.count();
        row.prepare();
        EXPECT_TRUE(row.done(timeout)) << row.name << " " << timeout.count();
        channel.TryReceive();
      }
    }
  });
}

TEST_P(TimedWaitTest, AMutexIsHandedPastTheOnesThatGaveUp) {
  RunInFiber([&] {
    Mutex mutex;
    mutex.lock();
    std::vector<Fiber> impatient;
    std::atomic<int> failed{0};
    for (int i = 0; i < 5; ++i)
      impatient.push_back(Spawn([&] { failed += mutex.try_lock_for(milliseconds(1)) ? 0 : 1; }));
    // Until each waits, or has given up already.
    for (const Fiber& fiber : impatient) {
      while (fiber.state() != FiberState::kWaiting && fiber.state() != FiberState::kDead) this_fiber::Yield();
    }
    FiberId owner;
    const Fiber patient = Spawn([&] {
      std::lock_guard lock(mutex);
      owner = mutex.owner();
    });
    for (const Fiber& fiber : impatient) fiber.Join();
    AwaitState(patient, FiberState::kWaiting);
    mutex.unlock();
    patient.Join();
    EXPECT_EQ(failed, 5);
    EXPECT_EQ(owner, patient.id());
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

TEST_P(TimedWaitTest, DeadlinesThatAreNotNeededLeaveNoTimers) {
  RunInFiber([&] {
    Channel<int> there;
    Channel<int> back;
    const Fiber echo = Spawn([&] {
      for (int value : there) back.Send(value);
    });
    size_t most = 0;
    for (int i = 0; i < 20'000; ++i) {
      EXPECT_TRUE(there.SendFor(std::move(i), std::chrono::minutes(1)).ok());
      EXPECT_TRUE(back.ReceiveFor(std::chrono::minutes(1)).ok());
      most = std::max(most, TimersOf(*CurrentFiber()));
    }
    EXPECT_LE(most, 2u);
    there.Close();
    echo.Join();
  });
}

// ---- Races

class TimedWaitRaceTest : public ::testing::TestWithParam<int> {
 protected:
  TimedWaitRaceTest() : scheduler_({.processors = GetParam(), .run_queue_slots = 2}) {}
  Scheduler scheduler_;
  const unsigned seed_ = std::random_device()();
};

// A completer, a canceller and a deadline meet one wait. Exactly one of them must believe that it ended it.
TEST_P(TimedWaitRaceTest, OneOfTheDeadlineACompleterAndACancellerEndsAWait) {
  SCOPED_TRACE(seed_);
  std::array<std::atomic<int>, 6> outcomes{};
  WaitGroup group;
  for (int f = 0; f < 4; ++f) {
    group.Add(1);
    scheduler_.Spawn([&, f] {
      std::mt19937 random(seed_ + static_cast<unsigned>(f));
      for (int i = 0; i < 400; ++i) {
        int result = -1;
        const auto timeout = microseconds(random() % 100);
        const auto pause = [](unsigned us) {
          return [us] {
            if (us != 0) this_fiber::SleepFor(microseconds(us));
          };
        };
        Suspension suspension({.deadline_ns = In(timeout)});
        suspension.set_slot(&result);
        bool completed = false;
        bool cancelled = false;
        WaitGroup parties;
        parties.Add(2);
        Spawn([&, token = suspension.token(), wait = pause(random() % 100)] {
          wait();
          Write(token, i, &completed);
          parties.Done();
        });
        Spawn([&, token = suspension.token(), wait = pause(random() % 100)] {
          wait();
          cancelled = CancelWait(token);
          parties.Done();
        });
        const WaitOutcome outcome = suspension.Wait({});
        parties.Wait();
        ++outcomes[static_cast<size_t>(outcome)];
        ASSERT_EQ(completed, outcome == WaitOutcome::kDone);
        ASSERT_EQ(cancelled, outcome == WaitOutcome::kCancelled);
        ASSERT_EQ(result, completed ? i : -1);
        ASSERT_TRUE(completed || cancelled || outcome == WaitOutcome::kTimedOut);
      }
      group.Done();
    });
  }
  group.Wait();
  EXPECT_EQ(outcomes[static_cast<size_t>(WaitOutcome::kDone)] + outcomes[static_cast<size_t>(WaitOutcome::kCancelled)] +
                outcomes[static_cast<size_t>(WaitOutcome::kTimedOut)],
            4 * 400);
}

// Timed receives against sends of all kinds: what was sent is received once, what was not sent never.
TEST_P(TimedWaitRaceTest, TimedReceivesLoseAndDuplicateNothing) {
  SCOPED_TRACE(seed_);
  constexpr int kFibers = 6;
  constexpr int kEach = 400;
  Channel<int> channel;
  std::vector<std::atomic<int>> balance(kFibers * kEach);  // sends that succeeded less receives
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::atomic<bool> senders_done{false};
  WaitGroup senders;
  WaitGroup receivers;
  for (int f = 0; f < kFibers; ++f) {
    senders.Add(1);
    receivers.Add(1);
    scheduler_.Spawn([&, f] {
      std::mt19937 random(seed_ + static_cast<unsigned>(f));
      for (int i = 0; i < kEach; ++i) {
        int value = f * kEach + i;
        if (channel.SendFor(std::move(value), microseconds(random() % 60)).ok()) {
          ++balance[static_cast<size_t>(f * kEach + i)];
          ++sent;
        }
      }
      senders.Done();
    });
    scheduler_.Spawn([&, f] {
      std::mt19937 random(seed_ + 50 + static_cast<unsigned>(f));
      while (!senders_done) {
        const absl::StatusOr<int> got = channel.ReceiveFor(microseconds(random() % 60));
        if (!got.ok()) continue;
        --balance[static_cast<size_t>(*got)];
        ++received;
      }
      receivers.Done();
    });
  }
  senders.Wait();
  senders_done = true;
  receivers.Wait();
  EXPECT_EQ(sent, received);
  for (const std::atomic<int>& each : balance) ASSERT_EQ(each, 0);
}

TEST_P(TimedWaitRaceTest, TimedLocksExcludeEachOther) {
  SCOPED_TRACE(seed_);
  Mutex mutex;
  Semaphore semaphore(3);
  int inside = 0;
  std::atomic<int> permits_out{0};
  int64_t locked = 0;
  std::atomic<int64_t> successes{0};
  WaitGroup group;
  const auto body = [&](unsigned number) {
    std::mt19937 random(seed_ + number);
    for (int i = 0; i < 300; ++i) {
      if (mutex.try_lock_for(microseconds(random() % 40))) {
        ASSERT_EQ(++inside, 1);
        ++locked;
        ++successes;
        if (CurrentFiber() != nullptr) this_fiber::Yield();
        --inside;
        mutex.unlock();
      }
      const int want = 1 + static_cast<int>(random() % 3);
      if (semaphore.AcquireFor(static_cast<uint64_t>(want), microseconds(random() % 40)).ok()) {
        ASSERT_LE(permits_out += want, 3);
        if (CurrentFiber() != nullptr) this_fiber::Yield();
        permits_out -= want;
        semaphore.Release(static_cast<uint64_t>(want));
      }
    }
  };
  for (unsigned f = 0; f < 10; ++f) {
    group.Add(1);
    scheduler_.Spawn([&, f] {
      body(f);
      group.Done();
    });
  }
  std::thread thread(body, 99u);
  group.Wait();
  thread.join();
  EXPECT_EQ(locked, successes);
  EXPECT_EQ(semaphore.available(), 3u);
  EXPECT_TRUE(mutex.holder().nobody());
}

// A canceller that hits at any point of a loop of waits: the request is never lost.
TEST_P(TimedWaitRaceTest, ACancellationIsNeverLost) {
  SCOPED_TRACE(seed_);
  std::mt19937 random(seed_);
  for (int round = 0; round < 200; ++round) {
    Channel<int> never;
    std::atomic<ControlBlock*> self{nullptr};
    std::atomic<bool> cancelled{false};
    WaitGroup group;
    group.Add(1);
    scheduler_.Spawn([&] {
      CurrentFiber()->cancellation.store(internal::kCancellable);
      self = CurrentFiber();
      try {
        for (;;) {
          if (!never.ReceiveFor(microseconds(1)).ok()) this_fiber::Yield();
          never.Receive();
        }
      } catch (const WaitCancelled&) {
        cancelled = true;
      }
      CurrentFiber()->cancellation.store(0);
      group.Done();
    });
    while (self == nullptr) sched_yield();
    for (unsigned spin = random() % 2000; spin != 0; --spin) asm volatile("");
    Cancel(*self);
    group.Wait();
    ASSERT_TRUE(cancelled);
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, TimedWaitTest, ::testing::Values(1, 2, 4));
INSTANTIATE_TEST_SUITE_P(Processors, TimedWaitRaceTest, ::testing::Values(1, 2, 4, 8));

}  // namespace
}  // namespace fiberscope
