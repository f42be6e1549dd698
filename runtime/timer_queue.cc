#include "runtime/timer_queue.h"

#include <algorithm>
#include <mutex>

#include "runtime/control_block.h"

namespace fiberscope::internal {

void TimerQueue::Add(int64_t deadline_ns, ControlBlock& fiber) {
  std::lock_guard lock(lock_);
  heap_.push_back({deadline_ns, ++last_order_, &fiber});
  std::push_heap(heap_.begin(), heap_.end(), Later);
  PublishNext();
}

ControlBlock* TimerQueue::PopExpired(int64_t now_ns) {
  if (next_deadline_ns() > now_ns) return nullptr;
  std::lock_guard lock(lock_);
  ControlBlock* first = nullptr;
  ControlBlock* last = nullptr;
  while (!heap_.empty() && heap_.front().deadline_ns <= now_ns) {
    ControlBlock* const fiber = heap_.front().fiber;
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    heap_.pop_back();
    fiber->next = nullptr;
    (last != nullptr ? last->next : first) = fiber;
    last = fiber;
  }
  PublishNext();
  return first;
}

void TimerQueue::Clear() {
  std::lock_guard lock(lock_);
  heap_.clear();
  PublishNext();
}

}  // namespace fiberscope::internal
