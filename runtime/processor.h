// The right to run fibers, with what belongs to it: a run queue, timers, a share of the fiber pool, counters.
//
// Worker-confined, except where the members say that anyone may read or steal.
#ifndef FIBERSCOPE_RUNTIME_PROCESSOR_H_
#define FIBERSCOPE_RUNTIME_PROCESSOR_H_

#include <atomic>
#include <cstdint>

#include "runtime/fiber_pool.h"
#include "runtime/inject_queue.h"
#include "runtime/run_queue.h"
#include "runtime/timer_queue.h"

namespace fiberscope::internal {

class Processor {
 public:
  // `inject` takes what the run queue cannot hold.
  Processor(uint32_t index, uint32_t run_queue_capacity, InjectQueue& inject)
      : index_(index), inject_(inject), run_queue_(run_queue_capacity), shard_(FiberPool::Instance().BorrowShard()) {}
  ~Processor() { FiberPool::Instance().ReturnShard(shard_); }
  Processor(const Processor&) = delete;
  Processor& operator=(const Processor&) = delete;

  uint32_t index() const { return index_; }
  PoolShard& shard() { return shard_; }
  TimerQueue& timers() { return timers_; }

  // At the back of the queue; half of it overflows to the inject queue when it is full.
  void PushBack(ControlBlock& fiber) {
    if (!run_queue_.Push(fiber)) PushBackOverflowing(fiber);
  }
  // To run next: before the queue, because what a fiber just made runnable usually waits for its data, which is warm.
  // The one that was next before goes to the back.
  void PushNext(ControlBlock& fiber) {
    ControlBlock* const before = run_next_.exchange(&fiber, std::memory_order_acq_rel);
    if (before != nullptr) PushBack(*before);
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

  // Counters of this processor: one writer, read by anyone.
  struct Counters {
    std::atomic<uint64_t> switches{0};  // to a fiber
    std::atomic<uint64_t> steals{0};    // that brought at least one fiber
    std::atomic<uint64_t> sleeps{0};    // of its worker, in the reactor or on a futex
    std::atomic<uint64_t> polls{0};     // of the reactor, without sleeping
  };
  Counters& counters() { return counters_; }
  static void Increment(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kNextStreak = 64;

  void PushBackOverflowing(ControlBlock& fiber);

  const uint32_t index_;
  InjectQueue& inject_;
  // Exchanged, never just stored, when thieves may look.
  std::atomic<ControlBlock*> run_next_{nullptr};
  uint32_t next_streak_ = 0;
  RunQueue run_queue_;
  TimerQueue timers_;
  PoolShard& shard_;
  Counters counters_;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_PROCESSOR_H_
