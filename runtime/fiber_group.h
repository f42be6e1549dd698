// Counts the fibers that belong to an object on somebody's stack, such as a scope or a pool, and waits for their end.
//
// Unlike other waits this one cannot be given up: the fibers use what their owner's frame holds, so the frame must stay, whatever
// happens. When the scheduler stops, the owner's fiber is told to unwind like all others; it parks again until its fibers have
// unwound.
//
// Thread-safe. Must outlive every Done.
#ifndef FIBERSCOPE_RUNTIME_FIBER_GROUP_H_
#define FIBERSCOPE_RUNTIME_FIBER_GROUP_H_

#include <cstddef>

#include "runtime/base/futex_lock.h"
#include "runtime/waiter.h"

namespace fiberscope::internal {

class FiberGroup {
 public:
  FiberGroup() = default;
  ~FiberGroup();  // CHECKs that it counts zero
  FiberGroup(const FiberGroup&) = delete;
  FiberGroup& operator=(const FiberGroup&) = delete;

  void Add();
  // When the last one is done the group may be gone.
  void Done();

  // Until the count is zero. False: the scheduler has stopped meanwhile, and the caller must ThrowStopped(). Parks the fiber
  // (WaitReason::kWaitGroup) or blocks the thread.
  [[nodiscard]] bool Wait();

  size_t count() const;

 private:
  mutable FutexLock lock_;
  size_t count_ = 0;    // GUARDED_BY(lock_)
  WaitQueue waiters_;   // GUARDED_BY(lock_)
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_FIBER_GROUP_H_
