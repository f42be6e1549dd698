// Model check of runtime/instant.h: what a listing shows of two fibers is a consistent cut, and each of them exactly once.
//
// One fiber sends (its stack says 1, then it sets `message`), the other one receives (its stack says 1 if it has seen `message`).
// Each has a worker that resumes it, twice, while the lister raises, gathers, declares, scans and closes. Shown may be neither,
// the sender alone, or both; never a receiver of what was not sent. The second model is of a waker that is so slow that the next
// instant has begun. Each mutation must be found out.
//
// The models are written by hand after instant.cc and registry.cc. membarrier(2) is a full fence on every thread between its call
// and its return; Relacy has no such thing, so the workers have a fence of their own at the gate, as if that were the moment. A
// signal comes when it likes: the workers look for one between any two steps.
#include <cstdio>

#include "tests/runtime/model/relacy.h"

namespace {

constexpr unsigned long kInterleavings = 1'000'000;
constexpr unsigned kContextSwitches = 3;  // of the small model all interleavings with so many forced switches

enum class Mutation {
  kNone,
  kNoFenceAtGate,
  kGateDoesNotWait,
  kGateDoesNotRecord,
  kHandlerDoesNotHold,
  kTakeWithoutCompareAndSwap,
  kCloseWithoutWaiting,
};

enum Phase { kClosed, kGathering, kDeclared };

template <Mutation mutation>
struct InstantModel : rl::test_suite<InstantModel<mutation>, 3> {
  struct Fiber {
    rl::atomic<int> word;   // odd: runs
    rl::atomic<int> stack;  // read as the lister reads stacks: relaxed, between two looks at the word
    rl::atomic<int> mark;   // 1: taken
    rl::var<int> recorded;  // 0: no; else the stack, plus one
    // Of the fiber's worker.
    rl::atomic<int> asked;
    rl::atomic<int> answered;
  };

  rl::atomic<int> instant;
  rl::atomic<int> recorders;
  rl::atomic<int> message;
  rl::atomic<int> over;
  Fiber fibers[2];  // the sender, the receiver

  void before() {
    instant.store(kClosed, rl::mo_relaxed, $);
    recorders.store(0, rl::mo_relaxed, $);
    message.store(0, rl::mo_relaxed, $);
    over.store(0, rl::mo_relaxed, $);
    for (Fiber& fiber : fibers) {
      fiber.word.store(0, rl::mo_relaxed, $);
      fiber.stack.store(0, rl::mo_relaxed, $);
      fiber.mark.store(0, rl::mo_relaxed, $);
      fiber.recorded($) = 0;
      fiber.asked.store(0, rl::mo_relaxed, $);
      fiber.answered.store(0, rl::mo_relaxed, $);
    }
  }

  void thread(unsigned index) {
    if (index == 0) {
      List();
    } else {
      Work(fibers[index - 1], index == 1);
    }
  }

  bool Take(Fiber& fiber) {
    int expected = 0;
    if (mutation == Mutation::kTakeWithoutCompareAndSwap) {
      if (fiber.mark.load(rl::mo_acquire, $) != 0) return false;
      fiber.mark.store(1, rl::mo_release, $);
      return true;
    }
    return fiber.mark.compare_exchange_strong(expected, 1, rl::mo_acq_rel, $);
  }

  void Record(Fiber& fiber) {
    recorders.fetch_add(1, rl::mo_seq_cst, $);
    if (instant.load(rl::mo_seq_cst, $) != kClosed && fiber.mark.load(rl::mo_acquire, $) == 0) {
      const int stack = fiber.stack.load(rl::mo_relaxed, $);
      if (Take(fiber)) fiber.recorded($) = stack + 1;
    }
    recorders.fetch_sub(1, rl::mo_release, $);
  }

  // The handler, if a signal has come.
  void Interrupt(Fiber& fiber) {
    if (fiber.asked.load(rl::mo_acquire, $) == 0 || fiber.answered.load(rl::mo_relaxed, $) != 0) return;
    if (fiber.word.load(rl::mo_relaxed, $) % 2 == 1) Record(fiber);
    fiber.answered.store(1, rl::mo_release, $);
    if (mutation == Mutation::kHandlerDoesNotHold) return;
    while (instant.load(rl::mo_acquire, $) == kGathering) rl::yield(1, $);
  }

  void Work(Fiber& fiber, bool sends) {
    for (int slice = 0; slice < 2; ++slice) {
      const int word = fiber.word.load(rl::mo_relaxed, $);
      fiber.word.store(word + 1, rl::mo_release, $);
      Interrupt(fiber);
      if (mutation != Mutation::kNoFenceAtGate) rl::atomic_thread_fence(rl::mo_seq_cst, $);
      if (instant.load(rl::mo_relaxed, $) != kClosed) WaitAtGate(fiber);
      rl::atomic_thread_fence(rl::mo_release, $);  // the odd word before the stack (fiber_state.h)
      Interrupt(fiber);
      if (sends) {
        fiber.stack.store(1, rl::mo_relaxed, $);
        Interrupt(fiber);
        message.store(1, rl::mo_release, $);
      } else if (message.load(rl::mo_acquire, $) == 1) {
        Interrupt(fiber);
        fiber.stack.store(1, rl::mo_relaxed, $);
      }
      Interrupt(fiber);
      fiber.word.store(word + 2, rl::mo_release, $);
      Interrupt(fiber);
    }
    while (over.load(rl::mo_acquire, $) == 0) {
      Interrupt(fiber);
      rl::yield(1, $);
    }
  }

