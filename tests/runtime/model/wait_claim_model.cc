// Model check of runtime/wait_claim.h and of the claimed waits of park.h: each wait ends exactly once (C1 to C6 there), and a
// cancellation is never lost.
//
// A fiber waits twice, for two objects. Three scenarios, in each of which a waker finds it in the queue of an object and brings a
// value:
//   cancel    somebody sets the pending bit and cancels; that alone ends both waits, if the waker comes too early
//   token     somebody ends the first wait by a token that he may still have when the second is going on
//   deadline  the first wait has a deadline; its timer is looked at by another worker
// A lost end is a livelock, which Relacy reports, as it does data races on what is handed over.
#include "tests/runtime/model/claimed_wait.h"

namespace {

using namespace fiberscope::testing;

constexpr int kRounds = 2;

// Rounds, tokens and timers; the third party is the scenario's.
template <typename Scenario, WaitMutation mutation>
struct WaitModel : rl::test_suite<Scenario, 3> {
  ModelFiber fiber;
  rl::mutex lock;             // of the objects
  WaitQueue queues[kRounds];  // guarded by lock
  rl::mutex timer_lock;       // of the timer queue
  rl::var<int> timer;         // guarded by timer_lock: 1 while the fiber's timer is in it
  rl::var<int> value;         // the waker's, for the waiter
  rl::var<int> round;         // the waiter's, for a winner (C2)
  rl::atomic<int> token;
  rl::atomic<int> rounds;  // that are over
  int brought = 0;         // by the waker
  int received = 0;

  void before() {
    fiber.Begin();
    timer($) = 0;
    value($) = 0;
    round($) = 0;
    token.store(0, rl::mo_relaxed, $);
    rounds.store(0, rl::mo_relaxed, $);
  }
  void after() { RL_ASSERT(brought == received); }

  void thread(unsigned index) {
    if (index == 0) {
      for (int i = 1; i <= kRounds; ++i) {
        Wait(i);
        rounds.store(i, rl::mo_relaxed, $);
      }
    } else if (index == 1) {
      static_cast<Scenario*>(this)->Waker();
    } else {
      static_cast<Scenario*>(this)->Third();
    }
  }

  void Wait(int number) {
    round($) = number;
    const bool timed = Scenario::kTimed && number == 1;
    ModelWait wait(fiber, Scenario::kCancellable, mutation);
    if (number == 1) token.store(static_cast<int>(wait.generation()), rl::mo_release, $);
    lock.lock($);
    queues[number - 1].PushBack(fiber.node);
    lock.unlock($);
    const WaitOutcome outcome = wait.Wait([&] {
      if (!timed) return;
      timer_lock.lock($);
      timer($) = 1;
      timer_lock.unlock($);
    });
    if (timed && outcome != WaitOutcome::kTimedOut && mutation != WaitMutation::kStayInTheTimerQueue) {
      timer_lock.lock($);
      timer($) = 0;
      timer_lock.unlock($);
    }
    RL_ASSERT(outcome != WaitOutcome::kPending);
    RL_ASSERT(outcome != WaitOutcome::kTimedOut || timed);
    if (outcome == WaitOutcome::kDone) {
      ++received;
      RL_ASSERT(value($) == number);
      return;
    }
    if (mutation == WaitMutation::kStayInTheQueue) return;
    lock.lock($);
    if (fiber.node.queue != nullptr) queues[number - 1].Remove(fiber.node);
    lock.unlock($);
  }

  bool Wake(int number) {
    WaitQueue& queue = queues[number - 1];
    lock.lock($);
    Waiter* waiter = queue.front();
    if (mutation == WaitMutation::kClaimWithoutTheWord) {
      if (waiter != nullptr) queue.Remove(*waiter);
    } else {
      waiter = queue.ClaimFront();
    }
    if (waiter != nullptr) {
      ++brought;
      RL_ASSERT(round($) == number);
      value($) = number;
    }
    lock.unlock($);
    if (waiter != nullptr) EndClaimedWait(FiberOf(*waiter), WaitOutcome::kDone, mutation);
    return waiter != nullptr;
  }
  // Nobody else will end the second wait.
  void WakeBoth() {
    Wake(1);
    while (!Wake(2)) rl::yield(1, $);
  }
};

template <WaitMutation mutation>
struct CancelModel : WaitModel<CancelModel<mutation>, mutation> {
  static constexpr bool kCancellable = true;
  static constexpr bool kTimed = false;

