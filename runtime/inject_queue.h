// The scheduler's one shared queue of runnable fibers: the entrance for threads that own no processor, and the overflow of full
// run queues. Unbounded: the links are in the control blocks.
//
//     entered      first in, first out
//     overflow     oldest ... newest      a processor whose own queue is empty takes the newest, and every so many turns, whatever
//                                         else there is to do, somebody takes the oldest
//
// Why the newest: overflow means that fibers are spawned faster than they run. What was spawned last is what the others wait for,
// its stack is warm, and a tree of a million fibers is walked in depth, with some hundred alive, instead of in breadth, with all of
// them alive. Why also the oldest: so that nobody waits for ever. What a loop's turn (kLoopEvery in worker.cc) finds in front runs
// soon, and those behind it move up.
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

  // Chains through ControlBlock::next, `last` being the end.
  void PushChain(ControlBlock& first, ControlBlock& last, uint32_t count);
  void PushOverflow(ControlBlock& first, ControlBlock& last, uint32_t count);

  // Up to `limit`, as a chain through ControlBlock::next, older ones first; null when empty. The oldest that have entered; if none
  // have, the newest of the overflow.
  ControlBlock* PopChain(uint32_t limit);

  // The same, but in turn with the single oldest of the overflow. Just one: more would push as many newer ones out of the caller's
  // queue, and the walk would be in breadth again.
  ControlBlock* PopOldest(uint32_t limit);

  // Of some recent moment. A thread that goes to sleep on the answer must have announced itself before it asks
  // (idle_workers.h).
  uint32_t size() const { return size_.load(std::memory_order_relaxed); }
  bool empty() const { return size() == 0; }

  // Fibers that ever came in.
  uint64_t pushed() const { return pushed_.load(std::memory_order_relaxed); }

 private:
  // Linked both ways, through ControlBlock::next and prev.
  class List {
   public:
    bool empty() const { return head_ == nullptr; }
    void Append(ControlBlock& first, ControlBlock& last);
    // `count` is lowered to how many there were.
    ControlBlock* TakeOldest(uint32_t& count);
    ControlBlock* TakeNewest(uint32_t& count);

   private:
    ControlBlock* head_ = nullptr;
    ControlBlock* tail_ = nullptr;
  };

  void Add(List& list, ControlBlock& first, ControlBlock& last, uint32_t count);
  void CountTaken(uint32_t count);

  FutexLock lock_;
  List entered_;                     // GUARDED_BY(lock_)
  List overflow_;                    // GUARDED_BY(lock_)
  bool overflow_is_next_ = false;    // GUARDED_BY(lock_): for PopOldest
  std::atomic<uint32_t> size_{0};    // written under lock_
  std::atomic<uint64_t> pushed_{0};  // written under lock_
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_INJECT_QUEUE_H_
