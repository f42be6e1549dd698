// Every live fiber of the process, and how to look at all of them while they run.
//
// The pool is the registry: control blocks live in slabs that are never unmapped (control_block.h), one shard per
// processor; a fiber is listed because its block's state word says it is alive. Nothing is inserted at spawn and nothing
// removed at exit. A listing scans the slabs in order.
//
// Consistency: each fiber's snapshot is exact for one moment (fiber_state.h says how); the moments of different
// fibers differ by up to the length of the listing. A fiber that is alive during the whole listing appears exactly once;
// one that is born or ends meanwhile appears at most once.
//
// Running fibers have a stack where `running_stacks` asks for it: each thread that runs a fiber is interrupted for some 10 us as
// the listing begins, and walks its own (running_stack.h). The stack is of that moment, the rest of the snapshot of
// the fiber's turn in the listing; it may have been switched in between, and is shown as parked if it is. A fiber that began to run
// later, or whose thread did not answer in time, is listed without a stack.
//
// Process-wide, because the slabs are: fibers of all schedulers appear. Thread-safe. ForEach blocks the thread for the
// length of the listing and must not run on a fiber; without `running_stacks` it delays no fiber. Cost, per parked
// fiber: 50 ns if it has not run since the last listing, else 0.1 us while its stack is in the caches and up to 1 us when it must
// come from memory; 10 ns per free block; 25 us per running stack.
#ifndef FIBERSCOPE_RUNTIME_REGISTRY_H_
#define FIBERSCOPE_RUNTIME_REGISTRY_H_

#include <cstdint>
#include <functional>

#include "absl/functional/function_ref.h"
#include "runtime/fiber_snapshot.h"

namespace fiberscope {

struct RegistryOptions {
  bool stacks = true;           // false: leave FiberSnapshot::stack out, for listings that need only states
  bool running_stacks = false;  // with `stacks`: those of running fibers too; waits 10 ms at most for threads that do not answer
  // Which fibers to list, told by snapshots without stacks; those left out are not walked. Empty: all. It may be asked more than
  // once about one fiber, and about a mixture of two moments, which is then thrown away.
  std::function<bool(const FiberSnapshot&)> wanted = {};
};

// Calls `visit` for every live fiber until it returns false. Frames per stack are bounded by its size, not by a constant.
void ForEachFiber(const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit);

// The number of live fibers: spawned less finished. Go: runtime.NumGoroutine. Cost: two loads per processor.
int64_t FiberCount();

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_REGISTRY_H_
