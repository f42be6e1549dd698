#include "runtime/processor.h"

#include "runtime/control_block.h"

namespace fiberscope::internal {

void Processor::PushBackOverflowing(ControlBlock& fiber) {
  do {
    ControlBlock* last = nullptr;
    ControlBlock* const first = run_queue_.PopHalf(&last);
    if (first == nullptr) continue;  // thieves made room
    uint32_t count = 1;
    for (ControlBlock* at = first; at != last; at = at->next) ++count;
    inject_.PushOverflow(*first, *last, count);
    Increment(counters_.overflows);
  } while (!run_queue_.Push(fiber));
}

bool Processor::MoveQueuedToInject() {
  bool any = false;
  while (ControlBlock* const fiber = Pop()) {
    inject_.Push(*fiber);
    any = true;
  }
  return any;
}

ProcessorMetrics Processor::Metrics() const {
  const auto read = [](const std::atomic<uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  ProcessorMetrics metrics;
  metrics.index = index_;
  metrics.state = status_.state();
  metrics.queued = queue_length();
  metrics.switches = read(counters_.switches);
  metrics.idle_yields = read(counters_.idle_yields);
  metrics.steals_tried = read(counters_.steals_tried);
  metrics.steals = read(counters_.steals);
  metrics.overflows = read(counters_.overflows);
  metrics.reactor_polls = read(counters_.polls);
  metrics.blocking_calls = read(counters_.blocking_calls);
  metrics.scheduling_latency = counters_.scheduling_latency.Read();
  metrics.run_slice = counters_.run_slice.Read();
  return metrics;
}

}  // namespace fiberscope::internal
