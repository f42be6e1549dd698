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

class IdleWorkersTest : public ::testing::Test {
 protected:
  IdleWorkers idle_{{.argument = this,
                     .interrupt_reactor = [](void* test) { ++static_cast<IdleWorkersTest*>(test)->interrupts_; },
                     .make_worker = [](void* test) { ++static_cast<IdleWorkersTest*>(test)->workers_asked_for_; },
                     .wake_monitor = [](void* test) { ++static_cast<IdleWorkersTest*>(test)->monitor_wakes_; }}};
  int interrupts_ = 0;
  int workers_asked_for_ = 0;
  int monitor_wakes_ = 0;
  IdleNode p_, q_;
  Sleeper a_, b_;
};

TEST_F(IdleWorkersTest, NothingIsWokenWhileNoProcessorIsIdle) {
  EXPECT_EQ(idle_.TakeOrAnnounce(a_), nullptr);
  idle_.WakeOne();
  EXPECT_EQ(a_.woken, 0u);
  EXPECT_EQ(idle_.spinners(), 0u);
  EXPECT_EQ(workers_asked_for_, 0);
}

TEST_F(IdleWorkersTest, AWakeGivesTheProcessorAndCountsASpinner) {
  idle_.Announce(a_, p_);
  EXPECT_EQ(idle_.idle_processors(), 1u);
  idle_.WakeOne();
  EXPECT_EQ(idle_.idle_processors(), 0u);
  EXPECT_EQ(idle_.spinners(), 1u);
  EXPECT_EQ(a_.SleepOnFutex(), &p_) << "at once: it was woken before it slept";
  EXPECT_TRUE(idle_.StopSpinning());
}

TEST_F(IdleWorkersTest, NobodyIsWokenWhileSomebodySpins) {
  idle_.Announce(a_, p_);
  idle_.CountSpinner();
  idle_.WakeOne();
  EXPECT_EQ(a_.woken, 0u);
  EXPECT_EQ(idle_.counts().futex_wakes, 0u);
}

TEST_F(IdleWorkersTest, FutexSleepersAreWokenBeforeTheOneInTheReactor) {
  a_.in_reactor = true;
  idle_.Announce(a_, p_);
  idle_.Announce(b_, q_);
  idle_.WakeOne();
  EXPECT_EQ(interrupts_, 0);
  EXPECT_NE(b_.woken, 0u);
  EXPECT_TRUE(idle_.StopSpinning());
  idle_.WakeOne();
  EXPECT_EQ(interrupts_, 1);
  EXPECT_NE(a_.woken, 0u);
}

TEST_F(IdleWorkersTest, WithdrawalReturnsAnIdleProcessor) {
  idle_.Announce(a_, p_);
  const IdleWorkers::Withdrawal withdrawal = idle_.Withdraw(a_);
  EXPECT_EQ(withdrawal.processor, &p_);
  EXPECT_FALSE(withdrawal.spinner);
  EXPECT_EQ(idle_.idle_processors(), 0u);
  EXPECT_FALSE(idle_.has_idle_worker());
}

TEST_F(IdleWorkersTest, WithdrawalAfterAWakeReturnsWhatTheWakerGave) {
  idle_.Announce(a_, p_);
  idle_.WakeOne();
  const IdleWorkers::Withdrawal withdrawal = idle_.Withdraw(a_);
  EXPECT_EQ(withdrawal.processor, &p_);
  EXPECT_TRUE(withdrawal.spinner);
  EXPECT_EQ(a_.woken, 0u);
}

TEST_F(IdleWorkersTest, WithdrawalFindsNoProcessorThatSomebodyElseTook) {
  idle_.Announce(a_, p_);
  EXPECT_EQ(idle_.TakeProcessor(), &p_);
  const IdleWorkers::Withdrawal withdrawal = idle_.Withdraw(a_);
  EXPECT_EQ(withdrawal.processor, nullptr);
  EXPECT_FALSE(idle_.has_idle_worker());
}

TEST_F(IdleWorkersTest, AWorkerWithoutProcessorTakesAnIdleOneOrIsListed) {
  idle_.AddProcessor(p_);
  EXPECT_EQ(idle_.TakeOrAnnounce(a_), &p_);
  EXPECT_FALSE(idle_.has_idle_worker());
  EXPECT_EQ(idle_.TakeOrAnnounce(a_), nullptr);
  EXPECT_TRUE(idle_.has_idle_worker());
  idle_.AddProcessor(p_);
  idle_.WakeOne();
  EXPECT_EQ(a_.SleepOnFutex(), &p_);
}

TEST_F(IdleWorkersTest, WhenNoWorkerIsIdleOneIsAskedForAndNobodyIsLeftCountedAsASpinner) {
  idle_.AddProcessor(p_);
  idle_.WakeOne();
  EXPECT_EQ(workers_asked_for_, 1);
  EXPECT_EQ(idle_.spinners(), 0u);
  EXPECT_EQ(idle_.idle_processors(), 1u);
  idle_.WorkerIsStarting();
  idle_.WakeOne();
  EXPECT_EQ(workers_asked_for_, 1) << "one is on its way and will look at everything";
  idle_.WorkerHasStarted();
  idle_.WakeOne();
  EXPECT_EQ(workers_asked_for_, 2);
}

