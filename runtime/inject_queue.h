// The scheduler's one shared queue of runnable fibers: the entrance for threads that own no processor, and the overflow
// of full run queues. Unbounded (the links are in the control blocks), first in first out.
//
// Thread-safe. Blocks the thread for a few instructions (FutexLock). empty() is one relaxed load.
#ifndef FIBERSCOPE_RUNTIME_INJECT_QUEUE_H_
#define FIBERSCOPE_RUNTIME_INJECT_QUEUE_H_

#include <atomic>
#include <cstdint>

#include "runtime/base/futex_lock.h"

namespace fiberscope::internal {

struct ControlBlock;

class InjectQueue {
 public:
  void Push(ControlBlock& fiber);

  // A chain through ControlBlock::next, `last` being its end.
  void PushChain(ControlBlock& first, ControlBlock& last, uint32_t count);

  // Up to `limit` of the oldest, as a chain through ControlBlock::next; null when empty.
  ControlBlock* PopChain(uint32_t limit);

  // Of some recent moment. A thread that goes to sleep on the answer must have announced itself before it asks
  // (idle_workers.h).
  uint32_t size() const { return size_.load(std::memory_order_relaxed); }
  bool empty() const { return size() == 0; }

  // Fibers that ever came in.
  uint64_t pushed() const { return pushed_.load(std::memory_order_relaxed); }

 private:
  FutexLock lock_;
  ControlBlock* head_ = nullptr;  // GUARDED_BY(lock_)
  ControlBlock* tail_ = nullptr;  // GUARDED_BY(lock_)
  std::atomic<uint32_t> size_{0};    // written under lock_
  std::atomic<uint64_t> pushed_{0};  // written under lock_
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_INJECT_QUEUE_H_
