#include "runtime/context_deadlines.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/base/fence.h"
#include "runtime/base/futex.h"

namespace fiberscope::internal {

ContextDeadline::ContextDeadline(Keep keep_function, Expire expire_function)
    : CallbackTimer([](CallbackTimer& timer, int64_t, int64_t) {
        auto& self = static_cast<ContextDeadline&>(timer);
        if (self.keep(self)) {
          ContextDeadline*& expired = ContextDeadlines::Instance().expired_;
          self.next_expired = expired;
          expired = &self;
        }
        return TimerQueue::kNever;
      }),
      keep(keep_function),
      expire(expire_function) {}

ContextDeadlines& ContextDeadlines::Instance() {
  static ContextDeadlines* const instance = new ContextDeadlines;
  return *instance;
}

ContextDeadlines::ContextDeadlines() {
  std::thread thread([this] { Watch(); });
  pthread_setname_np(thread.native_handle(), "ctx-deadlines");
  thread.detach();
}

void ContextDeadlines::Add(int64_t deadline_ns, ContextDeadline& deadline) {
  // By CPU rather than by thread: a fiber has no thread of its own, and a wrong answer costs nothing but a cache miss.
  const int cpu = sched_getcpu();
  queues_[static_cast<size_t>(cpu < 0 ? 0 : cpu) % kQueues].timers.Add(deadline_ns, deadline);
  SeqCstFence();  // pairs with the one in SleepUntil(): it sees our timer, or we see until when it sleeps
  if (deadline_ns < sleeping_until_ns_.load(std::memory_order_relaxed)) {
    wakes_.fetch_add(1, std::memory_order_relaxed);
    FutexWake(wakes_, 1);
  }
}

void ContextDeadlines::Watch() {
  for (;;) {
    const int64_t now_ns = MonotonicNowNs();
    for (Queue& queue : queues_) queue.timers.PopExpired(now_ns);
    for (ContextDeadline* at = std::exchange(expired_, nullptr); at != nullptr;) {
      ContextDeadline& deadline = *std::exchange(at, at->next_expired);
      deadline.expire(deadline);
    }
    SleepUntil(Earliest());
  }
}

int64_t ContextDeadlines::Earliest() const {
  int64_t earliest_ns = TimerQueue::kNever;
  for (const Queue& queue : queues_) earliest_ns = std::min(earliest_ns, queue.timers.next_deadline_ns());
  return earliest_ns;
}

void ContextDeadlines::SleepUntil(int64_t deadline_ns) {
  const uint32_t wakes = wakes_.load(std::memory_order_relaxed);
  sleeping_until_ns_.store(deadline_ns, std::memory_order_relaxed);
  SeqCstFence();  // pairs with the one in Add()
  const int64_t left_ns = deadline_ns - MonotonicNowNs();
  if (Earliest() >= deadline_ns && left_ns > 0) {
    if (deadline_ns == TimerQueue::kNever) {
      FutexWait(wakes_, wakes);
    } else {
      FutexWaitFor(wakes_, wakes, std::chrono::nanoseconds(left_ns));
    }
  }
  sleeping_until_ns_.store(kAwake, std::memory_order_relaxed);
}

}  // namespace fiberscope::internal
