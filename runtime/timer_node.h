// What a timer queue keeps about one timer inside the timer's owner: where it is, so that it can be taken out.
//
// Thread-compatible: see the members.
#ifndef FIBERSCOPE_RUNTIME_TIMER_NODE_H_
#define FIBERSCOPE_RUNTIME_TIMER_NODE_H_

#include <cstdint>

namespace fiberscope::internal {

class TimerQueue;

struct TimerNode {
  static constexpr uint32_t kNotQueued = UINT32_MAX;

  enum class Kind : uint8_t {
    kWait,      // the timer of a WaitRecord: its deadline ends the wait
    kCallback,  // a CallbackTimer
  };

  TimerQueue* queue = nullptr;     // where it was added last; null once that queue has gone
  uint32_t handle = kNotQueued;    // GUARDED_BY(the queue's lock): the queue's name for it
  Kind kind = Kind::kWait;         // for ever
};

// A timer that calls a function, under the lock of its queue and on whatever worker looks after the queue.
struct CallbackTimer : TimerNode {
  // Must be short, must not touch timer queues, allocate or throw. Returns the next deadline, later than
  // `now_ns`, or TimerQueue::kNever.
  using Fire = int64_t (*)(CallbackTimer& self, int64_t deadline_ns, int64_t now_ns);

  explicit CallbackTimer(Fire function) : fire(function) { kind = Kind::kCallback; }

  const Fire fire;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TIMER_NODE_H_
