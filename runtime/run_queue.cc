#include "runtime/run_queue.h"

#include "runtime/base/check.h"
#include "runtime/control_block.h"

namespace fiberscope::internal {

RunQueue::RunQueue(uint32_t capacity)
    : mask_(capacity - 1), slots_(std::make_unique<std::atomic<ControlBlock*>[]>(capacity)) {
  FIBERSCOPE_CHECK(capacity >= 2 && (capacity & mask_) == 0, "run queue capacity %d is not a power of two >= 2",
                   capacity);
}

ControlBlock* RunQueue::PopHalf(ControlBlock** last) {
  uint32_t head = head_.load(std::memory_order_acquire);
  const uint32_t tail = tail_.load(std::memory_order_relaxed);  // ours
  while (tail != head) {
    const uint32_t count = (tail - head + 1) / 2;
    if (!head_.compare_exchange_weak(head, head + count, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    // The slots are ours and only we would write them again, so they may be read after the fact.
    ControlBlock* const first = slot(head).load(std::memory_order_relaxed);
    *last = first;
    for (uint32_t i = 1; i < count; ++i) {
      ControlBlock* const fiber = slot(head + i).load(std::memory_order_relaxed);
      (*last)->next = fiber;
      *last = fiber;
    }
    (*last)->next = nullptr;
    return first;
  }
  return nullptr;
}

ControlBlock* RunQueue::StealInto(RunQueue& thief) {
  const uint32_t thief_tail = thief.tail_.load(std::memory_order_relaxed);  // the caller's own
  uint32_t head = head_.load(std::memory_order_acquire);
  for (;;) {
    const uint32_t tail = tail_.load(std::memory_order_acquire);  // pairs with Push
    uint32_t count = tail - head;
    if (count == 0 || static_cast<int32_t>(count) < 0) return nullptr;
    count -= count / 2;
    if (count > (mask_ + 1) / 2 || count > thief.mask_ + 1) {  // head is older than tail: read again
      head = head_.load(std::memory_order_acquire);
      continue;
    }
    for (uint32_t i = 0; i < count; ++i) {
      thief.slot(thief_tail + i).store(slot(head + i).load(std::memory_order_relaxed), std::memory_order_relaxed);
    }
    if (!head_.compare_exchange_weak(head, head + count, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    // The last one copied is run at once, the others are queued.
    ControlBlock* const fiber = thief.slot(thief_tail + count - 1).load(std::memory_order_relaxed);
    if (count > 1) thief.tail_.store(thief_tail + count - 1, std::memory_order_release);
    return fiber;
  }
}

}  // namespace fiberscope::internal
