#include "runtime/sync/mutex.h"

#include "runtime/base/check.h"
#include "runtime/sync/wait_status.h"

namespace fiberscope {

using internal::NameOf;

Mutex::~Mutex() {
  FIBERSCOPE_CHECK((word_.load(std::memory_order_relaxed) & ~kWaiters) == 0, "mutex (%s) destroyed while %s holds it",
                   NameOf(object_), holder().ToString());
  FIBERSCOPE_CHECK(waiters_.empty(), "mutex (%s) destroyed while somebody waits for it", NameOf(object_));
}

// True: locked.
bool Mutex::LockSlow(uint64_t self, int64_t deadline_ns) {
  queue_lock_.lock();
  // Under the queue lock the word changes only from free to held and back, and kWaiters only by us.
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    FIBERSCOPE_CHECK((word & ~kWaiters) != self, "%s locks mutex (%s) twice", LockOwner(self).ToString(), NameOf(object_));
    const uint64_t wanted = word == 0 ? self : word | kWaiters;
    if (word_.compare_exchange_weak(word, wanted, std::memory_order_acquire, std::memory_order_relaxed)) {
      if (word == 0) {
        queue_lock_.unlock();
        return true;
      }
      break;
    }
  }
  const internal::ParkInfo info{
      .reason = WaitReason::kMutexLock, .object_id = object_.EnsureId(), .owner_id = LockOwner(word).fiber().value};
  const internal::WaitOutcome outcome = internal::WaitIn(waiters_, queue_lock_, info, nullptr,
                                                         {.deadline_ns = deadline_ns, .cancellable = false});
  if (outcome == internal::WaitOutcome::kStopped) internal::ThrowStopped();
  return outcome == internal::WaitOutcome::kDone;  // unlock() made us the owner
}

void Mutex::UnlockSlow(uint64_t self) {
  queue_lock_.lock();
  if (holder().word() != self) {
    queue_lock_.unlock();
    // A destructor's lock() may have given up without the mutex; nothing runs in parallel any more.
    if (internal::IsUnwinding()) return;
    FIBERSCOPE_CHECK(false, "%s unlocks mutex (%s), which %s holds", LockOwner(self).ToString(), NameOf(object_),
                     holder().ToString());
  }
  internal::Waiter* const next = waiters_.ClaimFront();
  const uint64_t next_owner = next == nullptr ? 0 : internal::OwnerWordOf(*next->record);
  word_.store(next_owner | (waiters_.empty() ? 0 : kWaiters), std::memory_order_release);
  queue_lock_.unlock();
  if (next != nullptr) internal::Wake(*next, internal::WaitOutcome::kDone);
}

}  // namespace fiberscope
