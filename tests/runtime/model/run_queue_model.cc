// Model check of runtime/run_queue.h: no fiber is lost and none comes out twice; what was written to a fiber's block before it
// was queued is visible to whoever gets it.
//
// It runs run_queue.h and run_queue.cc themselves, on Relacy's atomics (relacy_std.h), with queues of two slots. The owner
// pushes, pops, and moves half away when the queue is full; thieves steal half. The run-next slot is written by hand after
// processor.h. Each fiber has a plain variable that its maker writes and its taker writes again: were it not ordered, or
// taken twice, Relacy would report a data race.
#include "tests/runtime/model/relacy_std.h"

#define FIBERSCOPE_RUNTIME_BASE_CHECK_H_
#define FIBERSCOPE_CHECK(condition, ...) RL_ASSERT(condition)
#define FIBERSCOPE_RUNTIME_CONTROL_BLOCK_H_

namespace fiberscope::internal {

// As much of it as the queue knows.
struct ControlBlock {
  ControlBlock* next = nullptr;
  rl::var<int> taken;
};

}  // namespace fiberscope::internal

#define std fiberscope::testing::model_std
#include "runtime/run_queue.cc"
#undef std

namespace {

using fiberscope::internal::ControlBlock;
using fiberscope::internal::RunQueue;
using fiberscope::testing::Weakening;

// Fibers and who has had them.
template <typename Model, int threads, int fibers>
struct FibersModel : rl::test_suite<Model, threads> {
  ControlBlock blocks[fibers];
  int made = 0;  // the owner's

  void before() {
    for (ControlBlock& block : blocks) block.taken($) = 0;
  }

  ControlBlock& Make() {
    ControlBlock& block = blocks[made++];
    block.taken($) = 1;
    return block;
  }
  static void Take(ControlBlock* block) {
    if (block == nullptr) return;
    RL_ASSERT(block->taken($) == 1);
    block->taken($) = 2;
  }

  // None is left in the queues.
  void after() {
    for (ControlBlock& block : blocks) RL_ASSERT(block.taken($) == 2);
  }
};

// The owner makes more fibers than its queue holds, while thieves steal into queues of their own.
template <int thieves>
struct RunQueueModel : FibersModel<RunQueueModel<thieves>, 1 + thieves, 5 - thieves> {
  static constexpr uint32_t kCapacity = 2;
  static constexpr int kFibers = 5 - thieves;
  using Base = FibersModel<RunQueueModel<thieves>, 1 + thieves, kFibers>;
  using Base::made;
  using Base::Make;
  using Base::Take;

  RunQueue queue{kCapacity};
  RunQueue stolen[2] = {RunQueue(kCapacity), RunQueue(kCapacity)};

  void thread(unsigned index) {
    if (index == 0) {
      Own();
    } else {
      RunQueue& own = stolen[index - 1];
      for (int i = thieves; i <= 2; ++i) Take(queue.StealInto(own));
      while (ControlBlock* const block = own.Pop()) Take(block);
    }
  }

  void Own() {
    while (made < kFibers) {
      ControlBlock& block = Make();
      while (!queue.Push(block)) {
        ControlBlock* last = nullptr;
        for (ControlBlock* at = queue.PopHalf(&last); at != nullptr;) {
          ControlBlock* const next = at->next;
          Take(at);
          at = next;
        }
      }
    }
    while (ControlBlock* const block = queue.Pop()) Take(block);
  }
};

// The run-next slot. Owner: Processor::PushNext and Pop; thief: Processor::StealNextFrom.
struct RunNextModel : FibersModel<RunNextModel, 3, 3> {
  fiberscope::testing::model_std::atomic<ControlBlock*> run_next{nullptr};

  ControlBlock* Exchange(ControlBlock* block) { return run_next.exchange(block, rl::mo_acq_rel); }

  void thread(unsigned index) {
    if (index != 0) {
      Take(Exchange(nullptr));
      return;
    }
    for (int i = 0; i < 3; ++i) {
      ControlBlock& block = Make();
      if (run_next.load(rl::mo_relaxed) == nullptr) {
        run_next.store(&block, rl::mo_release);
      } else {
        Take(Exchange(&block));
      }
    }
    if (run_next.load(rl::mo_relaxed) != nullptr) Take(Exchange(nullptr));
  }
};

template <typename Model>
bool Holds(Weakening weakening, unsigned context_switches) {
  return fiberscope::testing::WeakenedModelHolds<Model>(weakening, context_switches);
}

}  // namespace

int main() {
  fiberscope::testing::ModelVerdict verdict;
  constexpr unsigned kOneThief = 3;
  constexpr unsigned kTwoThieves = 2;
  verdict.Expect("the run queue and a thief", true, Holds<RunQueueModel<1>>(Weakening::kNone, kOneThief));
  verdict.Expect("the run queue and two thieves", true, Holds<RunQueueModel<2>>(Weakening::kNone, kTwoThieves));
  verdict.Expect("a tail that does not publish", false, Holds<RunQueueModel<1>>(Weakening::kRelaxedStores, kOneThief));
  verdict.Expect("thieves that do not look acquiring", false, Holds<RunQueueModel<1>>(Weakening::kRelaxedLoads, kOneThief));
  verdict.Expect("a head that is not compared", false, Holds<RunQueueModel<1>>(Weakening::kTornExchanges, kOneThief));
  constexpr unsigned kNextSwitches = 5;
  verdict.Expect("the run-next slot", true, Holds<RunNextModel>(Weakening::kNone, kNextSwitches));
  verdict.Expect("a slot that does not publish", false, Holds<RunNextModel>(Weakening::kRelaxedStores, kNextSwitches));
  verdict.Expect("a slot that is exchanged relaxed", false, Holds<RunNextModel>(Weakening::kRelaxedExchanges, kNextSwitches));
  verdict.Expect("a slot that is stored, not exchanged", false, Holds<RunNextModel>(Weakening::kTornExchanges, kNextSwitches));
  return verdict.exit_code();
}
