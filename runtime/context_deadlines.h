// Watches the deadlines of all contexts of the process, on one thread of its own that the first deadline starts.
//
// Why not the timers of the processors: a context may be made on a plain thread, before there is a scheduler, and outlive it;
// and cancelling a tree runs callbacks of users, which a worker between two fibers must not. A deadline that passes is
// the rare case, so the hand-over to another thread does not matter; setting and removing one is the common case, and touches
// one of several heaps, chosen by thread, and the watching thread only if the deadline is the earliest of all.
//
// Never destroyed: contexts in static objects may outlive everything else.
//
// Thread-safe. Blocks the thread for a few instructions (FutexLock).
#ifndef FIBERSCOPE_RUNTIME_CONTEXT_DEADLINES_H_
#define FIBERSCOPE_RUNTIME_CONTEXT_DEADLINES_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "runtime/timer_node.h"
#include "runtime/timer_queue.h"

namespace fiberscope::internal {

// A deadline inside its context. Taken out by TimerQueue::Remove.
struct ContextDeadline : CallbackTimer {
  // Called without any lock, on the watching thread, if Keep() said so. Must drop what Keep() took.
  using Expire = void (*)(ContextDeadline& self);
  // Under the lock of the timer's queue. False: the context is going away, and nothing is to be done.
  using Keep = bool (*)(ContextDeadline& self);

  ContextDeadline(Keep keep_function, Expire expire_function);

  const Keep keep;
  const Expire expire;
  ContextDeadline* next_expired = nullptr;  // of the watching thread
};

class ContextDeadlines {
 public:
  // Starts the thread. Throws std::system_error if it cannot be made; the next call tries again.
  static ContextDeadlines& Instance();

  void Add(int64_t deadline_ns, ContextDeadline& deadline);

 private:
  friend struct ContextDeadline;
  static constexpr size_t kQueues = 16;
  static constexpr int64_t kAwake = std::numeric_limits<int64_t>::min();

  struct alignas(64) Queue {
    TimerQueue timers;
  };

  ContextDeadlines();
  [[noreturn]] void Watch();
  int64_t Earliest() const;
  void SleepUntil(int64_t deadline_ns);

  std::array<Queue, kQueues> queues_;
  std::atomic<uint32_t> wakes_{0};                // a futex: changes when the thread must look again
  std::atomic<int64_t> sleeping_until_ns_{kAwake};
  ContextDeadline* expired_ = nullptr;            // of the watching thread, which alone pops timers
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_CONTEXT_DEADLINES_H_
