// Keeps the calling fiber on the thread it is on, and every other fiber away from that thread: for code that depends on the
// thread itself, such as graphics libraries, namespaces (setns), or thread-local state that must survive a wait.
//
//   ThreadLock lock;              // Go: runtime.LockOSThread
//   thread_local_library_state = ...;
//   channel.Receive();            // parks; afterwards still on the same thread
//
// The thread counts as one of SchedulerOptions::max_workers. When all of them are locked and none of their fibers can run, nothing
// can; leave some.
//
// Locks nest; the last one to go releases the thread. A plain thread is its own: there it does nothing.
//
// The price: whenever the fiber waits its thread sleeps with it, and each wake-up hands a processor from one thread to another
// (two futex calls). While a scheduler stops, fibers unwind on the stopping thread, locked or not. Dumps say "locked to thread".
//
// Must be destroyed by the fiber that made it.
#ifndef FIBERSCOPE_RUNTIME_THREAD_LOCK_H_
#define FIBERSCOPE_RUNTIME_THREAD_LOCK_H_

namespace fiberscope {

class ThreadLock {
 public:
  ThreadLock();
  ~ThreadLock();
  ThreadLock(const ThreadLock&) = delete;
  ThreadLock& operator=(const ThreadLock&) = delete;

 private:
  bool outermost_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_THREAD_LOCK_H_
