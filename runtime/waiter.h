// Who waits: one node per waiting fiber or thread, and the queue of them that a synchronisation object keeps.
//
// A fiber's node is part of its control block, so waiting allocates nothing and no synchronisation object ever points
// into a fiber's stack (leak detection depends on that: an object must not keep its own waiters reachable). A plain
// thread's node lives on its stack for the length of the wait.
//
// Thread-compatible: a queue and the nodes in it are guarded by the lock of the object that owns the queue.
#ifndef FIBERSCOPE_RUNTIME_WAITER_H_
#define FIBERSCOPE_RUNTIME_WAITER_H_

#include <atomic>
#include <cstdint>

namespace fiberscope::internal {

struct ControlBlock;
class WaitQueue;

// What the waker tells the waiter.
enum class WaitOutcome : uint8_t {
  kPending,  // still queued
  kDone,     // what was waited for happened
  kClosed,   // the object was closed: it never will
  kStopped,  // the scheduler is stopping
};

struct Waiter {
  Waiter* next = nullptr;
  Waiter* prev = nullptr;
  WaitQueue* queue = nullptr;      // the queue it is in; null once taken out
  ControlBlock* fiber = nullptr;   // null: a plain thread, see `thread_woken`
  void* slot = nullptr;            // where a value is taken from or put; its meaning is the object's
  WaitOutcome outcome = WaitOutcome::kPending;  // written by the waker before it wakes
  // Plain threads only: 0 until woken, a futex. Release store by the waker, acquire load by the thread.
  std::atomic<uint32_t> thread_woken{0};
};

// First in, first out.
class WaitQueue {
 public:
  bool empty() const { return head_ == nullptr; }

  void PushBack(Waiter& waiter) {
    waiter.queue = this;
    waiter.next = nullptr;
    waiter.prev = tail_;
    (tail_ != nullptr ? tail_->next : head_) = &waiter;
    tail_ = &waiter;
  }

  // The longest waiting node, taken out; null when empty.
  Waiter* PopFront() {
    Waiter* const first = head_;
    if (first != nullptr) Remove(*first);
    return first;
  }

  void Remove(Waiter& waiter) {
    (waiter.prev != nullptr ? waiter.prev->next : head_) = waiter.next;
    (waiter.next != nullptr ? waiter.next->prev : tail_) = waiter.prev;
    waiter.queue = nullptr;
    waiter.next = waiter.prev = nullptr;
  }

 private:
  Waiter* head_ = nullptr;
  Waiter* tail_ = nullptr;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_WAITER_H_
