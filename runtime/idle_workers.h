// Which processors and which workers are idle, and whom to wake.
//
// A worker without work first spins (looks for work in all queues), then gives its processor up and sleeps: one worker in the
// reactor, all others on a futex. A worker that came back from a blocking call and found no processor sleeps here as well.
// Whoever makes a fiber runnable calls WakeOne(), which gives an idle processor to at most one sleeper and wakes it, and none
// while a spinner is about: the spinner will find the fiber. A spinner that finds work and was the last one wakes the next, so
// wake-ups ripple out as far as there is work, and no further.
//
// Why no wake-up is lost. The producer:  P1 enqueue;  P2 fence;  P3 read the number of idle processors and of spinners.
//   The worker that gives up:            W1 no longer counted as a spinner;  W2 its processor and itself put into the lists;
//                                        W3 fence;  W4 look at every queue again;  W5 sleep.
//   The fences are sequentially consistent. If P2 comes before W3, W4 sees the fiber. Otherwise P3 sees the idle processor and
//   no spinner (or another spinner, to which the same argument applies) and wakes somebody for it.
//   Three more cases:
//   - W4 finds something, and then no processor is idle any more (Withdraw returns none): somebody took it. Whoever it was gives
//     it up later, under the same lock, and then looks at the queues after us; what W4 saw, it sees.
//   - A producer counts itself as a spinner for the worker it is going to wake and then finds no processor, or no worker.
//     Another producer may have seen that phantom and relied on it. So after taking it back the first one looks again: no
//     processor is idle, and the first case applies; or no worker is, and a new one is asked for, which looks at every queue
//     once it runs. While one is being made nobody asks for another: it has not looked yet (starting_).
//   - A worker cannot be made (limits). The processor stays idle; the monitor asks again as long as there is work (monitor.h),
//     and the next worker that comes back from a blocking call takes it.
//   Checked: tests/runtime/model/idle_workers_model.
//
// Thread-safe. Blocks the thread for a few instructions (FutexLock). Cost of WakeOne when no processor is idle: a fence and a
// load.
#ifndef FIBERSCOPE_RUNTIME_IDLE_WORKERS_H_
#define FIBERSCOPE_RUNTIME_IDLE_WORKERS_H_

#include <atomic>
#include <cstdint>

#include "runtime/base/futex_lock.h"

namespace fiberscope::internal {

// A processor's place in the list of idle ones.
struct IdleNode {
  IdleNode* next_idle = nullptr;  // GUARDED_BY(IdleWorkers::lock_)
};

// A worker's part: its place in the list, and the word it sleeps on.
struct Sleeper {
  Sleeper* next = nullptr;   // GUARDED_BY(IdleWorkers::lock_)
  bool listed = false;       // GUARDED_BY(IdleWorkers::lock_)
  bool in_reactor = false;   // owned by the worker while not listed
  IdleNode* granted = nullptr;  // the processor it was woken with; written before kGranted, read after
  std::atomic<uint32_t> woken{0};

  static constexpr uint32_t kGranted = 1;  // with a processor
  static constexpr uint32_t kEnd = 2;      // the scheduler stops

  // Until woken. Returns the processor, null when it is time to end; the latter stays true.
  IdleNode* SleepOnFutex();
  // Gives the processor to a worker that sleeps on its futex, or is about to, and is in no list (it runs one fiber only).
  void Grant(IdleNode& processor);
  // The worker must end.
  void End();
};

class IdleWorkers {
 public:
  // What it asks of its owner; any thread may call these.
  struct Hooks {
    void* argument = nullptr;
    void (*interrupt_reactor)(void*) = nullptr;  // make the thread that runs the reactor return from it
    void (*make_worker)(void*) = nullptr;        // a processor is idle, there is work, and no worker to run it
    void (*wake_monitor)(void*) = nullptr;       // it sleeps, and something runs again
  };
  explicit IdleWorkers(const Hooks& hooks) : hooks_(hooks) {}

  // W2 and W3. The worker must not be a spinner any more.
  void Announce(Sleeper& sleeper, IdleNode& processor);

  // Takes the announcement back.
  struct Withdrawal {
    IdleNode* processor = nullptr;  // null: none is idle
    bool spinner = false;           // a waker had chosen the worker, and counted it
  };
  Withdrawal Withdraw(Sleeper& sleeper);

  // For a worker without a processor: an idle one, or null, and then the worker is listed and must sleep on its futex. Woken,
  // it is counted as a spinner.
  IdleNode* TakeOrAnnounce(Sleeper& sleeper);

  // An idle processor, or null.
  IdleNode* TakeProcessor();
  // Puts one into the list: P2 included. The caller then looks whether there is work for it and calls WakeOne().
  void AddProcessor(IdleNode& processor);

  // Starts spinning if that makes sense: at most half as many spinners as there are busy processors.
  bool StartSpinning(uint32_t processor_count);
  // For a worker that comes by a processor otherwise than by spinning: counts it in any case.
  void CountSpinner() { spinners_.fetch_add(1, std::memory_order_seq_cst); }
  // True when it was the last spinner; one that found work then calls WakeOne().
  bool StopSpinning() { return spinners_.fetch_sub(1, std::memory_order_seq_cst) == 1; }
  uint32_t spinners() const { return spinners_.load(std::memory_order_relaxed); }

  // P2 and P3: after something was made runnable.
  void WakeOne();

  // Between the two a worker is being made that will look at every queue.
  void WorkerIsStarting() { starting_.fetch_add(1, std::memory_order_seq_cst); }
  void WorkerHasStarted() { starting_.fetch_sub(1, std::memory_order_seq_cst); }

  // True: all `processor_count` processors are idle, and Hooks::wake_monitor will be called when one is taken.
  bool WatchForWork(uint32_t processor_count);

  uint32_t idle_processors() const { return idle_processors_.load(std::memory_order_relaxed); }
  bool has_idle_worker() const { return idle_worker_count_.load(std::memory_order_relaxed) != 0; }

  struct Counts {
    std::atomic<uint64_t> futex_sleeps{0};
    std::atomic<uint64_t> reactor_sleeps{0};
    std::atomic<uint64_t> futex_wakes{0};
    std::atomic<uint64_t> reactor_wakes{0};
  };
  const Counts& counts() const { return counts_; }

 private:
  enum class Grant { kGiven, kNoProcessor, kNoWorker };
  Grant GrantOne();
  // lock_ held.
  IdleNode* PopProcessor(bool& wake_monitor);
  void PushProcessor(IdleNode& processor);
  void List(Sleeper& sleeper);
  static void Increment(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  const Hooks hooks_;
  std::atomic<uint32_t> spinners_{0};
  std::atomic<uint32_t> starting_{0};
  std::atomic<uint32_t> idle_processors_{0};    // written under lock_
  std::atomic<uint32_t> idle_worker_count_{0};  // written under lock_
  FutexLock lock_;
  IdleNode* processors_ = nullptr;  // GUARDED_BY(lock_): last in, first out: warm
  Sleeper* workers_ = nullptr;      // GUARDED_BY(lock_): futex sleepers first, the one in the reactor last
  bool monitor_waits_ = false;      // GUARDED_BY(lock_)
  Counts counts_;                   // written under lock_
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_IDLE_WORKERS_H_
