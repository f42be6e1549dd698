// Every scheduler of the process, for process_metrics.h.
#ifndef FIBERSCOPE_RUNTIME_SCHEDULER_LIST_H_
#define FIBERSCOPE_RUNTIME_SCHEDULER_LIST_H_

namespace fiberscope::internal {

class SchedulerCore;

// Once, when its workers run; Unlist when they have ended, before it goes away: what it counted stays in the totals. Thread-safe.
// Blocks the thread while somebody reads, some microseconds per scheduler.
void ListScheduler(SchedulerCore& core);
void UnlistScheduler(SchedulerCore& core);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SCHEDULER_LIST_H_
