// The fibers that run at this moment, with their stacks, of all schedulers of the process.
//
// Each is exact for one moment, as running_stack.h says; the moments differ by microseconds. Two may be of the same
// fiber, if it went from one thread to another in between. A fiber in Blocking() is not among them: its stack can be
// read from outside.
//
// Thread-safe. Blocks the thread, for `timeout` at most where nobody answers, and allocates. Cost: running_stack.h, for
// each thread that runs a fiber; 0.1 us for each other one.
#ifndef FIBERSCOPE_RUNTIME_RUNNING_FIBERS_H_
#define FIBERSCOPE_RUNTIME_RUNNING_FIBERS_H_

#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/current_fiber.h"
#include "runtime/running_stack.h"

namespace fiberscope {

// Those that were captured; RunningStack::fiber is set.
std::vector<RunningStack> CaptureRunningFibers(const CaptureOptions& options);

namespace internal {

// The calling thread runs fibers from now on, and says in `running` which. Never blocks for longer than it takes to
// copy a list.
void AddFiberThread(const RunningFiber& running, StackBounds own_stack);
// `running` is not looked at any more once this has returned.
void RemoveFiberThread(const RunningFiber& running);
// All of them, which stay that long.
void ForEachFiberThread(absl::FunctionRef<void(const RunningFiber&)> visit);

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_RUNNING_FIBERS_H_
