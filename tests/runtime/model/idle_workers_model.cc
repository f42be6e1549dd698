// Model check of the argument in runtime/idle_workers.h: no wake-up is lost.
//
// A worker with one processor does pieces of work and gives up when it sees none; two producers make one piece each and call
// WakeOne(). Relacy runs interleavings under the C++ memory model, stale relaxed loads included; a lost wake-up is a
// deadlock, which it reports. The steps have the names they have in the header. Each mutation leaves one step out, and the
// checker must find that out: otherwise it checks nothing.
//
// The model is written by hand after idle_workers.cc. The lists are a flag (there is one worker), the FutexLock a mutex, the
// futex a mutex and a condition variable.
#include <cstdio>

#include "tests/runtime/model/relacy.h"

namespace {

// Every interleaving with as many forced switches between threads.
constexpr unsigned kContextSwitches = 4;

enum class Mutation { kNone, kNoProducerFence, kNoWorkerFence, kNoSecondLook, kNoLookAfterPhantom };

template <Mutation mutation>
struct IdleWorkersModel : rl::test_suite<IdleWorkersModel<mutation>, 3> {
  static constexpr int kProducers = 2;

  rl::atomic<int> queued;
  rl::atomic<int> idle_processors;
  rl::atomic<int> spinners;
  rl::mutex lock;
  rl::var<int> listed;  // guarded by lock
  rl::atomic<int> woken;
  rl::mutex futex_mutex;
  rl::condition_variable futex;

  void before() {
    queued.store(0, rl::mo_relaxed, $);
    idle_processors.store(0, rl::mo_relaxed, $);
    spinners.store(0, rl::mo_relaxed, $);
    listed($) = 0;
    woken.store(0, rl::mo_relaxed, $);
  }

  void thread(unsigned index) {
    if (index == 0) {
      Work();
    } else {
      queued.fetch_add(1, rl::mo_relaxed, $);  // P1
      WakeOne();
    }
  }

  void Work() {
    bool spinning = false;
    for (int done = 0; done < kProducers;) {
      if (queued.load(rl::mo_relaxed, $) != 0) {
        queued.fetch_sub(1, rl::mo_relaxed, $);
        ++done;
        continue;
      }
      if (spinning) spinners.fetch_sub(1, rl::mo_seq_cst, $);  // W1
      spinning = false;
      lock.lock($);  // W2
      listed($) = 1;
      idle_processors.store(1, rl::mo_relaxed, $);
      lock.unlock($);
      if (mutation != Mutation::kNoWorkerFence) rl::atomic_thread_fence(rl::mo_seq_cst, $);  // W3
      if (mutation == Mutation::kNoSecondLook || queued.load(rl::mo_relaxed, $) == 0) {      // W4
        SleepOnFutex();                                                                            // W5
        spinning = true;
        continue;
      }
      lock.lock($);
      if (listed($) != 0) {
        listed($) = 0;
        idle_processors.store(0, rl::mo_relaxed, $);
        spinners.fetch_add(1, rl::mo_seq_cst, $);
      } else {
        woken.store(0, rl::mo_relaxed, $);  // a waker was faster, and counted us
      }
      lock.unlock($);
      spinning = true;
    }
  }

  void SleepOnFutex() {
    futex_mutex.lock($);
    while (woken.load(rl::mo_acquire, $) == 0) futex.wait(futex_mutex, $);
    futex_mutex.unlock($);
    woken.store(0, rl::mo_relaxed, $);
  }

  void WakeOne() {
    if (mutation != Mutation::kNoProducerFence) rl::atomic_thread_fence(rl::mo_seq_cst, $);  // P2
    while (idle_processors.load(rl::mo_relaxed, $) != 0) {                                   // P3
      int none = 0;
      if (!spinners.compare_exchange_strong(none, 1, rl::mo_seq_cst, $)) return;
      lock.lock($);
      const bool any = listed($) != 0;
      if (any) {
        listed($) = 0;
        idle_processors.store(0, rl::mo_relaxed, $);
        woken.store(1, rl::mo_release, $);
      }
      lock.unlock($);
      if (any) {
        futex_mutex.lock($);
        futex.notify_one($);
        futex_mutex.unlock($);
        return;
      }
      spinners.fetch_sub(1, rl::mo_seq_cst, $);
      if (mutation == Mutation::kNoLookAfterPhantom) return;
      rl::atomic_thread_fence(rl::mo_seq_cst, $);
    }
  }
};

template <Mutation mutation>
bool Holds() {
  return fiberscope::testing::ModelHolds<IdleWorkersModel<mutation>>(kContextSwitches);
}

}  // namespace

int main() {
  fiberscope::testing::ModelVerdict verdict;
  verdict.Expect("the protocol", true, Holds<Mutation::kNone>());
  verdict.Expect("without the producer's fence", false, Holds<Mutation::kNoProducerFence>());
  verdict.Expect("without the worker's fence", false, Holds<Mutation::kNoWorkerFence>());
  verdict.Expect("without the worker's second look", false, Holds<Mutation::kNoSecondLook>());
  verdict.Expect("without a look after a phantom", false, Holds<Mutation::kNoLookAfterPhantom>());
  return verdict.exit_code();
}
