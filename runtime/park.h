// Park and unpark: the only doors through which a fiber stops running and starts again.
//
// For code inside the runtime (synchronisation objects, Suspend, sleep, join). The protocol of a plain wait, which only
// its object can end:
//
//   1. the fiber puts itself where a waker will find it (a wait queue), under the lock that guards that place
//   2. it parks: its registers are saved, the worker goes on with the next fiber or with its own loop, and the code
//   that
//      runs there publishes "waiting" and only then runs the commit, typically "unlock". So no waker can meet a fiber
//      that still stands on its stack.
//   3. a waker takes it out of that place, under the lock, which gives it the exclusive right to Unpark it, once.
//
// The commit may also find that there is nothing to wait for any more and return false: the fiber is runnable at once.
//
// A claimed wait may be ended by several parties: a deadline, a cancellation, one of several objects, a callback. There
// step 3 is "wins the claim" (wait_claim.h), and the lock need not be held across the switch. WaitIn chooses the kind
// by itself; ClaimedWait is for those who wait on several things.
//
// Cancellation. Somebody who wants a fiber to leave its wait does this:
//
//   1. fiber.cancellation.fetch_or(kCancelPending)          2. CancelWait(fiber)
//
// and the waiter opens its wait first and looks at the bit then. Both have a sequentially consistent fence in between,
// so either the canceller sees the open wait, or the waiter sees the bit: a request is never lost. The bit stays until
// it is taken away: every further cancellable wait of the fiber ends at once. A fiber's waits are cancellable while it
// has kCancellable set; then they are claimed waits, which costs two locked instructions each. Waits made by
// destructors while an exception unwinds the fiber are not cancellable, and neither are those for a mutex (as in POSIX:
// it is held for short times, and code that restores an invariant must not be interrupted).
//
// What travels with the fiber although C++ keeps it per thread: errno and the exception state, so a fiber may park
// inside a catch block and go on on another thread. thread_local variables do not travel.
//
// When the scheduler stops, every wait ends with kStopped. The caller leaves the place where it waited and calls
// ThrowInterrupted(), which unwinds the fiber's stack. A destructor that then waits (for a child, a lock, a channel) is
// still parked until every other fiber was told to unwind once, so it can get what it waits for.
//
// Fiber-only unless said otherwise. Parks the fiber. Cost: one switch, one coarse clock read.
#ifndef FIBERSCOPE_RUNTIME_PARK_H_
#define FIBERSCOPE_RUNTIME_PARK_H_

#include <cstdint>
#include <limits>

#include "runtime/base/futex_lock.h"
#include "runtime/control_block.h"
#include "runtime/current_fiber.h"
#include "runtime/wait_cancelled.h"
#include "runtime/wait_object.h"
#include "runtime/wait_reason.h"
#include "runtime/waiter.h"

namespace fiberscope {

namespace internal {

// Thrown through a fiber's frames when the scheduler stops; caught below the fiber's function. Code that catches
// everything and goes on will meet it again at its next wait.
struct ForcedUnwind {};

// What a dump shows of the wait.
struct ParkInfo {
  WaitReason reason = WaitReason::kSuspend;
  uint64_t object_id = 0;  // WaitObject::id()
  uint64_t owner_id = 0;   // the fiber that holds the lock waited for
};

// How a wait may end other than by what it waits for.
struct WaitLimits {
  static constexpr int64_t kNoDeadline = std::numeric_limits<int64_t>::max();

