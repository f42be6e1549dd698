// Model check of runtime/processor_status.h: worker and monitor never both have the processor.
//
// The worker makes three blocking calls; the monitor looks four times and retakes what it finds. Whoever has the
// processor writes a plain variable: if both had it, or what one did were not visible to the other, Relacy would report
// a data race. A worker that lost the processor waits until the monitor gives it back. Each mutation must be found out.
//
// The model is written by hand after processor_status.h: bit 0 says "blocking", the rest counts calls.
#include <cstdio>

#include "tests/runtime/model/relacy.h"

namespace {

// Every interleaving with as many forced switches between threads.
constexpr unsigned kContextSwitches = 4;

enum class Mutation { kNone, kRelaxedEntry, kLeaveWithoutCompareAndSwap };

template <Mutation mutation>
struct ProcessorStatusModel : rl::test_suite<ProcessorStatusModel<mutation>, 2> {
  static constexpr int kCalls = 3;

  rl::atomic<int> word;
  rl::atomic<int> given_back;
  rl::var<int> owned;

  void before() {
    word.store(0, rl::mo_relaxed, $);
    given_back.store(0, rl::mo_relaxed, $);
    owned($) = 0;
  }

  void thread(unsigned index) {
    if (index == 0) {
      Work();
    } else {
      Monitor();
    }
  }

  void Work() {
    int lost = 0;
    for (int call = 1; call <= kCalls; ++call) {
      owned($) = owned($) + 1;
      const int ticket = call << 1 | 1;
      word.store(ticket, mutation == Mutation::kRelaxedEntry ? rl::mo_relaxed : rl::mo_release, $);
      bool kept;
      if (mutation == Mutation::kLeaveWithoutCompareAndSwap) {
        kept = word.load(rl::mo_acquire, $) == ticket;
        if (kept) word.store(ticket & ~1, rl::mo_release, $);
      } else {
        int expected = ticket;
        kept = word.compare_exchange_strong(expected, ticket & ~1, rl::mo_acq_rel, $);
      }
      if (kept) continue;
      ++lost;
      while (given_back.load(rl::mo_acquire, $) != lost) rl::yield(1, $);
    }
  }

  void Monitor() {
    int retaken = 0;
    int seen = 0;  // the call of the last look
    for (int look = 0; look < 4; ++look) {
      const int ticket = word.load(rl::mo_acquire, $);
      // As processor_watch.h does: only a call that was there at the last look is taken.
      const bool twice = ticket == seen;
      seen = ticket;
      if ((ticket & 1) == 0 || !twice) continue;
      int expected = ticket;
      if (!word.compare_exchange_strong(expected, ticket & ~1, rl::mo_acq_rel, $)) continue;
      owned($) = owned($) + 1;
      given_back.store(++retaken, rl::mo_release, $);
    }
  }
};

template <Mutation mutation>
bool Holds() {
  return fiberscope::testing::ModelHolds<ProcessorStatusModel<mutation>>(kContextSwitches);
}

}  // namespace

int main() {
  fiberscope::testing::ModelVerdict verdict;
  verdict.Expect("the protocol", true, Holds<Mutation::kNone>());
  verdict.Expect("entering with a relaxed store", false, Holds<Mutation::kRelaxedEntry>());
  verdict.Expect("leaving without compare-and-swap", false, Holds<Mutation::kLeaveWithoutCompareAndSwap>());
  return verdict.exit_code();
}
