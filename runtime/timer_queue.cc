#include "runtime/timer_queue.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/control_block.h"

namespace fiberscope::internal {

void TimerQueue::Add(int64_t deadline_ns, TimerNode& node) {
  std::lock_guard lock(lock_);
  FIBERSCOPE_DCHECK(node.handle == TimerNode::kNotQueued, "a timer was added twice");
  node.queue = this;
  Insert(deadline_ns, node);
  Publish();
}

bool TimerQueue::Remove(TimerNode& node) {
  TimerQueue* const queue = node.queue;
  if (queue == nullptr) return false;
  std::lock_guard lock(queue->lock_);
  if (node.handle == TimerNode::kNotQueued) return false;
  queue->RemoveAt(queue->positions_[node.handle]);
  queue->Publish();
  return true;
}

ControlBlock* TimerQueue::PopExpired(int64_t now_ns) {
  if (next_deadline_ns() > now_ns) return nullptr;
  std::lock_guard lock(lock_);
  ControlBlock* first = nullptr;
  ControlBlock* last = nullptr;
  size_t woken = 0;
  while (woken < kPopLimit && !heap_.empty() && heap_.front().deadline_ns <= now_ns) {
    const int64_t deadline_ns = heap_.front().deadline_ns;
    TimerNode& node = RemoveAt(0);
    if (node.kind == TimerNode::Kind::kCallback) {
      auto& timer = static_cast<CallbackTimer&>(node);
      const int64_t next_ns = timer.fire(timer, deadline_ns, now_ns);
      if (next_ns != kNever) Insert(next_ns, node);
      continue;
    }
    ControlBlock& fiber = FiberOfTimer(node);
    if (!fiber.wait.claim.Claim()) continue;  // ended otherwise; its fiber is about to remove the timer
    fiber.wait.outcome = WaitOutcome::kTimedOut;
    if (!fiber.wait.claim.Arrive()) continue;  // not parked yet: it will find out when it is
    fiber.next = nullptr;
    (last != nullptr ? last->next : first) = &fiber;
    last = &fiber;
    ++woken;
  }
  Publish();
  return first;
}

void TimerQueue::Clear() {
  std::lock_guard lock(lock_);
  for (const Entry& entry : heap_) {
    TimerNode& node = *nodes_[entry.handle];
    node.handle = TimerNode::kNotQueued;
    node.queue = nullptr;  // its owner may outlive the queue
  }
  heap_.clear();
  nodes_.clear();
  positions_.clear();
  free_handle_ = TimerNode::kNotQueued;
  Publish();
}

void TimerQueue::Insert(int64_t deadline_ns, TimerNode& node) {
  if (free_handle_ == TimerNode::kNotQueued) {
    node.handle = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back(&node);
    positions_.push_back(0);
  } else {
    node.handle = std::exchange(free_handle_, positions_[free_handle_]);
    nodes_[node.handle] = &node;
  }
  heap_.emplace_back();
  SiftUp(heap_.size() - 1, {deadline_ns, ++last_order_, node.handle});
}

TimerNode& TimerQueue::RemoveAt(size_t position) {
  const uint32_t handle = heap_[position].handle;
  TimerNode& node = *nodes_[handle];
  node.handle = TimerNode::kNotQueued;
  positions_[handle] = std::exchange(free_handle_, handle);
  const Entry moved = heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) return node;
  if (position > 0 && Earlier(moved, heap_[(position - 1) / kFanOut])) {
    SiftUp(position, moved);
  } else {
    SiftDown(position, moved);
  }
  return node;
}

void TimerQueue::SiftUp(size_t position, const Entry& entry) {
  while (position > 0) {
    const size_t parent = (position - 1) / kFanOut;
    if (!Earlier(entry, heap_[parent])) break;
    Place(position, heap_[parent]);
    position = parent;
  }
  Place(position, entry);
}

void TimerQueue::SiftDown(size_t position, const Entry& entry) {
  for (;;) {
    const size_t first_child = position * kFanOut + 1;
    if (first_child >= heap_.size()) break;
    const size_t end = std::min(first_child + kFanOut, heap_.size());
    size_t earliest = first_child;
    for (size_t child = first_child + 1; child < end; ++child) {
      if (Earlier(heap_[child], heap_[earliest])) earliest = child;
    }
    if (!Earlier(heap_[earliest], entry)) break;
    Place(position, heap_[earliest]);
    position = earliest;
  }
  Place(position, entry);
}

}  // namespace fiberscope::internal
