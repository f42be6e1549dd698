#include "runtime/thread_lock.h"

#include "runtime/worker.h"

namespace fiberscope {

ThreadLock::ThreadLock() {
  internal::Worker* const worker = internal::Worker::Current();
  outermost_ = worker != nullptr && worker->current() != nullptr && worker->LockCurrent();
}

ThreadLock::~ThreadLock() {
  if (outermost_) internal::Worker::Current()->UnlockCurrent();
}

}  // namespace fiberscope
