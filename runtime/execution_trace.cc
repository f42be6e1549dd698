#include "runtime/execution_trace.h"

#include <utility>

#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/fiber_state.h"
#include "runtime/trace/trace_stacks.h"
#include "runtime/trace/trace_strings.h"
#include "runtime/trace/tracer.h"
#include "runtime/trace_hooks.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;
using internal::Traced;
using internal::TracedFiber;
using internal::Tracer;

void VisitFiber(ControlBlock& block, Tracer::Visit visit) {
  const uint64_t id = block.id.load(std::memory_order_acquire);
  const FiberState state = block.state.Load().state();
  const TracedFiber fiber{id, &block.trace, block.entry_pc.load(std::memory_order_relaxed)};
  // It has ended meanwhile, or the block is another's: whoever took it says so.
  if (id == 0 || block.id.load(std::memory_order_acquire) != id) return;
  switch (state) {
    case FiberState::kWaiting: return visit(fiber, Traced::kWaiting);
    case FiberState::kRunnable: return visit(fiber, Traced::kRunnable);
    case FiberState::kBlocking: return visit(fiber, Traced::kBlocking);
    case FiberState::kRunning:  // says so itself
    case FiberState::kNew:
    case FiberState::kDead: return;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExecutionTrace>> ExecutionTrace::Start() {
  const auto for_each_fiber = [](Tracer::Visit visit) {
    internal::FiberPool::Instance().ForEachBlock([&](ControlBlock& block) {
      VisitFiber(block, visit);
      return true;
    });
  };
  absl::StatusOr<std::unique_ptr<Tracer>> tracer = Tracer::Start(for_each_fiber, &internal::TraceRunningNow);
  if (!tracer.ok()) return tracer.status();
  return std::unique_ptr<ExecutionTrace>(new ExecutionTrace(*std::move(tracer)));
}

ExecutionTrace::ExecutionTrace(std::unique_ptr<Tracer> tracer) : tracer_(std::move(tracer)) {}

ExecutionTrace::~ExecutionTrace() = default;

TraceGeneration ExecutionTrace::Next() { return tracer_->Next(); }

TraceGeneration ExecutionTrace::Stop() { return tracer_->Stop(); }

uint64_t ExecutionTrace::dropped_events() { return internal::DroppedTraceEvents(); }

uint64_t ExecutionTrace::lost_stacks() { return internal::LostTraceStacks(); }

uint64_t ExecutionTrace::lost_texts() { return internal::LostTraceStrings(); }

}  // namespace fiberscope
