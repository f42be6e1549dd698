#include "runtime/idle_workers.h"

#include <sched.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/base/futex.h"

namespace fiberscope::internal {
namespace {

// What a worker in the reactor sleeps on.
struct FakeReactor {
  std::atomic<uint32_t> interrupts{0};

  static void Interrupt(void* self) {
    auto& interrupts = static_cast<FakeReactor*>(self)->interrupts;
    interrupts.fetch_add(1);
    FutexWake(interrupts, 1);
  }
  void Wait() {
    while (interrupts.load() == 0) FutexWait(interrupts, 0);
    interrupts.store(0);  // the interrupts are handlers without content: one wake-up for any number
  }
};

class IdleWorkersTest : public ::testing::Test {
 protected:
  FakeReactor reactor_;
  IdleWorkers idle_{&FakeReactor::Interrupt, &reactor_};
};

TEST_F(IdleWorkersTest, NobodySleepsNobodyIsWoken) {
  idle_.WakeOne();
  idle_.WakeAll();
  EXPECT_EQ(idle_.idle_count(), 0u);
  EXPECT_EQ(reactor_.interrupts, 0u);
  // No phantom spinner is left: a real one is still the last.
  idle_.CountSpinner();
  EXPECT_TRUE(idle_.StopSpinning());
}

TEST_F(IdleWorkersTest, AWokenWorkerCountsAsASpinner) {
  Sleeper sleeper;
  idle_.Announce(sleeper);
  EXPECT_EQ(idle_.idle_count(), 1u);
  idle_.WakeOne();
  EXPECT_EQ(idle_.idle_count(), 0u);
  EXPECT_EQ(sleeper.woken, 1u);
  IdleWorkers::SleepOnFutex(sleeper);  // returns at once
  EXPECT_EQ(sleeper.woken, 0u);
  EXPECT_TRUE(idle_.StopSpinning());
}

TEST_F(IdleWorkersTest, WhileSomebodySpinsNobodyIsWoken) {
  Sleeper sleeper;
  idle_.Announce(sleeper);
  idle_.CountSpinner();
  idle_.WakeOne();
  EXPECT_EQ(sleeper.woken, 0u);
  EXPECT_TRUE(idle_.StopSpinning());
  idle_.WakeOne();
  EXPECT_EQ(sleeper.woken, 1u);
}

TEST_F(IdleWorkersTest, WithdrawSaysWhetherAWakerWasFaster) {
  Sleeper sleeper;
  idle_.Announce(sleeper);
  EXPECT_TRUE(idle_.Withdraw(sleeper));
  EXPECT_EQ(idle_.idle_count(), 0u);
  idle_.Announce(sleeper);
  idle_.WakeOne();
  EXPECT_FALSE(idle_.Withdraw(sleeper));
  EXPECT_EQ(sleeper.woken, 0u) << "the wake-up is consumed";
  EXPECT_TRUE(idle_.StopSpinning()) << "and the worker counted";
}

TEST_F(IdleWorkersTest, WithdrawTakesAnyOfSeveral) {
  Sleeper sleepers[3];
  for (Sleeper& sleeper : sleepers) idle_.Announce(sleeper);
  EXPECT_TRUE(idle_.Withdraw(sleepers[1]));
  EXPECT_TRUE(idle_.Withdraw(sleepers[2]));
  EXPECT_TRUE(idle_.Withdraw(sleepers[0]));
  EXPECT_EQ(idle_.idle_count(), 0u);
}

TEST_F(IdleWorkersTest, TheWorkerInTheReactorIsWokenLast) {
  Sleeper in_reactor;
  in_reactor.in_reactor = true;
  Sleeper on_futex[2];
  idle_.Announce(on_futex[0]);
  idle_.Announce(in_reactor);
  idle_.Announce(on_futex[1]);
  for (int i = 0; i < 2; ++i) {
    idle_.WakeOne();
    EXPECT_EQ(on_futex[0].woken + on_futex[1].woken, static_cast<uint32_t>(i + 1));
    EXPECT_EQ(in_reactor.woken, 0u);
    EXPECT_EQ(reactor_.interrupts, 0u);
    idle_.StopSpinning();
  }
  idle_.WakeOne();
  EXPECT_EQ(in_reactor.woken, 1u);
  EXPECT_EQ(reactor_.interrupts, 1u);
}

TEST_F(IdleWorkersTest, AtMostHalfAsManySpinAsAreBusy) {
  EXPECT_TRUE(idle_.StartSpinning(4));
  EXPECT_TRUE(idle_.StartSpinning(4));
  EXPECT_FALSE(idle_.StartSpinning(4));
  Sleeper sleepers[3];
  EXPECT_FALSE(idle_.StopSpinning());
  for (Sleeper& sleeper : sleepers) idle_.Announce(sleeper);
  EXPECT_FALSE(idle_.StartSpinning(4)) << "one is busy, one spins";
  EXPECT_TRUE(idle_.StopSpinning());
  EXPECT_TRUE(idle_.StartSpinning(4));
  EXPECT_TRUE(idle_.StopSpinning());
}

TEST_F(IdleWorkersTest, WakeAllWakesAll) {
  Sleeper sleepers[5];
  sleepers[2].in_reactor = true;
  for (Sleeper& sleeper : sleepers) idle_.Announce(sleeper);
  idle_.WakeAll();
  EXPECT_EQ(idle_.idle_count(), 0u);
  for (Sleeper& sleeper : sleepers) EXPECT_EQ(sleeper.woken, 1u);
  EXPECT_EQ(reactor_.interrupts, 1u);
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(idle_.StopSpinning());
  EXPECT_TRUE(idle_.StopSpinning());
}

// Goal: no wake-up is lost. Method: a model of the worker loop, with a counter in place of the run queues; producers
// add items one at a time and, half of the time, wait until everything is consumed before they go on, so that workers
// go to sleep all the time. A lost wake-up leaves an item behind with everybody asleep: the test then never ends.
struct Model {
  FakeReactor reactor;
  IdleWorkers idle{&FakeReactor::Interrupt, &reactor};
  std::atomic<bool> reactor_owned{false};
  std::atomic<int64_t> queued{0};
  std::atomic<int64_t> consumed{0};
  std::atomic<bool> stop{false};

