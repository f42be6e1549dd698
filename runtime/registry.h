// Every live fiber of the process, and how to look at all of them while they run.
//
// The pool is the registry: control blocks live in slabs that are never unmapped (control_block.h), one shard per
// processor; a fiber is listed because its block's state word says it is alive. Nothing is inserted at spawn and nothing
// removed at exit. A listing scans the slabs in order.
//
// With `one_instant` a listing shows the process as it was at one instant, while it goes on running (instant.h says how):
// - each fiber that was alive at that instant exactly once, with the state, the wait and the stack it had, however much it
//   has run, parked or ended since; none that was born later;
// - running fibers with the stacks they had then: their threads are interrupted and wait for each other, 1 ms at most;
// - a fiber that runs before the listing has come to it is recorded first, at the expense of the thread that lets it run: 1 us,
//   once per listing.
// FiberListing::is_one_instant says whether that was achieved. If not, why_not says what was in the way: the fibers that did not
// run are exact all the same, running ones are of moments up to 10 ms later, or without a stack; each at most once.
// Names, labels, accounting and `locked_to_thread` are of the fiber's turn, unless it ran before.
//
// Without it, each fiber's snapshot is exact for one moment (fiber_state.h); the moments of different fibers differ by up to the
// length of the listing. A fiber that is alive during the whole listing appears exactly once; one that is born or ends meanwhile
// at most once. Running fibers have a stack where `running_stacks` asks for it, of the moment when the listing began
// (running_stack.h); the rest of the snapshot is of the fiber's turn. A fiber that began to run later, or whose thread did not
// answer in time, is listed without one.
//
// Process-wide, because the slabs are: fibers of all schedulers appear. Thread-safe. ForEach blocks the thread for the
// length of the listing and must not run on a fiber; listings of one instant take turns. Without `running_stacks` and
// `one_instant` it delays no fiber. Cost, per parked
// fiber: 50 ns if it has not run since the last listing, else 0.1 us while its stack is in the caches and up to 1 us when it must
// come from memory; 10 ns per free block; 25 us per running stack.
#ifndef FIBERSCOPE_RUNTIME_REGISTRY_H_
#define FIBERSCOPE_RUNTIME_REGISTRY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "runtime/fiber_snapshot.h"

namespace fiberscope {

struct RegistryOptions {
  bool stacks = true;           // false: leave FiberSnapshot::stack out, for listings that need only states
  bool running_stacks = false;  // with `stacks`: those of running fibers too; waits 10 ms at most for threads that do not answer
  bool one_instant = false;     // all fibers as they were at one instant, running ones too
  // With one_instant: memory for fibers that run before the listing has come to them, ~300 bytes each; 128 MiB at most.
  size_t record_bytes = 128 << 20;
  // Which fibers to list, told by snapshots without stacks; those left out are not walked. Empty: all. It may be asked more than
  // once about one fiber, and about a mixture of two moments, which is then thrown away.
  std::function<bool(const FiberSnapshot&)> wanted = {};
};

struct FiberListing {
  bool is_one_instant = false;
  std::string_view why_not = {};  // if it is not; static text
};

// Calls `visit` for every live fiber until it returns false. It may list again, but not at one instant within one instant, which
// is CHECKed. Frames per stack are bounded by its size, not by a constant.
FiberListing ForEachFiber(const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit);

// The number of live fibers: spawned less finished. Go: runtime.NumGoroutine. Cost: two loads per processor.
int64_t FiberCount();

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_REGISTRY_H_
