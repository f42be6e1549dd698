// Deadlines: a heap per processor, driven by the worker loop. It reads no clock; the caller says what time it is.
//
// A timer is a node inside its owner (timer_node.h) that can be found in the heap. So a timer that is no longer needed is taken
// out at once, in O(log n): a server that gives every request a minute and answers in a millisecond has as many timers as requests
// in flight, not as many as in the last minute. Where a timer is in the heap is noted in an array of the queue's own, by a handle
// that the node keeps: to note it in the nodes would miss the cache at every step, since nodes lie in control blocks.
//
// Timers of waits claim the wait (wait_claim.h) under the queue's lock, callbacks run under it. A timer that was removed under
// that lock has therefore either done its work completely or will never do any.
//
// Thread-safe: a worker that is about to sleep looks after the timers of the others. Blocks the thread for a few instructions
// (FutexLock). Equal deadlines expire in the order in which they were added.
// Cost: a heap of fan-out 4, 28 bytes per timer in three arrays, which grow and never shrink.
#ifndef FIBERSCOPE_RUNTIME_TIMER_QUEUE_H_
#define FIBERSCOPE_RUNTIME_TIMER_QUEUE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/base/futex_lock.h"
#include "runtime/timer_node.h"

namespace fiberscope::internal {

struct ControlBlock;

class TimerQueue {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  TimerQueue() = default;
  ~TimerQueue() { Clear(); }
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  // `deadline_ns` counts as MonotonicNowNs() does. The node must not be in a queue.
  void Add(int64_t deadline_ns, TimerNode& node);

  // Takes the node out of the queue it was added to last. False: it is not there any more, because it has expired.
  static bool Remove(TimerNode& node);

  // Takes out the timers whose deadline is at or before `now_ns`, earliest first; runs the callbacks and ends the waits.
  // Returns the parked fibers whose wait ended, as a chain through ControlBlock::next: the caller makes them runnable. Takes about
  // kPopLimit of them, so that others are not kept from the lock for long: null when there was none.
  ControlBlock* PopExpired(int64_t now_ns);

  // Forgets all timers, which will never expire. For a scheduler that stops: the fibers are ended in another way.
  void Clear();

  // kNever when empty.
  int64_t next_deadline_ns() const { return next_deadline_ns_.load(std::memory_order_relaxed); }

  // How many there are, of some recent moment.
  size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    int64_t deadline_ns;
    uint32_t order;  // of Add calls, which counts round
    uint32_t handle;
  };
  static constexpr size_t kFanOut = 4;
  static constexpr size_t kPopLimit = 64;

  static bool Earlier(const Entry& a, const Entry& b) {
    return a.deadline_ns != b.deadline_ns ? a.deadline_ns < b.deadline_ns : static_cast<int32_t>(a.order - b.order) < 0;
  }
  // All with lock_ held.
  void Insert(int64_t deadline_ns, TimerNode& node);
  TimerNode& RemoveAt(size_t position);
  void SiftUp(size_t position, const Entry& entry);
  void SiftDown(size_t position, const Entry& entry);
  void Place(size_t position, const Entry& entry) {
    heap_[position] = entry;
    positions_[entry.handle] = static_cast<uint32_t>(position);
  }
  void Publish() {
    next_deadline_ns_.store(heap_.empty() ? kNever : heap_.front().deadline_ns, std::memory_order_relaxed);
    size_.store(heap_.size(), std::memory_order_relaxed);
  }

  FutexLock lock_;
  std::vector<Entry> heap_;  // GUARDED_BY(lock_): no entry is earlier than its parent, (position - 1) / kFanOut
  std::vector<TimerNode*> nodes_;     // GUARDED_BY(lock_): by handle
  std::vector<uint32_t> positions_;   // GUARDED_BY(lock_): by handle; of a free handle, the next free one
  uint32_t free_handle_ = TimerNode::kNotQueued;  // GUARDED_BY(lock_)
  uint32_t last_order_ = 0;                       // GUARDED_BY(lock_)
  std::atomic<int64_t> next_deadline_ns_{kNever};  // written under lock_
  std::atomic<size_t> size_{0};                    // written under lock_
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TIMER_QUEUE_H_
