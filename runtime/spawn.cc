#include "runtime/spawn.h"

#include <system_error>

#include "absl/strings/str_format.h"
#include "runtime/base/check.h"
#include "runtime/base/fence.h"
#include "runtime/context.h"
#include "runtime/instant.h"
#include "runtime/park.h"
#include "runtime/scheduler_core.h"
#include "runtime/select_nodes.h"
#include "runtime/stack/context_switch.h"
#include "runtime/trace_hooks.h"
#include "runtime/worker.h"

namespace fiberscope::internal {
namespace {

// Ids are handed out in lots per thread, so that spawning threads do not fight over one counter: roughly in order of
// creation, never twice.
constexpr uint64_t kIdLot = 64;

uint64_t NextId() {
  static constinit std::atomic<uint64_t> next_lot{1};
  static constinit thread_local uint64_t next = 0;
  static constinit thread_local uint64_t end = 0;
  if (next == end) {
    next = next_lot.fetch_add(kIdLot, std::memory_order_relaxed);
    end = next + kIdLot;
  }
  return next++;
}

void EndFiber(ControlBlock& self) {
  if (self.context_binding != nullptr) UnbindEndingFiber(self);
  if (LabelsRep* const labels = self.labels.load(std::memory_order_relaxed); labels != nullptr) {
    self.labels.store(nullptr, std::memory_order_relaxed);
    const Labels dropped = Labels::Adopt(labels);
  }
  ReleaseSelectNodes(self.wait);
  // Everything the fiber did happens before its joiners go on: they take the lock after us or are woken by us.
  self.join_lock.lock();
  self.id.store(0, std::memory_order_release);
  WakeList joiners;
  self.joiners.ClaimAll(joiners);
  self.join_lock.unlock();
  WakeAll(joiners, WaitOutcome::kDone);
}

// The first C++ function on every fiber's stack, entered from the trampoline.
LastSwitch FiberMain(void* argument) {
  {
    Worker& worker = *static_cast<Worker*>(argument);
    ControlBlock& self = *worker.current();
    FinishFirstSwitch(self.context);
    worker.FinishDeparture();
    self.run(self.callable, !self.scheduler->unwinding());
    EndFiber(self);
  }
  return Worker::Exit(*Worker::Current());  // perhaps another one than above
}

// A fiber whose own scheduler stops could do nothing about a refused spawn: it is unwound, as in a wait, and no earlier. Returns
// if an exception is unwinding it already, and within Blocking(), where it cannot park.
void UnwindIfStopping() {
  ControlBlock* const fiber = CurrentFiber();
  if (fiber == nullptr || !fiber->scheduler->stopping()) return;
  if (!fiber->scheduler->unwinding() && !Worker::Current()->has_processor()) return;
  while (Park({.reason = WaitReason::kSuspend}, [](ControlBlock&, void*) { return true; }, nullptr)) {
  }
  ThrowStopped();
}

}  // namespace

absl::StatusOr<SpawnSlot> PrepareSpawn(SchedulerCore& core, size_t stack_bytes, size_t callable_bytes,
                                       size_t alignment) {
  const std::optional<StackClass> stack_class = StackClassFor(stack_bytes);
  if (!stack_class.has_value()) {
    return absl::InvalidArgumentError(absl::StrFormat("spawn with a stack of %d bytes; the largest is %d", stack_bytes,
                                                      kStackClassBytes.back()));
  }
  absl::StatusOr<ControlBlock*> block = core.TakeBlock(*stack_class);
  if (!block.ok()) return block.status();
  const uintptr_t top = (*block)->stack_high - 2 * sizeof(uintptr_t);
  const uintptr_t callable = (top - callable_bytes) & ~(std::max(alignment, alignof(std::max_align_t)) - 1);
  // The stack's last user may have left it poisoned; the function object is about to be written to it.
  PrepareTarget((*block)->context, {(*block)->stack().low, callable}, &FiberMain);
  return SpawnSlot{*block, reinterpret_cast<void*>(callable)};
}

void CancelSpawn(SchedulerCore& core, const SpawnSlot& slot) {
  ReleaseTarget(slot.block->context);
  core.GiveBack(*slot.block);
}

Fiber StartFiber(SchedulerCore& core, const SpawnSlot& slot, void (*run)(void*, bool), uintptr_t entry_pc,
                 const SpawnRequest& request) {
  ControlBlock& block = *slot.block;
  ControlBlock* const parent = CurrentFiber();
  // A reader that saw the last fiber's id must not see the new fiber's fields with it.
  ReleaseFence();
  block.parent_id.store(parent != nullptr ? parent->fiber_id().value : 0, std::memory_order_relaxed);
  block.creator_pc.store(reinterpret_cast<uintptr_t>(__builtin_return_address(0)), std::memory_order_relaxed);
  block.entry_pc.store(entry_pc, std::memory_order_relaxed);
  block.name.Store(request.name);
  Labels labels = request.labels != nullptr ? *request.labels
                  : parent != nullptr       ? Labels::Share(parent->labels.load(std::memory_order_relaxed))
                                            : Labels();
  // Release pairs with the acquire in the registry, which may come by with the id of the last fiber in hand.
  block.labels.store(std::move(labels).Release(), std::memory_order_release);
  block.run = run;
  block.callable = slot.callable;
  block.caught_exceptions = nullptr;
  block.uncaught_exceptions = 0;
  block.stop_requests = 0;
  ContextNode* const context = request.context != nullptr ? request.context->node()
                               : parent != nullptr        ? ContextOf(*parent)
                                                          : nullptr;
  if (context != nullptr) BindNewFiber(block, context);
  BeforeBirth(block);
  const FiberId id{NextId()};
  block.id.store(id.value, std::memory_order_release);
  block.state.Create();
  if (TraceOn()) TraceSpawn(block);
  core.Start(block);
  return Fiber(&block, id);
}

void ThrowSpawnError(const absl::Status& status) {
  const std::string message(status.message().data(), status.message().size());
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
      UnwindIfStopping();
      throw std::system_error(std::make_error_code(std::errc::operation_not_permitted), message);
    case absl::StatusCode::kInvalidArgument:
      throw std::system_error(std::make_error_code(std::errc::invalid_argument), message);
    default:
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again), message);
  }
}

SchedulerCore& CurrentCore() {
  ControlBlock* const fiber = CurrentFiber();
  FIBERSCOPE_CHECK(fiber != nullptr, "fiberscope::Spawn must be called on a fiber; elsewhere use Scheduler::Spawn");
  return *fiber->scheduler;
}

bool RunsOn(const SchedulerCore& core) {
  const ControlBlock* const fiber = CurrentFiber();
  return fiber != nullptr && fiber->scheduler == &core;
}

}  // namespace fiberscope::internal
