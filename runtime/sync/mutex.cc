#include "runtime/sync/mutex.h"

#include "runtime/base/check.h"

namespace fiberscope {
namespace {

uint64_t SelfId() {
  const internal::ControlBlock* const self = internal::CurrentFiber();
  FIBERSCOPE_CHECK(self != nullptr, "a Mutex can be used on fibers only");
  return self->fiber_id().value;
}

}  // namespace

Mutex::~Mutex() {
  FIBERSCOPE_CHECK(word_.load(std::memory_order_relaxed) == 0, "mutex (%s) destroyed while fiber %d holds it",
                   object_.name() != nullptr ? object_.name() : "unnamed", owner().value);
}

void Mutex::lock() {
  const uint64_t self = SelfId();
  uint64_t free = 0;
  // Acquire pairs with the release in unlock().
  if (!word_.compare_exchange_strong(free, self << 1, std::memory_order_acquire, std::memory_order_relaxed)) {
    LockSlow(self);
  }
}

bool Mutex::try_lock() {
  const uint64_t self = SelfId();
  uint64_t free = 0;
  return word_.compare_exchange_strong(free, self << 1, std::memory_order_acquire, std::memory_order_relaxed);
}

void Mutex::unlock() {
  const uint64_t self = SelfId();
  uint64_t mine = self << 1;
  if (!word_.compare_exchange_strong(mine, 0, std::memory_order_release, std::memory_order_relaxed)) UnlockSlow(self);
}

void Mutex::LockSlow(uint64_t self) {
  queue_lock_.lock();
  // Under the queue lock the word changes only from free to held and back, and kWaiters only by us.
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    FIBERSCOPE_CHECK(word >> 1 != self, "fiber %d locks mutex (%s) twice", self,
                     object_.name() != nullptr ? object_.name() : "unnamed");
    const uint64_t wanted = word == 0 ? self << 1 : word | kWaiters;
    if (word_.compare_exchange_weak(word, wanted, std::memory_order_acquire, std::memory_order_relaxed)) {
      if (word == 0) {
        queue_lock_.unlock();
        return;
      }
      break;
    }
  }
  const internal::ParkInfo info{
      .reason = WaitReason::kMutexLock, .object_id = object_.EnsureId(), .owner_id = word >> 1};
  const internal::WaitOutcome outcome = internal::WaitIn(waiters_, queue_lock_, info, nullptr, {.cancellable = false});
  // kDone: unlock() made us the owner.
  if (outcome == internal::WaitOutcome::kStopped) internal::ThrowStopped();
}

void Mutex::UnlockSlow(uint64_t self) {
  queue_lock_.lock();
  FIBERSCOPE_CHECK(owner().value == self, "fiber %d unlocks mutex (%s), which fiber %d holds", self,
                   object_.name() != nullptr ? object_.name() : "unnamed", owner().value);
  internal::Waiter* const next = waiters_.ClaimFront();
  const uint64_t next_owner = next == nullptr ? 0 : internal::FiberOf(*next->record).fiber_id().value << 1;
  word_.store(next_owner | (waiters_.empty() ? 0 : kWaiters), std::memory_order_release);
  queue_lock_.unlock();
  if (next != nullptr) internal::Wake(*next, internal::WaitOutcome::kDone);
}

}  // namespace fiberscope
