// A processor's queue of runnable fibers: bounded, first in first out, the owner at both ends, thieves at the front.
//
//        head ──► oldest ... newest ◄── tail          slots are used modulo the capacity; both counters only grow
//
// Algorithm: the local run queue of Go's scheduler (runtime/proc.go, runqput, runqget, runqgrab), which in turn is the
// bounded single-producer, multi-consumer ring of Hendler and Shavit's "Non-blocking Steal-half Work Queues" (2002)
// reduced to a ring.
//
// Invariants
//   - Only the owner stores tail. Fibers in [head, tail) are in the queue; head moves by compare-and-swap only.
//   - A consumer copies the slots first and then moves head. If head moved meanwhile the copy is thrown away: the owner
//     may have written a slot again, but only after head had passed it, so the compare-and-swap fails.
//   - head never repeats (32 bits, and a thief would have to sleep through 2^32 pops to be fooled).
//
// Checked: tests/runtime/model/run_queue_model.
//
// Push and Pop are Worker-confined (the owner's); StealInto may be called by any other owner. Never blocks.
// Cost: Push one store; Pop one compare-and-swap.
#ifndef FIBERSCOPE_RUNTIME_RUN_QUEUE_H_
#define FIBERSCOPE_RUNTIME_RUN_QUEUE_H_

#include <atomic>
#include <cstdint>
#include <memory>

namespace fiberscope::internal {

struct ControlBlock;

class RunQueue {
 public:
  // A power of two, at least 2. Go's 256 is the default; stress tests use 2.
  explicit RunQueue(uint32_t capacity = 256);

  // At the back. False when full: move some away with PopHalf first.
  bool Push(ControlBlock& fiber) {
    // Acquire pairs with the consumers' release: a slot they have emptied may be written again.
    const uint32_t head = head_.load(std::memory_order_acquire);
    const uint32_t tail = tail_.load(std::memory_order_relaxed);  // ours
    if (tail - head > mask_) return false;
    slot(tail).store(&fiber, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);  // publishes the slot, and the fiber's block with it
    return true;
  }

  // The oldest; null when empty.
  ControlBlock* Pop() {
    uint32_t head = head_.load(std::memory_order_acquire);
    const uint32_t tail = tail_.load(std::memory_order_relaxed);  // ours
    while (tail != head) {
      ControlBlock* const fiber = slot(head).load(std::memory_order_relaxed);
      // Release pairs with the acquire in Push; on failure a thief was faster and `head` is the new one.
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return fiber;
    }
    return nullptr;
  }

  // Takes the older half (at least one) out as a chain through ControlBlock::next; `last` receives its end. For the
  // owner of a full queue. Null when thieves emptied it meanwhile.
  ControlBlock* PopHalf(ControlBlock** last);

  // Moves half of this queue, rounded up, to the end of `thief`, which the caller owns and which must be empty. Returns
  // one of the stolen fibers to run, not queued; null when there was nothing to steal.
  ControlBlock* StealInto(RunQueue& thief);

  // Exact for the owner while nobody steals; otherwise of some recent moment.
  uint32_t size() const {
    const uint32_t head = head_.load(std::memory_order_acquire);
    const uint32_t tail = tail_.load(std::memory_order_acquire);
    return static_cast<int32_t>(tail - head) > 0 ? tail - head : 0;
  }

 private:
  std::atomic<ControlBlock*>& slot(uint32_t position) { return slots_[position & mask_]; }

  const uint32_t mask_;
  std::unique_ptr<std::atomic<ControlBlock*>[]> slots_;
  alignas(64) std::atomic<uint32_t> head_{0};
  std::atomic<uint32_t> tail_{0};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_RUN_QUEUE_H_
