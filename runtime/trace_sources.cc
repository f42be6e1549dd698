#include "runtime/trace_sources.h"

#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/fiber_state.h"
#include "runtime/trace_hooks.h"

namespace fiberscope::internal {
namespace {

void VisitFiber(ControlBlock& block, Tracer::Visit visit) {
  const uint64_t id = block.id.load(std::memory_order_acquire);
  const FiberState state = block.state.Load().state();
  const TracedFiber fiber{id, &block.trace, block.entry_pc.load(std::memory_order_relaxed)};
  // It has ended meanwhile, or the block is another's: whoever took it says so.
  if (id == 0 || block.id.load(std::memory_order_acquire) != id) return;
  switch (state) {
    case FiberState::kNew: return visit(fiber, Traced::kUnknown);
    case FiberState::kRunnable: return visit(fiber, Traced::kRunnable);
    case FiberState::kRunning: return visit(fiber, Traced::kRunning);
    case FiberState::kWaiting: return visit(fiber, Traced::kWaiting);
    case FiberState::kBlocking: return visit(fiber, Traced::kBlocking);
    case FiberState::kDead: return;
  }
}

}  // namespace

Tracer::Sources TraceSources() {
  const auto for_each_fiber = [](Tracer::Visit visit) {
    FiberPool::Instance().ForEachBlock([&](ControlBlock& block) {
      VisitFiber(block, visit);
      return true;
    });
  };
  return {.for_each_fiber = for_each_fiber, .running_now = &TraceRunningNow};
}

}  // namespace fiberscope::internal
