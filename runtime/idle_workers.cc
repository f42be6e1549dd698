#include "runtime/idle_workers.h"

#include <mutex>

#include "runtime/base/check.h"
#include "runtime/base/fence.h"
#include "runtime/base/futex.h"

namespace fiberscope::internal {

void IdleWorkers::Announce(Sleeper& sleeper) {
  {
    std::lock_guard lock(lock_);
    FIBERSCOPE_DCHECK(!sleeper.listed, "a worker announced itself twice");
    sleeper.listed = true;
    Sleeper** at = &head_;
    if (sleeper.in_reactor) {
      while (*at != nullptr) at = &(*at)->next;  // waking it costs more than a futex: last
    }
    sleeper.next = *at;
    *at = &sleeper;
    idle_count_.store(idle_count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  SeqCstFence();  // W3, pairs with P2 in WakeOne()
}

bool IdleWorkers::Withdraw(Sleeper& sleeper) {
  std::lock_guard lock(lock_);
  if (!sleeper.listed) {
    // Set under this lock by the waker, before it let go.
    FIBERSCOPE_DCHECK(sleeper.woken.load() == 1, "a worker was taken from the list but not woken");
    sleeper.woken.store(0, std::memory_order_relaxed);
    return false;
  }
  Sleeper** at = &head_;
  while (*at != &sleeper) at = &(*at)->next;
  *at = sleeper.next;
  sleeper.listed = false;
  idle_count_.store(idle_count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  return true;
}

void IdleWorkers::SleepOnFutex(Sleeper& sleeper) {
  // Acquire pairs with the release in TakeSleeper.
  while (sleeper.woken.load(std::memory_order_acquire) == 0) FutexWait(sleeper.woken, 0);
  sleeper.woken.store(0, std::memory_order_relaxed);
}

bool IdleWorkers::StartSpinning(uint32_t worker_count) {
  const uint32_t busy = worker_count - idle_count();
  if (2 * spinners_.load(std::memory_order_relaxed) >= busy) return false;
  CountSpinner();
  return true;
}

void IdleWorkers::WakeOne() {
  SeqCstFence();  // P2, pairs with W3 in Announce()
  while (idle_count() != 0) {
    uint32_t none = 0;
    if (!spinners_.compare_exchange_strong(none, 1, std::memory_order_seq_cst, std::memory_order_seq_cst)) return;
    if (TakeAndWake()) return;
    StopSpinning();  // a phantom: see the header
    SeqCstFence();
  }
}

void IdleWorkers::WakeAll() {
  do {
    CountSpinner();
  } while (TakeAndWake());
  StopSpinning();
}

bool IdleWorkers::TakeAndWake() {
  Sleeper* sleeper;
  bool in_reactor;
  {
    std::lock_guard lock(lock_);
    sleeper = head_;
    if (sleeper == nullptr) return false;
    head_ = sleeper->next;
    sleeper->listed = false;
    idle_count_.store(idle_count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    in_reactor = sleeper->in_reactor;
    // Release pairs with the acquire in SleepOnFutex.
    sleeper->woken.store(1, std::memory_order_release);
  }
  // From here on only a hint: the worker may be up already, having seen `woken`, and may even sleep again, here or there;
  // then this is a spurious wake-up, which both the futex and the reactor take.
  if (in_reactor) {
    interrupt_reactor_(argument_);
  } else {
    FutexWake(sleeper->woken, 1);
  }
  return true;
}

}  // namespace fiberscope::internal