  bool TryTake() {
    int64_t now = queued.load();
    while (now > 0) {
      if (queued.compare_exchange_weak(now, now - 1)) return true;
    }
    return false;
  }

  void Work(uint32_t workers) {
    Sleeper sleeper;
    bool spinning = false;
    while (!stop) {
      if (!spinning) spinning = idle.StartSpinning(workers);
      if (TryTake()) {
        if (std::exchange(spinning, false) && idle.StopSpinning()) idle.WakeOne();
        consumed.fetch_add(1);
        continue;
      }
      const bool in_reactor = !reactor_owned.exchange(true);
      sleeper.in_reactor = in_reactor;
      if (std::exchange(spinning, false)) idle.StopSpinning();
      idle.Announce(sleeper);
      const bool more_to_do = stop || queued.load() > 0 || (!in_reactor && !reactor_owned.load());
      if (!more_to_do) {
        if (!in_reactor) {
          IdleWorkers::SleepOnFutex(sleeper);
          spinning = true;
          continue;
        }
        reactor.Wait();
      }
      if (in_reactor) reactor_owned.store(false);
      if (idle.Withdraw(sleeper)) idle.CountSpinner();
      spinning = true;
    }
    if (spinning) idle.StopSpinning();
  }
};

TEST(IdleWorkersStressTest, NoWakeUpIsLost) {
  constexpr int kProducers = 2;
  constexpr int64_t kItems = 20'000;
  for (const uint32_t workers : {1u, 2u, 4u}) {
    Model model;
    std::vector<std::thread> threads;
    for (uint32_t w = 0; w < workers; ++w) threads.emplace_back([&] { model.Work(workers); });
    std::vector<std::thread> producers;
    for (int p = 0; p < kProducers; ++p) {
      producers.emplace_back([&, p] {
        for (int64_t i = 0; i < kItems / kProducers; ++i) {
          model.queued.fetch_add(1);
          model.idle.WakeOne();
          if (p == 0 && i % 2 == 0) {
            while (model.queued.load() > 0) sched_yield();
          }
        }
      });
    }
    for (std::thread& producer : producers) producer.join();
    while (model.consumed.load() < kItems) sched_yield();
    EXPECT_EQ(model.consumed, kItems);
    model.stop = true;
    model.idle.WakeAll();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(model.idle.idle_count(), 0u);
    model.idle.CountSpinner();
    EXPECT_TRUE(model.idle.StopSpinning()) << "somebody still counts as a spinner";
  }
}

}  // namespace
}  // namespace fiberscope::internal
