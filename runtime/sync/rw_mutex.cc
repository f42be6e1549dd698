#include "runtime/sync/rw_mutex.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/tick_clock.h"
#include "runtime/contention_events.h"
#include "runtime/sync/wait_status.h"

namespace fiberscope {

using internal::NameOf;

RwMutex::~RwMutex() {
  FIBERSCOPE_CHECK(word_.load(std::memory_order_relaxed) < kReader, "rw-mutex (%s) destroyed while %d read", NameOf(object_),
                   readers());
  FIBERSCOPE_CHECK((word_.load(std::memory_order_relaxed) & kWriter) == 0, "rw-mutex (%s) destroyed while %s writes",
                   NameOf(object_), holder().ToString());
  FIBERSCOPE_CHECK(readers_waiting_.empty() && writers_waiting_.empty(), "rw-mutex (%s) destroyed while somebody waits for it",
                   NameOf(object_));
}

bool RwMutex::TryWrite() {
  uint64_t free = 0;
  // Acquire pairs with the releases of the unlocks.
  if (!word_.compare_exchange_strong(free, kWriter, std::memory_order_acquire, std::memory_order_relaxed)) return false;
  writer_.store(internal::SelfOwnerWord(), std::memory_order_relaxed);
  return true;
}

bool RwMutex::TryRead() {
  uint64_t word = word_.load(std::memory_order_relaxed);
  while ((word & (kWriter | kWaiters)) == 0) {
    if (word_.compare_exchange_weak(word, word + kReader, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  }
  return false;
}

bool RwMutex::TakeOrAnnounce(uint64_t obstacles, uint64_t take) {
  uint64_t word = word_.load(std::memory_order_relaxed);
  for (;;) {
    const bool free = (word & obstacles) == 0;
    const uint64_t wanted = free ? word + take : word | kWaiters;
    if (word_.compare_exchange_weak(word, wanted, std::memory_order_acquire, std::memory_order_relaxed)) return free;
  }
}

bool RwMutex::LockSlow(int64_t deadline_ns) {
  const uint64_t self = internal::SelfOwnerWord();
  queue_lock_.lock();
  if (TakeOrAnnounce(~uint64_t{0}, kWriter)) {
    writer_.store(self, std::memory_order_relaxed);
    queue_lock_.unlock();
    return true;
  }
  FIBERSCOPE_CHECK(holder().word() != self, "%s locks rw-mutex (%s) twice", LockOwner(self).ToString(), NameOf(object_));
  return Wait(writers_waiting_, WaitReason::kRwMutexWrite, deadline_ns);
}

bool RwMutex::LockSharedSlow(int64_t deadline_ns) {
  const uint64_t self = internal::SelfOwnerWord();
  queue_lock_.lock();
  if (TakeOrAnnounce(kWriter | kWaiters, kReader)) {
    queue_lock_.unlock();
    return true;
  }
  FIBERSCOPE_CHECK(holder().word() != self, "%s locks rw-mutex (%s) for reading while it writes", LockOwner(self).ToString(),
                   NameOf(object_));
  return Wait(readers_waiting_, WaitReason::kRwMutexRead, deadline_ns);
}

bool RwMutex::Wait(internal::WaitQueue& queue, WaitReason reason, int64_t deadline_ns) {
  const internal::ParkInfo info{.reason = reason, .object_id = object_.EnsureId(), .owner_id = holder().fiber().value};
  int64_t since_ns = internal::IsMutexProfiled() ? TickNowNs() : 0;
  const internal::WaitOutcome outcome =
      internal::WaitIn(queue, queue_lock_, info, &since_ns, {.deadline_ns = deadline_ns, .cancellable = false});
  if (outcome == internal::WaitOutcome::kDone) return true;  // an unlock let us in
  // A writer that gives up may have been all that kept readers out.
  internal::WakeList admitted;
  queue_lock_.lock();
  if ((word_.load(std::memory_order_relaxed) & kWaiters) != 0) Admit(/*after_writer=*/false, admitted);
  queue_lock_.unlock();
  internal::WakeAll(admitted, internal::WaitOutcome::kDone);
  if (outcome == internal::WaitOutcome::kStopped) internal::ThrowStopped();
  return false;
}

void RwMutex::unlock() {
  const uint64_t self = internal::SelfOwnerWord();
  if (holder().word() != self) {
    // A destructor's lock() may have given up without the mutex; nothing runs in parallel any more.
    if (internal::IsUnwinding()) return;
    FIBERSCOPE_CHECK(false, "%s unlocks rw-mutex (%s), which %s holds", LockOwner(self).ToString(), NameOf(object_),
                     holder().ToString());
  }
  writer_.store(0, std::memory_order_relaxed);
  uint64_t mine = kWriter;
  if (word_.compare_exchange_strong(mine, 0, std::memory_order_release, std::memory_order_relaxed)) return;
  internal::WakeList admitted;
  queue_lock_.lock();
  word_.fetch_sub(kWriter, std::memory_order_release);
  const int64_t waited_ns = Admit(/*after_writer=*/true, admitted);
  queue_lock_.unlock();
  WakeAdmitted(admitted, waited_ns);
}

void RwMutex::unlock_shared() {
  uint64_t word = word_.load(std::memory_order_relaxed);
  while ((word & kWaiters) == 0 && word >= kReader) {
    if (word_.compare_exchange_weak(word, word - kReader, std::memory_order_release, std::memory_order_relaxed)) return;
  }
  internal::WakeList admitted;
  queue_lock_.lock();
  word = word_.load(std::memory_order_relaxed);
  if (word < kReader) {
    queue_lock_.unlock();
    if (internal::IsUnwinding()) return;
    FIBERSCOPE_CHECK(false, "rw-mutex (%s) is unlocked for reading, but nobody reads", NameOf(object_));
  }
  // kWaiters may have gone meanwhile, and then the word changes by others too.
  word = word_.fetch_sub(kReader, std::memory_order_release) - kReader;
  const int64_t waited_ns = (word & kWaiters) != 0 ? Admit(/*after_writer=*/false, admitted) : 0;
  queue_lock_.unlock();
  WakeAdmitted(admitted, waited_ns);
}

void RwMutex::WakeAdmitted(internal::WakeList& admitted, int64_t waited_ns) {
  internal::WakeAll(admitted, internal::WaitOutcome::kDone);
  internal::ChargeUnlock(waited_ns);
}

int64_t RwMutex::Admit(bool after_writer, internal::WakeList& admitted) {
  uint64_t word = word_.load(std::memory_order_relaxed);
  if ((word & kWriter) != 0) return 0;
  const int64_t now_ns = internal::IsMutexProfiled() ? TickNowNs() : 0;
  int64_t waited_ns = 0;
  const auto admit = [&](internal::Waiter& waiter) {
    admitted.PushBack(waiter);
    const int64_t since_ns = *static_cast<const int64_t*>(waiter.slot);
    if (now_ns != 0 && since_ns != 0) waited_ns += std::max<int64_t>(now_ns - since_ns, 0);
  };
  const auto admit_readers = [&] {
    while (internal::Waiter* const reader = readers_waiting_.ClaimFront()) {
      word += kReader;
      admit(*reader);
    }
  };
  if (after_writer) admit_readers();
  if (word < kReader) {
    if (internal::Waiter* const writer = writers_waiting_.ClaimFront()) {
      word |= kWriter;
      writer_.store(internal::OwnerWordOf(*writer->record), std::memory_order_relaxed);
      admit(*writer);
    }
  }
  // Nodes of writers that have given up may still be queued; the last of those to leave comes here again.
  if ((word & kWriter) == 0 && writers_waiting_.empty()) admit_readers();
  if (readers_waiting_.empty() && writers_waiting_.empty()) word &= ~kWaiters;
  // Release, for those who read the word without the queue lock: what earlier holders did was released into it before.
  word_.store(word, std::memory_order_release);
  return waited_ns;
}

}  // namespace fiberscope
