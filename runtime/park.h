// Park and unpark: the only doors through which a fiber stops running and starts again.
//
// For code inside the runtime (synchronisation objects, Suspend, sleep, join). The protocol:
//
//   1. the fiber puts itself where a waker will find it (a wait queue), under the lock that guards that place
//   2. it parks: its registers are saved, the worker goes on with the next fiber or with its own loop, and the code that
//      runs there publishes "waiting" and only then runs the commit, typically "unlock". So no waker can meet a fiber that
//      still stands on its stack.
//   3. a waker takes it out of that place, under the lock, which gives it the exclusive right to Unpark it, once.
//
// The commit may also find that there is nothing to wait for any more and return false: the fiber is runnable at once.
//
// What travels with the fiber although C++ keeps it per thread: errno and the exception state, so a fiber may park inside
// a catch block and go on on another thread. thread_local variables do not travel.
//
// When the scheduler stops, Park returns false to every waiter. The caller leaves the place where it waited and calls
// ThrowStopped(), which unwinds the fiber's stack. A destructor that then waits in a queue (join, mutex, channel, wait group)
// is still parked until every other fiber was told to unwind once, so a child can be joined and a lock taken there.
//
// Fiber-only unless said otherwise. Parks the fiber. Cost: one switch, one coarse clock read.
#ifndef FIBERSCOPE_RUNTIME_PARK_H_
#define FIBERSCOPE_RUNTIME_PARK_H_

#include <cstdint>

#include "runtime/base/futex_lock.h"
#include "runtime/control_block.h"
#include "runtime/wait_object.h"
#include "runtime/wait_reason.h"
#include "runtime/waiter.h"

namespace fiberscope::internal {

// Thrown through a fiber's frames when the scheduler stops; caught below the fiber's function. Code that catches
// everything and goes on will meet it again at its next wait.
struct ForcedUnwind {};

// What a dump shows of the wait.
struct ParkInfo {
  WaitReason reason = WaitReason::kSuspend;
  uint64_t object_id = 0;  // WaitObject::id()
  uint64_t owner_id = 0;   // the fiber that holds the lock waited for
};

// The fiber that is running; null on a plain thread and on a worker's own stack.
ControlBlock* CurrentFiber();

// Runs on another stack, after `self` was published as waiting. Must not park, and must not throw.
using ParkCommit = bool (*)(ControlBlock& self, void* argument);

// True: unparked. False: the scheduler is stopping; if it was stopping already, `commit` did not run.
[[nodiscard]] bool Park(const ParkInfo& info, ParkCommit commit, void* argument);

// Parks even while the scheduler stops: returns when unparked, or when the stopping thread comes round.
void ParkInEarnest(const ParkInfo& info, ParkCommit commit, void* argument);

// Parks, releasing `lock`, which the caller holds. It is released in any case.
[[nodiscard]] bool ParkAndUnlock(const ParkInfo& info, FutexLock& lock);

// Makes a waiting fiber runnable; the caller must hold the right to (step 3). Thread-safe, never blocks. On a worker the
// fiber is the next to run there.
void Unpark(ControlBlock& fiber);

// Lets other runnable fibers run first. Fiber-only.
void YieldFiber();

// Waits in `queue`, guarded by `lock`, which the caller holds and which is released. For fibers and plain threads alike;
// a plain thread blocks. `slot` is the waiter's (waiter.h). Returns what the waker said, or kStopped; the caller is out of
// the queue then. The lock's object must not be touched afterwards unless the outcome says that it still exists.
WaitOutcome WaitIn(WaitQueue& queue, FutexLock& lock, const ParkInfo& info, void* slot);

// Wakes a waiter that the caller took out of its queue under the lock. `waiter` must not be touched afterwards.
void Wake(Waiter& waiter, WaitOutcome outcome);

// Unwinds the calling fiber, unless an exception is unwinding it already: then returns, and the destructor that waits must
// go on without what it waited for.
void ThrowStopped();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_PARK_H_
