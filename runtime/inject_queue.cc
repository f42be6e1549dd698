#include "runtime/inject_queue.h"

#include <mutex>

#include "runtime/control_block.h"

namespace fiberscope::internal {

void InjectQueue::Push(ControlBlock& fiber) {
  fiber.next = nullptr;
  PushChain(fiber, fiber, 1);
}

void InjectQueue::PushChain(ControlBlock& first, ControlBlock& last, uint32_t count) {
  std::lock_guard lock(lock_);
  (tail_ != nullptr ? tail_->next : head_) = &first;
  tail_ = &last;
  size_.store(size_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  pushed_.store(pushed_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

ControlBlock* InjectQueue::PopChain(uint32_t limit) {
  if (empty() || limit == 0) return nullptr;
  std::lock_guard lock(lock_);
  if (head_ == nullptr) return nullptr;
  ControlBlock* const first = head_;
  ControlBlock* last = first;
  uint32_t count = 1;
  while (count < limit && last->next != nullptr) {
    last = last->next;
    ++count;
  }
  head_ = last->next;
  if (head_ == nullptr) tail_ = nullptr;
  last->next = nullptr;
  size_.store(size_.load(std::memory_order_relaxed) - count, std::memory_order_relaxed);
  return first;
}

}  // namespace fiberscope::internal
