#include "runtime/sync/mutex.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/tick_clock.h"
#include "runtime/contention_events.h"
#include "runtime/sync/wait_status.h"

namespace fiberscope {

using internal::NameOf;

namespace {

// As in Go's sync.Mutex.
constexpr int64_t kStarvingNs = 1'000'000;

int64_t WaitsSince(const internal::Waiter& waiter) { return *static_cast<const int64_t*>(waiter.slot); }


}  // namespace

Mutex::~Mutex() {
  FIBERSCOPE_CHECK((word_.load(std::memory_order_relaxed) & ~kWaiters) == 0, "mutex (%s) destroyed while %s holds it",
                   NameOf(object_), holder().ToString());
  FIBERSCOPE_CHECK(waiters_.empty(), "mutex (%s) destroyed while somebody waits for it", NameOf(object_));
}

// Why no waiter is left behind: while the queue is not empty, kWaiters is set, so whoever holds the mutex comes through UnlockSlow,
// which wakes the first waiter unless one is trying already; that one either takes the mutex, and is the holder, or finds it held,
// sets kWaiters, and waits again, at the front.
//
// True: locked.
bool Mutex::LockSlow(uint64_t self, int64_t deadline_ns) {
  int64_t since_ns = TickNowNs();
  internal::WaitLimits limits{.deadline_ns = deadline_ns, .cancellable = false};
  queue_lock_.lock();
  for (;;) {
    // Under the queue lock the word changes only from free to held and back, and kWaiters only by us.
    uint64_t word = word_.load(std::memory_order_relaxed);
    bool take;
    do {
      FIBERSCOPE_CHECK((word & ~kWaiters) != self, "%s locks mutex (%s) twice", LockOwner(self).ToString(), NameOf(object_));
      take = (word & ~kWaiters) == 0;
    } while (!word_.compare_exchange_weak(word, word | (take ? self : kWaiters), std::memory_order_acquire,
                                          std::memory_order_relaxed));
    if (take) {
      queue_lock_.unlock();
      return true;
    }
    const internal::ParkInfo info{
        .reason = WaitReason::kMutexLock, .object_id = object_.EnsureId(), .owner_id = LockOwner(word).fiber().value};
    const internal::WaitOutcome outcome = internal::WaitIn(waiters_, queue_lock_, info, &since_ns, limits);
    if (outcome == internal::WaitOutcome::kStopped) internal::ThrowStopped();
    if (outcome != internal::WaitOutcome::kDone) return false;
    // Acquire pairs with the release in UnlockSlow(), which has perhaps made us the owner.
    if ((word_.load(std::memory_order_acquire) & ~kWaiters) == self) return true;
    limits.at_front = true;
    queue_lock_.lock();
    waiter_is_trying_ = false;
  }
}

// Queue lock held. How long waiters have waited during this hold of the mutex, all added up; 0 if nobody asks. As Go does since
// 1.21: all who wait are charged, by the mean of the longest and the shortest wait instead of one by one.
int64_t Mutex::ChargeWaiters(int64_t now_ns) {
  if (!internal::IsMutexProfiled() || waiters_.empty()) return 0;
  const int64_t longest_ns = now_ns - std::max(WaitsSince(*waiters_.front()), charged_until_ns_);
  const int64_t shortest_ns = now_ns - std::max(WaitsSince(*waiters_.back()), charged_until_ns_);
  charged_until_ns_ = now_ns;
  return std::max<int64_t>((longest_ns + shortest_ns) / 2, 0) * waiters_.size();
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
  const int64_t now_ns = waiters_.empty() ? 0 : TickNowNs();
  const int64_t charged_ns = ChargeWaiters(now_ns);
  const bool hand_over = !waiters_.empty() && now_ns - WaitsSince(*waiters_.front()) >= kStarvingNs;
  internal::Waiter* const next = hand_over || !waiter_is_trying_ ? waiters_.ClaimFront() : nullptr;
  const uint64_t next_owner = hand_over && next != nullptr ? internal::OwnerWordOf(*next->record) : 0;
  if (next != nullptr && !hand_over) waiter_is_trying_ = true;
  word_.store(next_owner | (waiters_.empty() ? 0 : kWaiters), std::memory_order_release);
  queue_lock_.unlock();
  if (next != nullptr) internal::Wake(*next, internal::WaitOutcome::kDone);
  internal::ChargeUnlock(charged_ns);
}

}  // namespace fiberscope
