#include "runtime/sync/timer.h"

#include "runtime/base/check.h"
#include "runtime/scheduler_core.h"
#include "runtime/worker.h"

namespace fiberscope {
namespace internal {

void ChannelTimer::Start(int64_t deadline_ns, int64_t period_ns) {
  Worker* const worker = Worker::Current();
  FIBERSCOPE_CHECK(worker != nullptr && worker->current() != nullptr, "timers are made and reset on fibers");
  FIBERSCOPE_CHECK(worker->has_processor(), "a timer is made or reset inside Blocking()");
  if (worker->core().unwinding()) return;
  period_ns_ = period_ns;
  worker->processor().timers().Add(deadline_ns, node_);
}

bool ChannelTimer::Stop() {
  const bool was_running = TimerQueue::Remove(node_);
  // Fire() runs under the lock that Remove() took: whatever it sent has been sent.
  channel_.TryReceive();
  return was_running;
}

int64_t ChannelTimer::Fire(CallbackTimer& node, int64_t deadline_ns, int64_t now_ns) {
  ChannelTimer& timer = static_cast<Node&>(node).timer;
  timer.channel_.TrySend(Deadline(std::chrono::nanoseconds(now_ns)));
  if (timer.period_ns_ == 0) return TimerQueue::kNever;
  // Skips what was missed.
  const int64_t missed = (now_ns - deadline_ns) / timer.period_ns_;
  return deadline_ns + (missed + 1) * timer.period_ns_;
}

}  // namespace internal

void Ticker::Reset(std::chrono::nanoseconds period) {
  FIBERSCOPE_CHECK(period.count() > 0, "a ticker with a period of %d ns", period.count());
  Stop();
  Start(internal::DeadlineNs(DeadlineAfter(period)), period.count());
}

}  // namespace fiberscope
