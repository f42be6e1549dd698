#include "runtime/idle_workers.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

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

// Goal: no wake-up is lost when a producer and a worker that gives up meet. Method: a counter of work; the worker sleeps when
// it sees none and the producer waits until each piece has been done, so a lost wake-up is a test that never ends.
TEST_F(IdleWorkersTest, EveryPieceOfWorkIsDone) {
  constexpr int kPieces = 50'000;
  std::atomic<int> made{0};
  std::atomic<int> done{0};
  std::thread worker([&] {
    IdleNode* processor = &p_;
    bool spinning = false;
    while (done < kPieces) {
      while (done < made) ++done;
      if (done == kPieces) break;
      if (spinning) idle_.StopSpinning();
      spinning = false;
      idle_.Announce(a_, *processor);
      if (done == made) {
        processor = a_.SleepOnFutex();
        spinning = true;
        continue;
      }
      const IdleWorkers::Withdrawal withdrawal = idle_.Withdraw(a_);
      processor = withdrawal.processor;
      spinning = withdrawal.spinner;
      ASSERT_NE(processor, nullptr);
    }
  });
  for (int i = 1; i <= kPieces; ++i) {
    made = i;
    idle_.WakeOne();
    while (done < i) sched_yield();
  }
  worker.join();
  EXPECT_EQ(workers_asked_for_, 0);
}

}  // namespace
}  // namespace fiberscope::internal