  void WaitAtGate(Fiber& fiber) {
    while (mutation != Mutation::kGateDoesNotWait && instant.load(rl::mo_acquire, $) == kGathering) {
      Interrupt(fiber);
      rl::yield(1, $);
    }
    if (mutation != Mutation::kGateDoesNotRecord && instant.load(rl::mo_acquire, $) == kDeclared) Record(fiber);
  }

  // The stack as listed, plus one; 0: recorded.
  int Visit(Fiber& fiber) {
    for (;; rl::yield(1, $)) {
      if (fiber.mark.load(rl::mo_acquire, $) != 0) return 0;
      const int word = fiber.word.load(rl::mo_acquire, $);
      if (word % 2 == 1) continue;
      const int stack = fiber.stack.load(rl::mo_relaxed, $);
      rl::atomic_thread_fence(rl::mo_acquire, $);
      if (fiber.word.load(rl::mo_relaxed, $) != word) continue;
      return Take(fiber) ? stack + 1 : 0;
    }
  }

  void List() {
    instant.store(kGathering, rl::mo_seq_cst, $);
    rl::atomic_thread_fence(rl::mo_seq_cst, $);  // membarrier
    bool is_asked[2];
    for (int i = 0; i < 2; ++i) {
      is_asked[i] = fibers[i].word.load(rl::mo_acquire, $) % 2 == 1;
      if (is_asked[i]) fibers[i].asked.store(1, rl::mo_release, $);
    }
    for (int i = 0; i < 2; ++i) {
      while (is_asked[i] && fibers[i].answered.load(rl::mo_acquire, $) == 0) rl::yield(1, $);
    }
    instant.store(kDeclared, rl::mo_seq_cst, $);
    int shown[2];
    for (int i = 0; i < 2; ++i) shown[i] = Visit(fibers[i]);
    instant.store(kClosed, rl::mo_seq_cst, $);
    while (mutation != Mutation::kCloseWithoutWaiting && recorders.load(rl::mo_seq_cst, $) != 0) rl::yield(1, $);
    for (int i = 0; i < 2; ++i) {
      const int recorded = fibers[i].recorded($);
      RL_ASSERT((shown[i] != 0) != (recorded != 0));
      shown[i] += recorded - 1;
    }
    RL_ASSERT(shown[1] == 0 || shown[0] == 1);
    over.store(1, rl::mo_release, $);
  }
};

// A mark is the number of an instant, plus 100 when it says "taken".
template <bool is_recorder>
struct SlowWakerModel : rl::test_suite<SlowWakerModel<is_recorder>, 2> {
  rl::atomic<int> declared;  // the instant's number; 0: none
  rl::atomic<int> recorders;
  rl::atomic<int> mark;

  void before() {
    declared.store(0, rl::mo_relaxed, $);
    recorders.store(0, rl::mo_relaxed, $);
    mark.store(0, rl::mo_relaxed, $);
  }

  void thread(unsigned index) { index == 0 ? List() : Wake(); }

  void List() {
    for (int number = 1; number <= 2; ++number) {
      declared.store(number, rl::mo_seq_cst, $);
      int seen = mark.load(rl::mo_acquire, $);
      while (!mark.compare_exchange_strong(seen, 100 + number, rl::mo_acq_rel, $)) {
      }
      // Nobody may find it free again.
      RL_ASSERT(mark.load(rl::mo_relaxed, $) == 100 + number);
      declared.store(0, rl::mo_seq_cst, $);
      while (recorders.load(rl::mo_seq_cst, $) != 0) rl::yield(1, $);
    }
  }

  void Wake() {
    const int number = declared.load(rl::mo_acquire, $);
    if (number == 0) return;
    if (is_recorder) recorders.fetch_add(1, rl::mo_seq_cst, $);
    if (!is_recorder || declared.load(rl::mo_seq_cst, $) == number) {
      int seen = mark.load(rl::mo_relaxed, $);
      if (seen != 100 + number) mark.compare_exchange_strong(seen, number, rl::mo_acq_rel, $);
    }
    if (is_recorder) recorders.fetch_sub(1, rl::mo_release, $);
  }
};

template <Mutation mutation>
bool Holds() {
  return fiberscope::testing::ModelHoldsAtRandom<InstantModel<mutation>>(kInterleavings);
}

}  // namespace

int main() {
  fiberscope::testing::ModelVerdict verdict;
  verdict.Expect("the protocol", true, Holds<Mutation::kNone>());
  verdict.Expect("no fence at the gate", false, Holds<Mutation::kNoFenceAtGate>());
  verdict.Expect("a gate that does not wait", false, Holds<Mutation::kGateDoesNotWait>());
  verdict.Expect("a gate that does not record", false, Holds<Mutation::kGateDoesNotRecord>());
  verdict.Expect("a handler that does not hold", false, Holds<Mutation::kHandlerDoesNotHold>());
  verdict.Expect("taking without compare-and-swap", false, Holds<Mutation::kTakeWithoutCompareAndSwap>());
  verdict.Expect("closing without waiting", false, Holds<Mutation::kCloseWithoutWaiting>());
  verdict.Expect("a slow waker", true, fiberscope::testing::ModelHolds<SlowWakerModel<true>>(kContextSwitches));
  verdict.Expect("a slow waker that is no recorder", false,
                 fiberscope::testing::ModelHolds<SlowWakerModel<false>>(kContextSwitches));
  return verdict.exit_code();
}