TEST_F(IdleWorkersTest, TheMonitorIsWokenOnceWhenSomethingRunsAgain) {
  idle_.Announce(a_, p_);
  EXPECT_FALSE(idle_.WatchForWork(2)) << "one of two processors runs";
  idle_.Announce(b_, q_);
  EXPECT_TRUE(idle_.WatchForWork(2));
  idle_.WakeOne();
  EXPECT_EQ(monitor_wakes_, 1);
  EXPECT_TRUE(idle_.StopSpinning());
  idle_.WakeOne();
  EXPECT_EQ(monitor_wakes_, 1);
}

TEST_F(IdleWorkersTest, SpinnersAreAtMostHalfOfTheBusyProcessors) {
  EXPECT_TRUE(idle_.StartSpinning(4));
  EXPECT_TRUE(idle_.StartSpinning(4));
  EXPECT_FALSE(idle_.StartSpinning(4));
}

TEST_F(IdleWorkersTest, AnEndedSleeperSleepsNoMoreButKeepsAProcessorItWasGiven) {
  idle_.Announce(a_, p_);
  idle_.WakeOne();
  a_.End();
  EXPECT_EQ(a_.SleepOnFutex(), &p_);
  EXPECT_EQ(a_.SleepOnFutex(), nullptr);
  EXPECT_EQ(a_.SleepOnFutex(), nullptr);
}

// Goal: no wake-up is lost. Method: a model of the worker loop, with a counter in place of the run queues and as many processors
// as workers, or fewer; producers add items one at a time and, half of the time, wait until everything is consumed before they go
// on, so that workers go to sleep all the time. A lost wake-up leaves an item behind with everybody asleep: the test then never
// ends.
struct Model {
  explicit Model(uint32_t processors) : processors(processors) {
    for (IdleNode& processor : processors_) {
      if (static_cast<uint32_t>(&processor - processors_) < processors) idle.AddProcessor(processor);
    }
  }

  IdleWorkers idle{{.argument = this,
                    .interrupt_reactor = [](void* model) { static_cast<Model*>(model)->Interrupt(); },
                    .make_worker = [](void* model) { ++static_cast<Model*>(model)->asked_for; },
                    .wake_monitor = [](void*) {}}};
  const uint32_t processors;
  IdleNode processors_[4];
  std::atomic<uint32_t> interrupts{0};
  std::atomic<bool> reactor_owned{false};
  std::atomic<int64_t> queued{0};
  std::atomic<int64_t> consumed{0};
  std::atomic<int> asked_for{0};
  std::atomic<bool> stop{false};

  void Interrupt() {
    interrupts.fetch_add(1);
    FutexWake(interrupts, 1);
  }
  void WaitInReactor() {
    while (interrupts.load() == 0) FutexWait(interrupts, 0);
    interrupts.store(0);  // the interrupts are handlers without content: one wake-up for any number
  }

  bool TryTake() {
    int64_t now = queued.load();
    while (now > 0) {
      if (queued.compare_exchange_weak(now, now - 1)) return true;
    }
    return false;
  }

  void Work(Sleeper& sleeper) {
    IdleNode* processor = nullptr;
    bool spinning = false;
    while (!stop) {
      if (processor == nullptr) {
        sleeper.in_reactor = false;
        processor = idle.TakeOrAnnounce(sleeper);
        if (processor == nullptr) {
          processor = sleeper.SleepOnFutex();
          if (processor == nullptr) break;
          spinning = true;
        }
      }
      if (!spinning) spinning = idle.StartSpinning(processors);
      if (TryTake()) {
        if (std::exchange(spinning, false) && idle.StopSpinning()) idle.WakeOne();
        consumed.fetch_add(1);
        continue;
      }
      const bool in_reactor = !reactor_owned.exchange(true);
      sleeper.in_reactor = in_reactor;
      if (std::exchange(spinning, false)) idle.StopSpinning();
      idle.Announce(sleeper, *std::exchange(processor, nullptr));
      if (!stop && queued.load() == 0 && (in_reactor || reactor_owned.load())) {
        if (!in_reactor) {
          processor = sleeper.SleepOnFutex();
          spinning = processor != nullptr;
          continue;
        }
        WaitInReactor();
      }
      if (in_reactor) reactor_owned.store(false);
      const IdleWorkers::Withdrawal withdrawal = idle.Withdraw(sleeper);
      processor = withdrawal.processor;
      if (processor == nullptr) continue;
      if (!withdrawal.spinner) idle.CountSpinner();
      spinning = true;
    }
    if (spinning) idle.StopSpinning();
  }
};

TEST(IdleWorkersStressTest, NoWakeUpIsLost) {
  constexpr int kProducers = 2;
  constexpr int64_t kItems = 20'000;
  struct {
    uint32_t workers;
    uint32_t processors;
  } const fleets[] = {{1, 1}, {2, 1}, {2, 2}, {4, 2}, {4, 4}};
  for (const auto& fleet : fleets) {
    Model model(fleet.processors);
    std::vector<Sleeper> sleepers(fleet.workers);
    std::vector<std::thread> threads;
    for (Sleeper& sleeper : sleepers) threads.emplace_back([&] { model.Work(sleeper); });
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
    for (Sleeper& sleeper : sleepers) sleeper.End();
    model.Interrupt();
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace fiberscope::internal