  int64_t deadline_ns = kNoDeadline;  // counts as MonotonicNowNs() does
  bool cancellable = true;            // if the fiber is
  bool at_front = false;              // of the queue: the caller has waited in it before
};

// Bits of ControlBlock::cancellation.
enum Cancellation : uint8_t {
  kCancellable = 1,    // written by the fiber itself, or before it is spawned
  kCancelPending = 2,  // written by whoever cancels
};

// Runs on another stack, after `self` was published as waiting. Must not park, and must not throw.
using ParkCommit = bool (*)(ControlBlock& self, void* argument);

// True: unparked. False: the scheduler is stopping; if it was stopping already, `commit` did not run.
[[nodiscard]] bool Park(const ParkInfo& info, ParkCommit commit, void* argument);

// Parks, releasing `lock`, which the caller holds. It is released in any case.
[[nodiscard]] bool ParkAndUnlock(const ParkInfo& info, FutexLock& lock);

// Makes a waiting fiber runnable; the caller must hold the right to (step 3). Thread-safe, never blocks. On a worker
// the fiber is the next to run there.
void Unpark(ControlBlock& fiber);

// Lets other runnable fibers run first. Fiber-only.
void YieldFiber();

// Waits in `queue`, guarded by `lock`, which the caller holds and which is released. For fibers and plain threads
// alike; a plain thread blocks. `slot` is the waiter's (waiter.h). Returns what ended the wait; the caller is out of
// the queue then.
//
// After kDone and kClosed the object of queue and lock may be gone. In order to leave the queue after any other outcome
// the lock is taken, so an object whose waiters have limits must exist until they have returned.
WaitOutcome WaitIn(WaitQueue& queue, FutexLock& lock, const ParkInfo& info, void* slot, const WaitLimits& limits = {});

// Wakes a waiter that the caller took out of its queue under the lock, with ClaimFront or ClaimAll. `waiter` must not
// be touched afterwards. Any thread.
void Wake(Waiter& waiter, WaitOutcome outcome);
void WakeAll(WakeList& waiters, WaitOutcome outcome);

// Names a claimed wait to those who may end it from outside. Copyable; may outlive wait and fiber: it then means
// nothing.
struct WaitToken {
  WaitRecord* record = nullptr;
  uint32_t generation = 0;
};

// One claimed wait of the calling fiber or plain thread, of which there is one at a time.
//
//   ClaimedWait wait(limits);
//   ... show wait.node(), or nodes of record() of one's own, to wakers; each under the lock of its object ...
//   WaitOutcome outcome = wait.Wait({.reason = WaitReason::kSelect});
//   ... take the nodes that are still queued out again, each under its lock ...
class ClaimedWait {
 public:
  explicit ClaimedWait(const WaitLimits& limits = {});
  ~ClaimedWait();  // a wait that was not waited for is given up
  ClaimedWait(const ClaimedWait&) = delete;
  ClaimedWait& operator=(const ClaimedWait&) = delete;

  WaitRecord& record() { return record_; }
  Waiter& node() { return node_; }
  WaitToken token() const { return {&record_, generation_}; }

  // Parks or blocks until somebody ends the wait; at once if somebody did already or the deadline has passed. Once.
  WaitOutcome Wait(const ParkInfo& info);

 private:
  WaitOutcome EndAs(WaitOutcome outcome);
  WaitOutcome BlockThread();

  ControlBlock* const fiber_;  // null: a plain thread
  WaitRecord& record_;
  Waiter& node_;
  const int64_t deadline_ns_;
  bool cancellable_ = false;
  bool waited_ = false;
  uint32_t generation_ = 0;
};

// Ends the wait of that token, if it is still going on, as cancelled. True: it was this call. Any thread.
bool CancelWait(const WaitToken& token);

// Ends the cancellable wait that the fiber is in, if any. The caller sets kCancelPending before, and knows that the
// control block is that fiber's still. Any thread.
bool CancelWait(ControlBlock& fiber);

// Claims the wait of that token for a party that brings a result. The winner writes the result to the slot of the
// record's first node and calls EndClaimedWait(). Any thread.
bool ClaimWait(const WaitToken& token);
void* SlotOf(WaitRecord& record);
void EndClaimedWait(WaitRecord& record, WaitOutcome outcome);

// For a stopping scheduler whose workers have ended: takes the right to make a waiting fiber runnable. False: somebody
// else has it and is about to.
bool TakeOverWait(ControlBlock& fiber);

// kStopped unwinds the calling fiber, kCancelled throws WaitCancelled; but if an exception is unwinding it already,
// returns, and the destructor that waits must go on without what it waited for. Other outcomes return.
void ThrowInterrupted(WaitOutcome outcome);
inline void ThrowStopped() { ThrowInterrupted(WaitOutcome::kStopped); }

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_PARK_H_
