// Waits until a number of things have happened: typically, until all fibers of a batch are done.
//
//   WaitGroup group;
//   for (...) { group.Add(1); Spawn([&] { ...; group.Done(); }); }
//   group.Wait();
//
// Thread-safe; plain threads may use it too and then block in Wait. Add with a positive number must happen before the Wait it is
// meant for; a counter below zero is a CHECK failure. May be used again once all waiters have returned. Must outlive every use;
// the destructor CHECKs that nobody waits.
// Cost: one futex-lock round trip per call.
#ifndef FIBERSCOPE_RUNTIME_SYNC_WAIT_GROUP_H_
#define FIBERSCOPE_RUNTIME_SYNC_WAIT_GROUP_H_

#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "runtime/base/futex_lock.h"
#include "runtime/deadline.h"
#include "runtime/park.h"
#include "runtime/wait_object.h"

namespace fiberscope {

class WaitGroup {
 public:
  __attribute__((always_inline)) explicit WaitGroup(const char* name = nullptr) : WaitGroup(name, CurrentPc()) {}
  ~WaitGroup();
  WaitGroup(const WaitGroup&) = delete;
  WaitGroup& operator=(const WaitGroup&) = delete;

  void Add(int64_t count);
  void Done() { Add(-1); }

  // Until the counter is zero; at once if it is. What happened before the Done calls is visible afterwards. Parks the fiber
  // (WaitReason::kWaitGroup) or blocks the thread.
  void Wait();
  // The same with a deadline: kDeadlineExceeded, or kCancelled.
  [[nodiscard]] absl::Status WaitUntil(Deadline deadline);
  [[nodiscard]] absl::Status WaitFor(std::chrono::nanoseconds timeout) { return WaitUntil(DeadlineAfter(timeout)); }

  int64_t count() const;
  const WaitObject& wait_object() const { return object_; }

 private:
  internal::WaitOutcome WaitWith(const internal::WaitLimits& limits);

  WaitGroup(const char* name, uintptr_t creation_pc) : object_(WaitObjectKind::kWaitGroup, name, creation_pc) {}

  mutable FutexLock lock_;
  int64_t count_ = 0;            // GUARDED_BY(lock_)
  internal::WaitQueue waiters_;  // GUARDED_BY(lock_)
  WaitObject object_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_WAIT_GROUP_H_
