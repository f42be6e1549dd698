// Something that happens once, and those who wait for it: the core of Suspend, of futures and of I/O operations.
//
// Whoever wants to make it happen claims it; one does. The winner writes the result, which belongs to whoever embeds this, and
// publishes it. A waiter that no longer wants the result may claim it as well: then nobody will write one.
//
// The memory of a OneShot is shared by completer and waiter and counted by `references`, since either may leave first: a
// scheduler that stops unwinds the waiter, and a callback may come after the waiter's deadline.
//
// Thread-safe. Cost: one allocation by the owner, a lock round trip to publish and to wait.
#ifndef FIBERSCOPE_RUNTIME_ONE_SHOT_H_
#define FIBERSCOPE_RUNTIME_ONE_SHOT_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "runtime/base/futex_lock.h"
#include "runtime/park.h"
#include "runtime/waiter.h"

namespace fiberscope::internal {

class OneShot {
 public:
  OneShot() = default;
  OneShot(const OneShot&) = delete;
  OneShot& operator=(const OneShot&) = delete;
  virtual ~OneShot();  // CHECKs that nobody waits

  // True for one caller, who must Publish().
  bool Claim() { return !claimed_.load(std::memory_order_relaxed) && !claimed_.exchange(true, std::memory_order_acq_rel); }
  // For hints; a claim may come right after false.
  bool claimed() const { return claimed_.load(std::memory_order_relaxed); }
  // Wakes all who wait, in order of arrival.
  void Publish();
  // What the winner wrote before is visible after true.
  bool published() const { return published_.load(std::memory_order_acquire); }

  // Until it is published: kDone, at once if it was. Any number of fibers and plain threads, each as often as they like. Parks the
  // fiber or blocks the thread.
  WaitOutcome Wait(const ParkInfo& info, const WaitLimits& limits = {});

  // The same after kStopped, of a fiber that cannot leave without the result (wait_through_stop.h). Fiber-only.
  void WaitThroughStop(const ParkInfo& info);

 private:
  template <typename T>
  friend class OneShotRef;

  std::atomic<uint32_t> references_{0};
  std::atomic<bool> claimed_{false};
  std::atomic<bool> published_{false};  // written under lock_
  FutexLock lock_;
  WaitQueue waiters_;  // GUARDED_BY(lock_)
};

// One reference to a T, which is a OneShot. Thread-compatible.
template <typename T>
class OneShotRef {
 public:
  OneShotRef() = default;
  explicit OneShotRef(T* shared) : shared_(shared) { Share(); }
  OneShotRef(const OneShotRef& other) : shared_(other.shared_) { Share(); }
  OneShotRef(OneShotRef&& other) noexcept : shared_(std::exchange(other.shared_, nullptr)) {}
  OneShotRef& operator=(OneShotRef other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
  }
  ~OneShotRef() {
    // acq_rel: the last owner must see every other owner's use of the object before it destroys it.
    if (shared_ != nullptr && shared_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete shared_;
  }

  T* operator->() const { return shared_; }
  T& operator*() const { return *shared_; }
  T* get() const { return shared_; }
  explicit operator bool() const { return shared_ != nullptr; }

 private:
  void Share() {
    if (shared_ != nullptr) shared_->references_.fetch_add(1, std::memory_order_relaxed);
  }

  T* shared_ = nullptr;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_ONE_SHOT_H_
