// Marks a call that blocks the thread: a read from a slow disk, a DNS lookup, somebody else's mutex.
//
//   const ssize_t written = Blocking([&] { return ::fsync(file); });
//
// Meanwhile the fiber gives up its processor, so that other fibers run. Without it a blocking call stops a processor, until the
// monitor notices (monitor.h) and complains. Not needed for calls that take less than ~20 us, and not for waits that park the
// fiber (channels, locks, sleep, use_fiber).
//
// How: entering costs one store, and coming back one compare-and-swap, if the call was short: the processor is only marked, and
// the monitor takes it away after 20 us to 10 ms. A fiber that comes back and has lost it goes on with any idle processor; if
// there is none it becomes runnable, and its thread sleeps until it is needed. With `expect_long` the processor is given away at
// once: right for calls that are known to take longer than ~100 us.
//
// In dumps the fiber is in state kBlocking ("syscall" on the wire), and its stack is shown from the caller of Blocking()
// outwards: the registers are left where a dump finds them, and the frames further in are the function's own business.
//
// The function runs on the calling thread, on the fiber's stack (64 KiB by default: mind what getaddrinfo needs), and may use
// this_fiber::id(), name(), labels(), spawn and make others runnable (send into a buffered channel that has room, unlock). It
// must not park the fiber, which is a CHECK failure. Its result is returned, its exceptions pass through, errno is kept.
// Afterwards the fiber may be on another thread.
//
// On a plain thread, within another Blocking(), and while the scheduler unwinds it, the function is simply called.
//
// Any thread. Cost: ~20 ns when the processor is still there afterwards.
#ifndef FIBERSCOPE_RUNTIME_BLOCKING_H_
#define FIBERSCOPE_RUNTIME_BLOCKING_H_

#include <utility>

#include "runtime/unwind/unwinder.h"

namespace fiberscope {

struct BlockingOptions {
  // Do not wait for the monitor: hand the processor to another worker now.
  bool expect_long = false;
};

namespace internal {

class Worker;

// `here` must stay where it is, and its frame active, until the scope ends.
class BlockingScope {
 public:
  BlockingScope(const Registers& here, const BlockingOptions& options);
  ~BlockingScope();
  BlockingScope(const BlockingScope&) = delete;
  BlockingScope& operator=(const BlockingScope&) = delete;

 private:
  Worker* worker_;  // null: there is nothing to give up
};

}  // namespace internal

template <typename F>
decltype(auto) Blocking(F&& function, const BlockingOptions& options = {}) {
  const Registers here = CaptureRegisters();
  const internal::BlockingScope scope(here, options);
  return std::forward<F>(function)();
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_BLOCKING_H_
