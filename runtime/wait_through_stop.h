// How a fiber waits for what it cannot leave without, when its scheduler is stopping: its children, which use its
// frame, or an operation that writes to its buffers.
//
// A stopping scheduler tells each fiber that waits to unwind. Such a fiber parks again instead, and again, while one
// thread unwinds the others and polls the reactor, which brings what it waits for. One that is told a hundred times in
// vain is given up, stack and all (SchedulerCore::UnwindFibers).
//
// Fiber-only.
#ifndef FIBERSCOPE_RUNTIME_WAIT_THROUGH_STOP_H_
#define FIBERSCOPE_RUNTIME_WAIT_THROUGH_STOP_H_

#include "runtime/base/futex_lock.h"
#include "runtime/park.h"
#include "runtime/waiter.h"

namespace fiberscope::internal {

// Parks in `queue` once, after a wait has ended with kStopped; `lock` guards it, is held on entry, released meanwhile,
// and held on return. Returns when it is woken or told to unwind; the caller looks whether it has to call again.
void ParkThroughStop(WaitQueue& queue, FutexLock& lock, const ParkInfo& info);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_WAIT_THROUGH_STOP_H_
