// Handle to one fiber.
#ifndef FIBERSCOPE_RUNTIME_FIBER_H_
#define FIBERSCOPE_RUNTIME_FIBER_H_

#include <cstdint>

#include "runtime/fiber_id.h"
#include "runtime/fiber_state.h"

namespace fiberscope {

class Fiber;

namespace internal {
struct ControlBlock;
struct SpawnRequest;
struct SpawnSlot;
class SchedulerCore;
Fiber StartFiber(SchedulerCore& core, const SpawnSlot& slot, void (*run)(void*, bool), uintptr_t entry_pc,
                 const SpawnRequest& request);
}  // namespace internal

// Names a fiber that was spawned; does not own it. Copying is free, dropping it lets the fiber go on by itself, and a
// handle outlives its fiber harmlessly: ids are never used again.
//
// Thread-safe.
class Fiber {
 public:
  Fiber() = default;  // no fiber: already finished

  FiberId id() const { return id_; }

  // Waits until the fiber has finished; at once if it has. Everything the fiber did is visible afterwards. Parks the fiber
  // (WaitReason::kJoin) or, on a plain thread, blocks the thread. Any number may join the same fiber. A fiber that joins
  // itself is a CHECK failure.
  void Join() const;

  // What it is doing at this moment; kDead once it has finished. Never blocks.
  FiberState state() const;

 private:
  friend Fiber internal::StartFiber(internal::SchedulerCore&, const internal::SpawnSlot&, void (*)(void*, bool), uintptr_t,
                                    const internal::SpawnRequest&);
  Fiber(internal::ControlBlock* block, FiberId id) : block_(block), id_(id) {}

  internal::ControlBlock* block_ = nullptr;
  FiberId id_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_FIBER_H_
