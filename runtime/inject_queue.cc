#include "runtime/inject_queue.h"

#include <mutex>
#include <utility>

#include "runtime/control_block.h"

namespace fiberscope::internal {

void InjectQueue::Push(ControlBlock& fiber) {
  fiber.next = nullptr;
  PushChain(fiber, fiber, 1);
}

void InjectQueue::PushChain(ControlBlock& first, ControlBlock& last, uint32_t count) { Add(entered_, first, last, count); }

void InjectQueue::PushOverflow(ControlBlock& first, ControlBlock& last, uint32_t count) {
  Add(overflow_, first, last, count);
}

ControlBlock* InjectQueue::PopChain(uint32_t limit) {
  if (empty() || limit == 0) return nullptr;
  std::lock_guard lock(lock_);
  ControlBlock* const first = entered_.empty() ? overflow_.TakeNewest(limit) : entered_.TakeOldest(limit);
  CountTaken(limit);
  return first;
}

ControlBlock* InjectQueue::PopOldest(uint32_t limit) {
  if (empty() || limit == 0) return nullptr;
  std::lock_guard lock(lock_);
  const bool from_overflow = entered_.empty() || (overflow_is_next_ && !overflow_.empty());
  overflow_is_next_ = !from_overflow;
  if (from_overflow) limit = 1;
  ControlBlock* const first = (from_overflow ? overflow_ : entered_).TakeOldest(limit);
  CountTaken(limit);
  return first;
}

void InjectQueue::Add(List& list, ControlBlock& first, ControlBlock& last, uint32_t count) {
  std::lock_guard lock(lock_);
  list.Append(first, last);
  size_.store(size_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  pushed_.store(pushed_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

void InjectQueue::CountTaken(uint32_t count) {
  size_.store(size_.load(std::memory_order_relaxed) - count, std::memory_order_relaxed);
}

// ---- List

void InjectQueue::List::Append(ControlBlock& first, ControlBlock& last) {
  ControlBlock* before = tail_;
  for (ControlBlock* at = &first; at != nullptr; at = at->next) {
    at->prev = before;
    before = at;
  }
  (tail_ != nullptr ? tail_->next : head_) = &first;
  tail_ = &last;
}

ControlBlock* InjectQueue::List::TakeOldest(uint32_t& count) {
  ControlBlock* const first = head_;
  ControlBlock* last = nullptr;
  uint32_t taken = 0;
  for (; taken < count && head_ != nullptr; ++taken) last = std::exchange(head_, head_->next);
  count = taken;
  if (head_ == nullptr) {
    tail_ = nullptr;
  } else {
    head_->prev = nullptr;
    last->next = nullptr;
  }
  return first;
}

ControlBlock* InjectQueue::List::TakeNewest(uint32_t& count) {
  ControlBlock* first = nullptr;
  uint32_t taken = 0;
  for (; taken < count && tail_ != nullptr; ++taken) first = std::exchange(tail_, tail_->prev);
  count = taken;
  (tail_ != nullptr ? tail_->next : head_) = nullptr;
  return first;
}

}  // namespace fiberscope::internal
