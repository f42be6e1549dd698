// The right to run fibers, with what belongs to it: a run queue, timers, a share of the fiber pool, counters.
//
// A worker has at most one processor, and a processor at most one worker; it changes hands through the idle list, by being
// retaken from a blocking call, or by being given to a worker that is locked to the fiber to run (processor_status.h).
// Whoever has it is its owner. Owner only, except where the members say that anyone may read or steal.
#ifndef FIBERSCOPE_RUNTIME_PROCESSOR_H_
#define FIBERSCOPE_RUNTIME_PROCESSOR_H_

#include <atomic>
#include <cstdint>

#include "runtime/atomic_histogram.h"
#include "runtime/fiber_pool.h"
#include "runtime/idle_workers.h"
#include "runtime/inject_queue.h"
#include "runtime/metrics.h"
#include "runtime/processor_status.h"
#include "runtime/run_queue.h"
#include "runtime/timer_queue.h"

namespace fiberscope::internal {

class Worker;

class Processor : public IdleNode {
 public:
  // `inject` takes what the run queue cannot hold.
  Processor(uint32_t index, uint32_t run_queue_capacity, InjectQueue& inject)
      : index_(index), inject_(inject), run_queue_(run_queue_capacity), shard_(FiberPool::Instance().BorrowShard()) {
    shard_spawned_before_ = shard_.spawned();
    shard_finished_before_ = shard_.finished();
  }
  ~Processor() { FiberPool::Instance().ReturnShard(shard_); }
  Processor(const Processor&) = delete;
  Processor& operator=(const Processor&) = delete;

  uint32_t index() const { return index_; }
  PoolShard& shard() { return shard_; }
  TracedProcessor& traced() { return shard_.traced(); }
  TimerQueue& timers() { return timers_; }
  ProcessorStatus& status() { return status_; }
  const ProcessorStatus& status() const { return status_; }

  // The worker that has it, or had it last. Anyone may ask.
  Worker* worker() const { return worker_.load(std::memory_order_acquire); }
  void set_worker(Worker* worker) { worker_.store(worker, std::memory_order_release); }

  // Everything that is queued here, to the inject queue. Returns whether that was anything.
  bool MoveQueuedToInject();

  // At the back of the queue; half of it overflows to the inject queue when it is full.
  void PushBack(ControlBlock& fiber) {
    if (!run_queue_.Push(fiber)) PushBackOverflowing(fiber);
  }
  // To run next: before the queue, because what a fiber just made runnable usually waits for its data, which is warm.
  // The one that was next before goes to the back.
  void PushNext(ControlBlock& fiber) {
    // Only the owner fills the slot, so when it is empty it stays so, and a store will do.
    if (run_next_.load(std::memory_order_relaxed) == nullptr) {
      run_next_.store(&fiber, std::memory_order_release);
    } else if (ControlBlock* const before = run_next_.exchange(&fiber, std::memory_order_acq_rel)) {
      PushBack(*before);
    }
  }

  // What to run next; null when there is nothing here. After kNextStreak picks in a row from the run-next slot the queue
  // has its turn, so that two fibers waking each other cannot starve it.
  ControlBlock* Pop() {
    if (run_next_.load(std::memory_order_relaxed) != nullptr && next_streak_ < kNextStreak) {
      // Thieves may empty the slot meanwhile.
      if (ControlBlock* const fiber = run_next_.exchange(nullptr, std::memory_order_acq_rel)) {
        ++next_streak_;
        return fiber;
      }
    }
    next_streak_ = 0;
    if (ControlBlock* const fiber = run_queue_.Pop()) return fiber;
    return run_next_.load(std::memory_order_relaxed) == nullptr ? nullptr
                                                                : run_next_.exchange(nullptr, std::memory_order_acq_rel);
  }

  // Up to half of what is in `victim`'s queue comes here; one fiber to run is returned. This queue must be empty.
  ControlBlock* StealFrom(Processor& victim) { return victim.run_queue_.StealInto(run_queue_); }
  // Takes the victim's run-next slot. For a thief that has found nothing else.
  ControlBlock* StealNextFrom(Processor& victim) {
    return victim.run_next_.exchange(nullptr, std::memory_order_acq_rel);
  }

  // Anyone may ask; of some recent moment.
  bool has_queued() const { return run_queue_.size() != 0 || run_next() != nullptr; }
  ControlBlock* run_next() const { return run_next_.load(std::memory_order_acquire); }
  uint32_t queue_length() const { return run_queue_.size() + (run_next() != nullptr ? 1 : 0); }

  // Fibers counted here since the scheduler started. Anyone may ask.
  uint64_t spawned() const { return shard_.spawned() - shard_spawned_before_; }
  uint64_t finished() const { return shard_.finished() - shard_finished_before_; }

  // Counters of this processor: one writer, the owner; read by anyone. metrics.h says what they mean.
  struct Counters {
    std::atomic<uint64_t> switches{0};
    // Yields that found nobody else to run, so that the monitor can tell such a fiber from one that never lets go.
    std::atomic<uint64_t> idle_yields{0};
    std::atomic<uint64_t> steals_tried{0};
    std::atomic<uint64_t> steals{0};
    std::atomic<uint64_t> overflows{0};
    std::atomic<uint64_t> polls{0};
    std::atomic<uint64_t> blocking_calls{0};
    AtomicHistogram scheduling_latency;
    AtomicHistogram run_slice;
  };
  Counters& counters() { return counters_; }

  // The slice that began with switch number `switches` has been running since then. For the monitor.
  void NoteLongSlice(uint64_t switches, int64_t since_ns) {
    if (long_slice_.load(std::memory_order_relaxed) == switches) return;
    long_since_ns_.store(since_ns, std::memory_order_relaxed);
    long_slice_.store(switches, std::memory_order_release);
  }
  bool in_long_slice() const {
    // Acquire pairs with the release in NoteLongSlice().
    return long_slice_.load(std::memory_order_acquire) == counters_.switches.load(std::memory_order_relaxed);
  }
  // The owner has measured it; after a blocking call the same switch number goes on.
  void ForgetLongSlice() { long_slice_.store(UINT64_MAX, std::memory_order_relaxed); }
  int64_t long_since_ns() const { return long_since_ns_.load(std::memory_order_relaxed); }
  ProcessorMetrics Metrics() const;
  static void Increment(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kNextStreak = 64;

  void PushBackOverflowing(ControlBlock& fiber);

  const uint32_t index_;
  InjectQueue& inject_;
  // Emptied by exchange only: thieves do so too.
  std::atomic<ControlBlock*> run_next_{nullptr};
  uint32_t next_streak_ = 0;
  RunQueue run_queue_;
  TimerQueue timers_;
  PoolShard& shard_;
  uint64_t shard_spawned_before_ = 0;
  uint64_t shard_finished_before_ = 0;
  std::atomic<Worker*> worker_{nullptr};
  std::atomic<uint64_t> long_slice_{UINT64_MAX};  // the slice's switch number
  std::atomic<int64_t> long_since_ns_{0};
  alignas(64) ProcessorStatus status_;
  alignas(64) Counters counters_;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_PROCESSOR_H_
