// How a plain thread waits on the objects that fibers wait on: its record and node.
//
// They come from memory that is never given back to the system, and are used again by other threads after theirs has ended;
// so a token or a late futex wake may meet them at any time and does no harm (wait_claim.h).
//
// Thread-safe. Never blocks, but for the first call on a thread.
#ifndef FIBERSCOPE_RUNTIME_THREAD_WAITER_H_
#define FIBERSCOPE_RUNTIME_THREAD_WAITER_H_

#include <cstddef>
#include <cstdint>

#include "runtime/waiter.h"

namespace fiberscope::internal {

struct ThreadWaiter {
  WaitRecord record;
  Waiter node;
  uint64_t owner_word = 0;  // sync/lock_owner.h
  ThreadWaiter* next_free = nullptr;
};

// The calling thread's. Not for fibers. Ends the process when there is no memory for one.
ThreadWaiter& CurrentThreadWaiter();

// The one that a thread's record is part of.
inline ThreadWaiter& ThreadWaiterOf(WaitRecord& record) {
  return *reinterpret_cast<ThreadWaiter*>(reinterpret_cast<char*>(&record) - offsetof(ThreadWaiter, record));
}

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_THREAD_WAITER_H_
