// The claimed waits of runtime/park.cc for models: written by hand after ClaimedWait, EndClaimedWait and CancelWait, around
// wait_claim.h and waiter.h themselves, which run on Relacy's atomics (relacy_std.h).
//
// A fiber is a thread of the model. What Relacy can report a data race about stands for what the protocol protects: `outcome` for
// WaitRecord::outcome, `stack` for the saved registers, which whoever makes the fiber runnable may use at once.
#ifndef FIBERSCOPE_TESTS_RUNTIME_MODEL_CLAIMED_WAIT_H_
#define FIBERSCOPE_TESTS_RUNTIME_MODEL_CLAIMED_WAIT_H_

#include "tests/runtime/model/relacy_std.h"

#define std fiberscope::testing::model_std
#include "runtime/waiter.h"
#undef std

namespace fiberscope::testing {

using internal::Waiter;
using internal::WaitOutcome;
using internal::WaitQueue;

// One step of the protocol left out or out of order.
enum class WaitMutation {
  kNone,
  kNoCancellerFence,
  kNoWaiterFence,
  kNoLookAtTheBit,
  kArriveBeforeTheRegistersAreSaved,
  kArriveBeforeTheOutcome,
  kEndWithoutTheWinner,
  kStayInTheQueue,
  kStayInTheTimerQueue,
  kTokenOfAnyGeneration,
  kClaimWithoutTheWord,
};

constexpr int kCancelPending = 2;  // the bit of ControlBlock::cancellation

struct ModelFiber {
  enum State { kRunning, kWaiting, kRunnable };

  internal::WaitRecord record;
  Waiter node;
  rl::var<int> outcome;
  rl::var<int> stack;
  rl::atomic<int> state;
  rl::atomic<int> cancellation;

  void Begin() {
    node.record = &record;
    outcome($) = 0;
    stack($) = 0;
    state.store(kRunning, rl::mo_relaxed, $);
    cancellation.store(0, rl::mo_relaxed, $);
  }
};

inline ModelFiber& FiberOf(Waiter& node) {
  return *reinterpret_cast<ModelFiber*>(reinterpret_cast<char*>(node.record) - offsetof(ModelFiber, record));
}

inline void Unpark(ModelFiber& fiber) {
  fiber.stack($) = fiber.stack($) + 1;
  RL_ASSERT(fiber.state.exchange(ModelFiber::kRunnable, rl::mo_acq_rel, $) == ModelFiber::kWaiting);
}

inline void EndClaimedWait(ModelFiber& fiber, WaitOutcome outcome, WaitMutation mutation) {
  const bool early = mutation == WaitMutation::kArriveBeforeTheOutcome && fiber.record.claim.Arrive();
  fiber.outcome($) = static_cast<int>(outcome);
  if (mutation == WaitMutation::kArriveBeforeTheOutcome ? early : fiber.record.claim.Arrive()) Unpark(fiber);
}

inline void RequestCancellation(ModelFiber& fiber, WaitMutation mutation) {
  fiber.cancellation.fetch_or(kCancelPending, rl::mo_relaxed, $);
  if (mutation != WaitMutation::kNoCancellerFence) rl::atomic_thread_fence(rl::mo_seq_cst, $);
  if (fiber.record.claim.ClaimCancellable()) EndClaimedWait(fiber, WaitOutcome::kCancelled, mutation);
}

// The ClaimedWait of a fiber.
class ModelWait {
 public:
  ModelWait(ModelFiber& fiber, bool cancellable, WaitMutation mutation)
      : fiber_(fiber), cancellable_(cancellable), mutation_(mutation) {
    RL_ASSERT(fiber.record.claim.parked() == internal::WaitClaim::Parked::kPlainly);
    fiber_.outcome($) = static_cast<int>(WaitOutcome::kPending);
    fiber_.node.claimed_wait = true;
    fiber_.node.ended_wait = false;
    generation_ = fiber_.record.claim.Open(cancellable);
  }

  uint32_t generation() const { return generation_; }

  // ~ClaimedWait of a wait that was not waited for.
  void GiveUp() { EndAs(WaitOutcome::kPending); }

  // `set_timer` runs where the real one adds the deadline's timer.
  template <typename SetTimer>
  WaitOutcome Wait(SetTimer set_timer) {
    if (cancellable_) {
      if (mutation_ != WaitMutation::kNoWaiterFence) rl::atomic_thread_fence(rl::mo_seq_cst, $);
      if (mutation_ != WaitMutation::kNoLookAtTheBit && (fiber_.cancellation.load(rl::mo_relaxed, $) & kCancelPending) != 0) {
        return EndAs(WaitOutcome::kCancelled);
      }
    }
    set_timer();
    Park();
    return Outcome();
  }

 private:
  WaitOutcome Outcome() { return static_cast<WaitOutcome>(static_cast<int>(fiber_.outcome($))); }

  WaitOutcome EndAs(WaitOutcome outcome) {
    if (fiber_.record.claim.Claim()) {
      fiber_.outcome($) = static_cast<int>(outcome);
    } else if (mutation_ != WaitMutation::kEndWithoutTheWinner) {
      while (!fiber_.record.claim.winner_arrived()) rl::yield(1, $);
    }
    fiber_.record.claim.Close();
    return Outcome();
  }

  // Worker::Park: the registers are saved, whatever runs next publishes "waiting", then runs the commit.
  void Park() {
    if (mutation_ == WaitMutation::kArriveBeforeTheRegistersAreSaved) {
      fiber_.state.store(ModelFiber::kWaiting, rl::mo_release, $);
      const bool second = fiber_.record.claim.Arrive();
      fiber_.stack($) = fiber_.stack($) + 1;
      if (second) return;
    } else {
      fiber_.stack($) = fiber_.stack($) + 1;
      fiber_.state.store(ModelFiber::kWaiting, rl::mo_release, $);
      if (fiber_.record.claim.Arrive()) return;
    }
    while (fiber_.state.load(rl::mo_acquire, $) != ModelFiber::kRunnable) rl::yield(1, $);
    fiber_.stack($) = fiber_.stack($) + 1;
  }

  ModelFiber& fiber_;
  const bool cancellable_;
  const WaitMutation mutation_;
  uint32_t generation_;
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_RUNTIME_MODEL_CLAIMED_WAIT_H_