  void Waker() { this->Wake(1); }
  void Third() { RequestCancellation(this->fiber, mutation); }
};

template <WaitMutation mutation>
struct TokenModel : WaitModel<TokenModel<mutation>, mutation> {
  static constexpr bool kCancellable = false;
  static constexpr bool kTimed = false;

  void Waker() { this->WakeBoth(); }
  void Third() {
    while (this->token.load(rl::mo_acquire, $) == 0) rl::yield(1, $);
    const auto generation = static_cast<uint32_t>(this->token.load(rl::mo_relaxed, $));
    auto& claim = this->fiber.record.claim;
    if (!(mutation == WaitMutation::kTokenOfAnyGeneration ? claim.Claim() : claim.ClaimGeneration(generation))) return;
    RL_ASSERT(this->round($) == 1);
    EndClaimedWait(this->fiber, WaitOutcome::kCancelled, mutation);
  }
};

template <WaitMutation mutation>
struct DeadlineModel : WaitModel<DeadlineModel<mutation>, mutation> {
  static constexpr bool kCancellable = false;
  static constexpr bool kTimed = true;

  void Waker() { this->WakeBoth(); }
  void Third() {
    while (!Expire() && this->rounds.load(rl::mo_relaxed, $) == 0) rl::yield(1, $);
  }
  // TimerQueue::PopExpired, then what its caller does. False: there is no timer.
  bool Expire() {
    this->timer_lock.lock($);
    const bool expired = this->timer($) == 1;
    this->timer($) = 0;
    const bool claimed = expired && this->fiber.record.claim.Claim();
    if (claimed) this->fiber.outcome($) = static_cast<int>(WaitOutcome::kTimedOut);
    const bool unpark = claimed && this->fiber.record.claim.Arrive();
    this->timer_lock.unlock($);
    if (unpark) Unpark(this->fiber);
    return expired;
  }
};

// With how many forced switches between threads.
constexpr unsigned kContextSwitches = 2;

template <template <WaitMutation> typename Model, WaitMutation mutation = WaitMutation::kNone>
bool Holds(Weakening weakening = Weakening::kNone, unsigned context_switches = kContextSwitches) {
  return WeakenedModelHolds<Model<mutation>>(weakening, context_switches);
}

}  // namespace

int main() {
  ModelVerdict verdict;
  verdict.Expect("cancellation", true, Holds<CancelModel>(Weakening::kNone, 4));
  verdict.Expect("a token", true, Holds<TokenModel>());
  verdict.Expect("a deadline", true, Holds<DeadlineModel>());
  verdict.Expect("without the canceller's fence", false, Holds<CancelModel, WaitMutation::kNoCancellerFence>());
  verdict.Expect("without the waiter's fence", false, Holds<CancelModel, WaitMutation::kNoWaiterFence>());
  verdict.Expect("without a look at the pending bit", false, Holds<CancelModel, WaitMutation::kNoLookAtTheBit>());
  verdict.Expect("without waiting for the winner", false, Holds<CancelModel, WaitMutation::kEndWithoutTheWinner>());
  verdict.Expect("an arrival before the registers are saved", false,
                 Holds<CancelModel, WaitMutation::kArriveBeforeTheRegistersAreSaved>());
  verdict.Expect("an arrival before the outcome", false, Holds<CancelModel, WaitMutation::kArriveBeforeTheOutcome>());
  verdict.Expect("a waker that does not claim", false, Holds<CancelModel, WaitMutation::kClaimWithoutTheWord>());
  verdict.Expect("a node left in the queue", false, Holds<TokenModel, WaitMutation::kStayInTheQueue>());
  verdict.Expect("a token of any generation", false, Holds<TokenModel, WaitMutation::kTokenOfAnyGeneration>());
  verdict.Expect("a node left in the timer queue", false, Holds<DeadlineModel, WaitMutation::kStayInTheTimerQueue>());
  verdict.Expect("a claim that is no compare-and-swap", false, Holds<CancelModel>(Weakening::kTornExchanges));
  verdict.Expect("arrivals that are relaxed", false, Holds<CancelModel>(Weakening::kRelaxedExchanges));
  verdict.Expect("an opening that is relaxed", false, Holds<CancelModel>(Weakening::kRelaxedStores));
  verdict.Expect("a look for the winner that is relaxed", false, Holds<CancelModel>(Weakening::kRelaxedLoads));
  return verdict.exit_code();
}
