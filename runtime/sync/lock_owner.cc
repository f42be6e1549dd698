#include "runtime/sync/lock_owner.h"

#include "absl/strings/str_format.h"
#include "runtime/scheduler_core.h"
#include "runtime/thread_waiter.h"

namespace fiberscope {

std::string LockOwner::ToString() const {
  if (nobody()) return "nobody";
  return is_thread() ? absl::StrFormat("thread %d", thread()) : absl::StrFormat("fiber %d", fiber().value);
}

namespace internal {

uint64_t ThreadOwnerWord() { return CurrentThreadWaiter().owner_word; }

uint64_t OwnerWordOf(WaitRecord& record) {
  return record.is_thread ? ThreadWaiterOf(record).owner_word : FiberOf(record).fiber_id().value << 1;
}

bool IsUnwinding() {
  const ControlBlock* const self = CurrentFiber();
  return self != nullptr && self->scheduler->unwinding();
}

}  // namespace internal
}  // namespace fiberscope
