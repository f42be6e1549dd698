// Points in time that arrive on a channel, for use in a select: Go's time.Timer and time.Ticker.
//
//   Timer timeout(std::chrono::seconds(1));
//   std::optional<Deadline> now;
//   switch (Select(ReceiveCase(&replies, reply), ReceiveCase(&timeout.channel(), now))) ...
//
// To bound one wait, its own XUntil or XFor is simpler and cheaper; to just wait, this_fiber::SleepFor.
//
// The channel has room for one. It is never closed. After Stop() or Reset() it holds nothing from before, as with Go
// since 1.23.
//
// Fiber-only to make and Reset; the other calls from anywhere, one at a time (Thread-compatible), while the channel may
// be received from by anybody. When the scheduler stops, it fires no more. Never blocks, but for receiving from the
// channel. Cost: one entry in the timer queue of a processor.
#ifndef FIBERSCOPE_RUNTIME_SYNC_TIMER_H_
#define FIBERSCOPE_RUNTIME_SYNC_TIMER_H_

#include <chrono>
#include <cstdint>

#include "runtime/deadline.h"
#include "runtime/sync/channel.h"
#include "runtime/timer_node.h"

namespace fiberscope {

namespace internal {

// What both are: a timer that sends the time on a channel.
class ChannelTimer {
 public:
  ChannelTimer(const ChannelTimer&) = delete;
  ChannelTimer& operator=(const ChannelTimer&) = delete;

  Channel<Deadline>& channel() { return channel_; }

  // No more will arrive, and what had arrived and was not received is dropped. False: it had fired or been stopped
  // before (a ticker: been stopped).
  bool Stop();

 protected:
  explicit ChannelTimer(const char* name) : node_(*this), channel_(1, name) {}
  ~ChannelTimer() { Stop(); }

  // `period_ns` 0: once.
  void Start(int64_t deadline_ns, int64_t period_ns);

 private:
  struct Node : CallbackTimer {
    explicit Node(ChannelTimer& owner) : CallbackTimer(&ChannelTimer::Fire), timer(owner) {}
    ChannelTimer& timer;
  };

  static int64_t Fire(CallbackTimer& node, int64_t deadline_ns, int64_t now_ns);

  Node node_;
  int64_t period_ns_ = 0;  // unchanged while the node is queued
  Channel<Deadline> channel_;
};

}  // namespace internal

// Fires once.
class Timer : public internal::ChannelTimer {
 public:
  // A timeout of zero or less fires as soon as a worker looks.
  explicit Timer(std::chrono::nanoseconds timeout, const char* name = "timer") : ChannelTimer(name) { Reset(timeout); }

  // Stops and starts again.
  void Reset(std::chrono::nanoseconds timeout) {
    Stop();
    Start(internal::DeadlineNs(DeadlineAfter(timeout)), 0);
  }
};

// Fires at every multiple of `period`, which must be positive, counted from its start. A receiver that is too slow
// misses ticks; they do not pile up.
class Ticker : public internal::ChannelTimer {
 public:
  explicit Ticker(std::chrono::nanoseconds period, const char* name = "ticker") : ChannelTimer(name) { Reset(period); }

  // Starts again with another period.
  void Reset(std::chrono::nanoseconds period);
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_TIMER_H_
