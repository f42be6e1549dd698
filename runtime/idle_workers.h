// Which workers sleep, and whom to wake.
//
// A worker without work first spins (looks for work in all queues), then sleeps: one of them in the reactor, all others
// on a futex. Whoever makes a fiber runnable calls WakeOne(), which wakes at most one sleeper, and none while a spinner
// is about: the spinner will find the fiber. A spinner that finds work and was the last one wakes the next, so wake-ups
// ripple out as far as there is work, and no further.
//
// Why no wake-up is lost. The producer:  P1 enqueue;  P2 fence;  P3 read idle count and spinner count.
//   The worker that gives up:            W1 no longer counted as a spinner;  W2 announced in the list;  W3 fence;
//                                        W4 look at every queue again;  W5 sleep.
//   The fences are sequentially consistent. If P2 comes before W3, W4 sees the fiber. Otherwise P3 sees the worker in the
//   list and no spinner (or another spinner, to which the same argument applies) and wakes it.
//   One more case: a producer counts itself as a spinner for the worker it is going to wake and then finds the list empty.
//   Another producer may have seen that phantom and relied on it. So after taking it back the first one looks again.
//
// Thread-safe. Blocks the thread for a few instructions (FutexLock). Cost of WakeOne when nobody sleeps: a fence and a load.
#ifndef FIBERSCOPE_RUNTIME_IDLE_WORKERS_H_
#define FIBERSCOPE_RUNTIME_IDLE_WORKERS_H_

#include <atomic>
#include <cstdint>

#include "runtime/base/futex_lock.h"

namespace fiberscope::internal {

// A worker's part: its place in the list, and the word it sleeps on.
struct Sleeper {
  Sleeper* next = nullptr;                // GUARDED_BY(IdleWorkers::lock_)
  bool listed = false;                    // GUARDED_BY(IdleWorkers::lock_)
  bool in_reactor = false;                // owned by the worker while not listed
  std::atomic<uint32_t> woken{0};         // 1: chosen by a waker, and counted as a spinner
};

class IdleWorkers {
 public:
  // `interrupt_reactor(argument)` must make the thread that runs the reactor return from it; any thread may call it.
  IdleWorkers(void (*interrupt_reactor)(void*), void* argument)
      : interrupt_reactor_(interrupt_reactor), argument_(argument) {}

  // W2 and W3. The worker must not be a spinner any more.
  void Announce(Sleeper& sleeper);
  // Takes the announcement back. False: a waker was faster, so the worker has been woken and is counted as a spinner.
  bool Withdraw(Sleeper& sleeper);
  // Until woken, for a worker that does not sleep in the reactor. It is then counted as a spinner.
  static void SleepOnFutex(Sleeper& sleeper);

  // Starts spinning if that makes sense: at most half as many spinners as there are busy workers.
  bool StartSpinning(uint32_t worker_count);
  // For a worker that comes out of the reactor with work: counts it in any case.
  void CountSpinner() { spinners_.fetch_add(1, std::memory_order_seq_cst); }
  // True when it was the last spinner; one that found work then calls WakeOne().
  bool StopSpinning() { return spinners_.fetch_sub(1, std::memory_order_seq_cst) == 1; }

  // P2 and P3: after something was made runnable.
  void WakeOne();
  void WakeAll();

  uint32_t idle_count() const { return idle_count_.load(std::memory_order_relaxed); }

 private:
  bool TakeAndWake();  // false: nobody sleeps. The caller has counted the spinner that the worker becomes.

  void (*const interrupt_reactor_)(void*);
  void* const argument_;
  std::atomic<uint32_t> spinners_{0};
  std::atomic<uint32_t> idle_count_{0};  // written under lock_
  FutexLock lock_;
  Sleeper* head_ = nullptr;  // GUARDED_BY(lock_): futex sleepers first, the one in the reactor last
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_IDLE_WORKERS_H_
