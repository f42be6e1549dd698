// Does something once, however many ask for it at the same time; all of them return after it has been done.
//
//   static Once once;
//   once.Do([] { table = MakeTable(); });
//
// If the function throws, nothing was done: the exception leaves this Do, and the next one tries again, as with
// std::call_once.
//
// Thread-safe; for fibers and plain threads. Those who come while the function runs wait as for a Mutex
// (WaitReason::kMutexLock), whose owner in dumps is the one that runs it. Do within the function itself is a CHECK
// failure. Cost: one load once it is done.
#ifndef FIBERSCOPE_RUNTIME_SYNC_ONCE_H_
#define FIBERSCOPE_RUNTIME_SYNC_ONCE_H_

#include <atomic>
#include <mutex>
#include <utility>

#include "runtime/sync/mutex.h"

namespace fiberscope {

class Once {
 public:
  // `name` must outlive the object; it appears in dumps.
  explicit Once(const char* name = nullptr) : mutex_(name) {}
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  template <typename F>
  void Do(F&& function) {
    // Acquire pairs with the release below: what the function did is visible.
    if (done_.load(std::memory_order_acquire)) return;
    std::lock_guard lock(mutex_);
    if (done_.load(std::memory_order_relaxed)) return;
    std::forward<F>(function)();
    done_.store(true, std::memory_order_release);
  }

  bool done() const { return done_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> done_{false};
  Mutex mutex_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_ONCE_H_
