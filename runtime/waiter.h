// Who waits: one record per fiber or plain thread, one node per thing it waits on at the same time, and the queue of nodes
// that a synchronisation object keeps.
//
// A fiber's record and its first node are part of its control block, further nodes (select) come from an arena of the runtime,
// and a plain thread's record comes from an arena too. So waiting allocates nothing on the heap, records are readable for
// ever, and no synchronisation object ever points into a stack (leak detection depends on that: an object must not keep its
// own waiters reachable). A node's queue, on the other hand, tells which object its fiber waits on.
//
// There are two kinds of wait:
//   plain     one node, and only the object can end the wait. Taking the node out of the queue, under the lock of the object,
//             gives the right to wake.
//   claimed   with a deadline, cancellable, or on several objects: the right to end the wait is won by a claim (wait_claim.h),
//             which ClaimFront and ClaimAll try under the lock. A node whose claim fails is dropped; its waiter finds that out
//             under the same lock, which it takes before it returns.
//
// Thread-compatible: a queue and the nodes in it are guarded by the lock of the object that owns the queue.
#ifndef FIBERSCOPE_RUNTIME_WAITER_H_
#define FIBERSCOPE_RUNTIME_WAITER_H_

#include <atomic>
#include <cstdint>

#include "runtime/timer_node.h"
#include "runtime/wait_claim.h"

namespace fiberscope::internal {

class WaitQueue;
struct SelectNodes;
struct Waiter;

// What ended a wait.
enum class WaitOutcome : uint8_t {
  kPending,    // nothing yet
  kDone,       // what was waited for happened
  kClosed,     // the object was closed: it never will
  kTimedOut,   // the deadline passed first
  kCancelled,  // CancelWait
  kStopped,    // the scheduler is stopping
};

struct WaitRecord {
  WaitClaim claim;
  TimerNode timer;                      // of the deadline
  SelectNodes* select_nodes = nullptr;  // more nodes than the inline one, once needed; select_nodes.h
  // Plain threads only: 0 until woken, a futex. Release store by the waker, acquire load by the thread.
  std::atomic<uint32_t> thread_woken{0};
  WaitOutcome outcome = WaitOutcome::kPending;  // written by who ends the wait, before it arrives or unparks
  bool is_thread = false;                       // for ever; otherwise part of a control block
};

struct Waiter {
  Waiter* next = nullptr;
  Waiter* prev = nullptr;
  WaitQueue* queue = nullptr;    // the queue it is in; null once taken out
  WaitRecord* record = nullptr;  // whose node it is
  void* slot = nullptr;          // where a value is taken from or put; its meaning is the object's
  bool claimed_wait = false;     // the wait is of the claimed kind; set before it is queued
  bool ended_wait = false;       // a select finds by this which of its nodes it was; set with the outcome
};

// Waiters that were taken out of queues and that the holder has the right to wake. In the order of their arrival.
class WakeList {
 public:
  void PushBack(Waiter& waiter) {
    waiter.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &waiter;
    last_ = &waiter;
  }
  Waiter* PopFront() {
    Waiter* const waiter = first_;
    if (waiter != nullptr) {
      first_ = waiter->next;
      if (first_ == nullptr) last_ = nullptr;
    }
    return waiter;
  }
  bool empty() const { return first_ == nullptr; }

 private:
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

// First in, first out.
class WaitQueue {
 public:
  bool empty() const { return head_ == nullptr; }
  // The longest waiting one; its wait may have ended otherwise.
  Waiter* front() const { return head_; }
  // The one that came last, or null.
  Waiter* back() const { return tail_; }
  uint32_t size() const { return size_; }

  void PushBack(Waiter& waiter) {
    waiter.queue = this;
    waiter.next = nullptr;
    waiter.prev = tail_;
    (tail_ != nullptr ? tail_->next : head_) = &waiter;
    tail_ = &waiter;
    ++size_;
  }

  // For one that was woken and has to wait again.
  void PushFront(Waiter& waiter) {
    waiter.queue = this;
    waiter.next = head_;
    waiter.prev = nullptr;
    (head_ != nullptr ? head_->prev : tail_) = &waiter;
    head_ = &waiter;
    ++size_;
  }

  // The longest waiting node whose wait could be claimed, taken out; the caller must wake it. Null when there is none.
  Waiter* ClaimFront() {
    while (Waiter* const first = head_) {
      if (Claim(*first)) return first;
    }
    return nullptr;
  }

  // All of them.
  void ClaimAll(WakeList& claimed) {
    while (Waiter* const waiter = ClaimFront()) claimed.PushBack(*waiter);
  }

  // Takes a queued node out; whether its wait could be claimed. True: the caller must wake it.
  bool Claim(Waiter& waiter) {
    Remove(waiter);
    return !waiter.claimed_wait || waiter.record->claim.Claim();
  }

  void Remove(Waiter& waiter) {
    (waiter.prev != nullptr ? waiter.prev->next : head_) = waiter.next;
    (waiter.next != nullptr ? waiter.next->prev : tail_) = waiter.prev;
    waiter.queue = nullptr;
    waiter.next = waiter.prev = nullptr;
    --size_;
  }

 private:
  Waiter* head_ = nullptr;
  Waiter* tail_ = nullptr;
  uint32_t size_ = 0;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_WAITER_H_
