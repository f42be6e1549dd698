#include "runtime/idle_workers.h"

#include <mutex>

#include "runtime/base/check.h"
#include "runtime/base/fence.h"
#include "runtime/base/futex.h"

namespace fiberscope::internal {

// ---- One worker's sleep

IdleNode* Sleeper::SleepOnFutex() {
  for (;;) {
    // Acquire pairs with the release in Grant() and GrantOne().
    const uint32_t now = woken.load(std::memory_order_acquire);
    if ((now & kGranted) != 0) {
      woken.fetch_and(~kGranted, std::memory_order_relaxed);
      return granted;
    }
    if (now != 0) return nullptr;
    FutexWait(woken, 0);
  }
}

void Sleeper::Grant(IdleNode& processor) {
  granted = &processor;
  woken.fetch_or(kGranted, std::memory_order_release);
  FutexWake(woken, 1);
}

void Sleeper::End() {
  woken.fetch_or(kEnd, std::memory_order_release);
  FutexWake(woken, 1);
}

// ---- The lists

void IdleWorkers::List(Sleeper& sleeper) {
  FIBERSCOPE_DCHECK(!sleeper.listed, "a worker announced itself twice");
  sleeper.listed = true;
  Sleeper** at = &workers_;
  if (sleeper.in_reactor) {
    while (*at != nullptr) at = &(*at)->next;  // waking it costs more than a futex: last
  }
  sleeper.next = *at;
  *at = &sleeper;
  idle_worker_count_.store(idle_worker_count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  Increment(sleeper.in_reactor ? counts_.reactor_sleeps : counts_.futex_sleeps);
}

void IdleWorkers::PushProcessor(IdleNode& processor) {
  processor.next_idle = processors_;
  processors_ = &processor;
  idle_processors_.store(idle_processors_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

IdleNode* IdleWorkers::PopProcessor(bool& wake_monitor) {
  IdleNode* const processor = processors_;
  if (processor == nullptr) return nullptr;
  processors_ = processor->next_idle;
  idle_processors_.store(idle_processors_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  wake_monitor = monitor_waits_;
  monitor_waits_ = false;
  return processor;
}

void IdleWorkers::Announce(Sleeper& sleeper, IdleNode& processor) {
  {
    std::lock_guard lock(lock_);
    PushProcessor(processor);
    List(sleeper);
  }
  SeqCstFence();  // W3, pairs with P2 in WakeOne()
}

IdleWorkers::Withdrawal IdleWorkers::Withdraw(Sleeper& sleeper) {
  Withdrawal result;
  bool wake_monitor = false;
  {
    std::lock_guard lock(lock_);
    if (!sleeper.listed) {
      // Set under this lock by the waker, before it let go.
      FIBERSCOPE_DCHECK((sleeper.woken.load() & Sleeper::kGranted) != 0, "a worker was taken from the list, not woken");
      sleeper.woken.fetch_and(~Sleeper::kGranted, std::memory_order_relaxed);
      return {sleeper.granted, true};
    }
    Sleeper** at = &workers_;
    while (*at != &sleeper) at = &(*at)->next;
    *at = sleeper.next;
    sleeper.listed = false;
    idle_worker_count_.store(idle_worker_count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    result.processor = PopProcessor(wake_monitor);
  }
  if (wake_monitor) hooks_.wake_monitor(hooks_.argument);
  return result;
}

IdleNode* IdleWorkers::TakeOrAnnounce(Sleeper& sleeper) {
  bool wake_monitor = false;
  IdleNode* processor;
  {
    std::lock_guard lock(lock_);
    processor = PopProcessor(wake_monitor);
    if (processor == nullptr) List(sleeper);
  }
  if (wake_monitor) hooks_.wake_monitor(hooks_.argument);
  return processor;
}

IdleNode* IdleWorkers::TakeProcessor() {
  if (idle_processors() == 0) return nullptr;
  bool wake_monitor = false;
  IdleNode* processor;
  {
    std::lock_guard lock(lock_);
    processor = PopProcessor(wake_monitor);
  }
  if (wake_monitor) hooks_.wake_monitor(hooks_.argument);
  return processor;
}

void IdleWorkers::AddProcessor(IdleNode& processor) {
  {
    std::lock_guard lock(lock_);
    PushProcessor(processor);
  }
  SeqCstFence();  // as W3: what the caller reads next, or P3 of a producer, sees the other
}

bool IdleWorkers::WatchForWork(uint32_t processor_count) {
  std::lock_guard lock(lock_);
  monitor_waits_ = idle_processors() >= processor_count;
  return monitor_waits_;
}

// ---- Spinning and waking

bool IdleWorkers::StartSpinning(uint32_t processor_count) {
  const uint32_t busy = processor_count - idle_processors();
  if (2 * spinners_.load(std::memory_order_relaxed) >= busy) return false;
  CountSpinner();
  return true;
}

void IdleWorkers::WakeOne() {
  SeqCstFence();  // P2, pairs with W3 in Announce()
  while (idle_processors() != 0) {
    uint32_t none = 0;
    if (!spinners_.compare_exchange_strong(none, 1, std::memory_order_seq_cst, std::memory_order_seq_cst)) return;
    const Grant grant = GrantOne();
    if (grant == Grant::kGiven) return;
    StopSpinning();  // a phantom: see the header
    SeqCstFence();
    if (grant == Grant::kNoWorker && !has_idle_worker()) {
      if (starting_.load(std::memory_order_seq_cst) == 0) hooks_.make_worker(hooks_.argument);
      return;
    }
  }
}

IdleWorkers::Grant IdleWorkers::GrantOne() {
  Sleeper* sleeper;
  bool in_reactor;
  bool wake_monitor = false;
  {
    std::lock_guard lock(lock_);
    if (processors_ == nullptr) return Grant::kNoProcessor;
    sleeper = workers_;
    if (sleeper == nullptr) return Grant::kNoWorker;
    workers_ = sleeper->next;
    sleeper->listed = false;
    idle_worker_count_.store(idle_worker_count_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    in_reactor = sleeper->in_reactor;
    Increment(in_reactor ? counts_.reactor_wakes : counts_.futex_wakes);
    sleeper->granted = PopProcessor(wake_monitor);
    // Release pairs with the acquire in SleepOnFutex.
    sleeper->woken.fetch_or(Sleeper::kGranted, std::memory_order_release);
  }
  // From here on only a hint: the worker may be up already, having seen `woken`, and may even sleep again, here or there;
  // then this is a spurious wake-up, which both the futex and the reactor take.
  if (in_reactor) {
    hooks_.interrupt_reactor(hooks_.argument);
  } else {
    FutexWake(sleeper->woken, 1);
  }
  if (wake_monitor) hooks_.wake_monitor(hooks_.argument);
  return Grant::kGiven;
}

}  // namespace fiberscope::internal
