#include "runtime/sync/semaphore.h"

#include "runtime/base/check.h"
#include "runtime/sync/wait_status.h"

namespace fiberscope {

using internal::NameOf;
using internal::WaitOutcome;

Semaphore::Semaphore(uint64_t permits, const char* name, uintptr_t creation_pc)
    : word_(permits * kPermit), object_(WaitObjectKind::kSemaphore, name, creation_pc) {
  FIBERSCOPE_CHECK(permits <= kMaxPermits, "a semaphore (%s) of %d permits", NameOf(object_), permits);
}

Semaphore::~Semaphore() {
  // The last Release may still be between its unlock and its return; taking the lock lets it leave.
  lock_.lock();
  FIBERSCOPE_CHECK(waiters_.empty(), "semaphore (%s) destroyed while somebody waits for it", NameOf(object_));
  lock_.unlock();
}

absl::Status Semaphore::AcquireUntil(uint64_t count, Deadline deadline) {
  if (TryAcquire(count)) return absl::OkStatus();
  return internal::WaitStatus(AcquireSlow(count, {.deadline_ns = internal::DeadlineNs(deadline)}), "acquire of semaphore",
                              object_);
}

WaitOutcome Semaphore::AcquireSlow(uint64_t count, const internal::WaitLimits& limits) {
  FIBERSCOPE_CHECK(count <= kMaxPermits, "%d permits of semaphore (%s) can never be there", count, NameOf(object_));
  lock_.lock();
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const bool enough = (word & kWaiters) == 0 && word / kPermit >= count;
    const uint64_t wanted = enough ? word - count * kPermit : word | kWaiters;
    if (!word_.compare_exchange_weak(word, wanted, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    if (!enough) break;
    lock_.unlock();
    return WaitOutcome::kDone;
  }
  const internal::ParkInfo info{.reason = WaitReason::kSemaphore, .object_id = object_.EnsureId()};
  const WaitOutcome outcome = internal::WaitIn(waiters_, lock_, info, reinterpret_cast<void*>(count), limits);
  if (outcome == WaitOutcome::kDone) return outcome;
  // Those behind may want less than we did.
  internal::WakeList granted;
  lock_.lock();
  if ((word_.load(std::memory_order_relaxed) & kWaiters) != 0) Grant(granted);
  lock_.unlock();
  internal::WakeAll(granted, WaitOutcome::kDone);
  return outcome;
}

void Semaphore::Release(uint64_t count) {
  uint64_t word = word_.load(std::memory_order_relaxed);
  FIBERSCOPE_CHECK(count <= kMaxPermits - word / kPermit, "release of %d permits of semaphore (%s), which has %d", count,
                   NameOf(object_), word / kPermit);
  while ((word & kWaiters) == 0) {
    if (word_.compare_exchange_weak(word, word + count * kPermit, std::memory_order_release, std::memory_order_relaxed)) {
      return;
    }
  }
  internal::WakeList granted;
  lock_.lock();
  // Somebody waited a moment ago; if not any more, this is an addition like any other.
  word = word_.fetch_add(count * kPermit, std::memory_order_release) + count * kPermit;
  if ((word & kWaiters) != 0) Grant(granted);
  lock_.unlock();
  internal::WakeAll(granted, WaitOutcome::kDone);
}

void Semaphore::Grant(internal::WakeList& granted) {
  uint64_t word = word_.load(std::memory_order_relaxed);
  while (internal::Waiter* const first = waiters_.front()) {
    const uint64_t wanted = reinterpret_cast<uint64_t>(first->slot);
    if (word / kPermit < wanted) break;
    if (!waiters_.Claim(*first)) continue;
    word -= wanted * kPermit;
    granted.PushBack(*first);
  }
  if (waiters_.empty()) word &= ~kWaiters;
  word_.store(word, std::memory_order_release);
}

}  // namespace fiberscope
