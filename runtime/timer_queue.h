// Fibers that sleep until a deadline: a binary heap per processor, driven by the worker loop. It reads no clock; the
// caller says what time it is.
//
// Thread-safe: a worker that is about to sleep looks after the timers of the others. Blocks the thread for a few
// instructions (FutexLock). Fibers with equal deadlines are woken in the order in which they went to sleep.
#ifndef FIBERSCOPE_RUNTIME_TIMER_QUEUE_H_
#define FIBERSCOPE_RUNTIME_TIMER_QUEUE_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/base/futex_lock.h"

namespace fiberscope::internal {

struct ControlBlock;

class TimerQueue {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  // `deadline_ns` counts as MonotonicNowNs() does.
  void Add(int64_t deadline_ns, ControlBlock& fiber);

  // Takes out those whose deadline is at or before `now_ns`, earliest first, as a chain through ControlBlock::next; null
  // when there are none.
  ControlBlock* PopExpired(int64_t now_ns);

  // Forgets all timers. For a scheduler that stops: the fibers are ended in another way.
  void Clear();

  // kNever when empty.
  int64_t next_deadline_ns() const { return next_deadline_ns_.load(std::memory_order_relaxed); }

 private:
  struct Entry {
    int64_t deadline_ns;
    uint64_t order;  // of Add calls
    ControlBlock* fiber;
  };
  static bool Later(const Entry& a, const Entry& b) {
    return a.deadline_ns != b.deadline_ns ? a.deadline_ns > b.deadline_ns : a.order > b.order;
  }
  void PublishNext() {
    next_deadline_ns_.store(heap_.empty() ? kNever : heap_.front().deadline_ns, std::memory_order_relaxed);
  }

  FutexLock lock_;
  std::vector<Entry> heap_;   // GUARDED_BY(lock_): a heap by Later
  uint64_t last_order_ = 0;   // GUARDED_BY(lock_)
  std::atomic<int64_t> next_deadline_ns_{kNever};  // written under lock_
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TIMER_QUEUE_H_
