#include "runtime/trace_hooks.h"

#include <string>

#include "runtime/labels.h"
#include "runtime/processor.h"
#include "runtime/running_fibers.h"
#include "runtime/scheduler_core.h"
#include "runtime/trace_annotations.h"
#include "runtime/trace/trace_reason.h"
#include "runtime/worker.h"

namespace fiberscope {

// What a trace shows in place of a stack where no fiber has woken another one. Only their addresses are used.
namespace woken_by {

__attribute__((noinline, noipa)) void Timer() { asm volatile("" ::: "memory"); }
__attribute__((noinline, noipa)) void Reactor() { asm volatile("nop" ::: "memory"); }
__attribute__((noinline, noipa)) void OtherThread() { asm volatile("nop; nop" ::: "memory"); }
__attribute__((noinline, noipa)) void ItselfAtOnce() { asm volatile("nop; nop; nop" ::: "memory"); }

}  // namespace woken_by

namespace internal {
namespace {

TracedFiber FiberOfBlock(ControlBlock& block) {
  return {block.id.load(std::memory_order_relaxed), &block.trace, block.entry_pc.load(std::memory_order_relaxed)};
}

// "route=/order, tenant=7".
void WriteLabels(TraceWriter& writer, Worker& worker, ControlBlock& fiber, const LabelsRep* labels) {
  std::string text;
  for (const Label& each : Labels::PairsOf(labels)) {
    if (!text.empty()) text += ", ";
    text += each.key;
    text += '=';
    text += each.value;
  }
  const TracedFiber traced = FiberOfBlock(fiber);
  if (writer.Annotate(worker.processor().traced(), traced, TraceEvent::kFiberLabel, {writer.String(text)})) {
    traced.state->Store(traced.state->Load().Labelled());
  }
}

uintptr_t AddressOf(void (*function)()) { return reinterpret_cast<uintptr_t>(function) + 1; }

}  // namespace

TracedFiber TracedFiberOf(const Worker& worker) {
  ControlBlock* const fiber = worker.current();
  return fiber == nullptr ? TracedFiber() : FiberOfBlock(*fiber);
}

__attribute__((noinline)) void TraceProcessorStart(Worker& worker) {
  TraceWriter writer(worker.trace_thread());
  if (writer.on()) writer.ProcessorStart(worker.processor().traced());
}

__attribute__((noinline)) void TraceProcessorStop() {
  TraceWriter writer(TraceThread::Current());
  if (writer.on()) writer.ProcessorStop();
}

void TraceProcessorCount(uint32_t before, uint32_t after) {
  if (before == after) return;
  g_trace_processors.fetch_add(after - before, std::memory_order_relaxed);
  if (TraceOn()) g_trace_due.fetch_or(kTraceProcessorsDue, std::memory_order_relaxed);
}

__attribute__((noinline)) void TraceSpawn(ControlBlock& spawned) {
  Worker* const worker = Worker::Current();
  TraceWriter writer(worker != nullptr ? worker->trace_thread() : TraceThread::Current());
  if (!writer.on()) return;
  if (worker == nullptr || !worker->has_processor()) return writer.FiberBorn(FiberOfBlock(spawned));
  ControlBlock* const parent = worker->current();
  const uint64_t stack = parent != nullptr ? FIBERSCOPE_CALLERS_STACK(writer, *parent) : 0;
  writer.FiberCreate(worker->processor().traced(), TracedFiberOf(*worker), FiberOfBlock(spawned), stack);
}

__attribute__((noinline)) void TraceUnpark(ControlBlock& fiber) {
  Worker* const worker = Worker::Current();
  TraceWriter writer(worker != nullptr ? worker->trace_thread() : TraceThread::Current());
  if (!writer.on()) return;
  uint64_t stack;
  if (worker == nullptr) {
    stack = writer.StackOf(AddressOf(&woken_by::OtherThread));
  } else if (ControlBlock* const waker = worker->current()) {
    stack = FIBERSCOPE_CALLERS_STACK(writer, *waker);
  } else {
    stack = writer.StackOf(AddressOf(&woken_by::Reactor));
  }
  writer.FiberUnblock(FiberOfBlock(fiber), stack);
}

__attribute__((noinline)) void TraceTimer(ControlBlock& fiber) {
  TraceWriter writer(TraceThread::Current());
  if (writer.on()) writer.FiberUnblock(FiberOfBlock(fiber), writer.StackOf(AddressOf(&woken_by::Timer)));
}

__attribute__((noinline)) void TraceUnparkAtOnce(ControlBlock& fiber) {
  TraceWriter writer(TraceThread::Current());
  if (writer.on()) writer.FiberUnblock(FiberOfBlock(fiber), writer.StackOf(AddressOf(&woken_by::ItselfAtOnce)));
}

__attribute__((noinline)) void TraceArrived(Worker& worker, ControlBlock& first) {
  TraceWriter writer(worker.trace_thread());
  if (!writer.on()) return;
  for (ControlBlock* at = &first; at != nullptr; at = at->next) writer.FiberArrived(worker.processor().traced(), FiberOfBlock(*at));
}

__attribute__((noinline)) void TraceStart(Worker& worker, ControlBlock& next, bool follows) {
  TraceWriter writer(worker.trace_thread());
  if (!writer.on()) return;
  if (follows) writer.TakeLastTime();
  writer.FiberStart(worker.processor().traced(), FiberOfBlock(next));
  LabelsRep* const labels = next.labels.load(std::memory_order_relaxed);
  if (labels != nullptr && !next.trace.Load().labelled()) WriteLabels(writer, worker, next, labels);
}

__attribute__((noinline)) void TraceLabels() {
  Worker* const worker = Worker::Current();
  if (worker == nullptr || worker->current() == nullptr || !worker->has_processor()) return;
  TraceWriter writer(worker != nullptr ? worker->trace_thread() : TraceThread::Current());
  if (!writer.on()) return;
  ControlBlock& fiber = *worker->current();
  WriteLabels(writer, *worker, fiber, fiber.labels.load(std::memory_order_relaxed));
}

__attribute__((noinline)) void TraceYield(Worker& worker) {
  TraceWriter writer(worker.trace_thread());
  if (!writer.on()) return;
  const uint64_t stack = FIBERSCOPE_CALLERS_STACK(writer, *worker.current());
  writer.FiberStop(worker.processor().traced(), TracedFiberOf(worker), kYieldTraceReason, stack);
}

__attribute__((noinline)) void TracePark(Worker& worker, WaitReason reason) {
  TraceWriter writer(worker.trace_thread());
  if (!writer.on()) return;
  const uint64_t stack = FIBERSCOPE_CALLERS_STACK(writer, *worker.current());
  const uint64_t why = kFirstWaitTraceReason + static_cast<uint64_t>(reason);
  writer.FiberBlock(worker.processor().traced(), TracedFiberOf(worker), why, stack);
}

__attribute__((noinline)) void TraceExit(Worker& worker) {
  TraceWriter writer(worker.trace_thread());
  if (!writer.on()) return;
  writer.FiberDestroy(worker.processor().traced(), TracedFiberOf(worker));
  DropTraceRegions(*worker.current());
}

__attribute__((noinline)) void TraceBlockingBegin(Worker& worker, const Registers& here) {
  TraceWriter writer(worker.trace_thread());
  if (!writer.on()) return;
  const uint64_t stack = writer.Stack(worker.current()->stack(), here.pc, here.sp, &here);
  writer.BlockingBegin(worker.processor().traced(), TracedFiberOf(worker), stack);
}

__attribute__((noinline)) void TraceBlockingHandOff(Processor& processor) {
  TraceWriter writer(TraceThread::Current());
  if (writer.on()) writer.BlockingHandOff(processor.traced());
}

__attribute__((noinline)) void TraceBlockingEnd(Worker& worker, bool kept) {
  TraceWriter writer(worker.trace_thread());
  if (!writer.on()) return;
  TracedProcessor* const has = worker.has_processor() ? &worker.processor().traced() : nullptr;
  if (kept) return writer.BlockingEnd(*has, TracedFiberOf(worker));
  writer.BlockingEndLost(has, TracedFiberOf(worker));
}

std::vector<TracedRunning> TraceRunningNow() {
  std::vector<TracedRunning> all;
  ForEachFiberThread([&](const RunningFiber& each) {
    const Worker& worker = static_cast<const Worker&>(each);
    ControlBlock* const fiber = worker.current_for_others();
    if (fiber == nullptr) return;
    const StateWord word = fiber->state.Load();
    const TracedFiber traced = FiberOfBlock(*fiber);
    if (word.state() != FiberState::kRunning || traced.id == 0) return;
    for (Processor* const processor : worker.core().processors()) {
      if (processor->worker() != &worker || processor->status().state() != ProcessorState::kRunning) continue;
      // Of one moment: it has not let go of the fiber, so not of the processor either.
      if (worker.current_for_others() != fiber || !fiber->state.Unchanged(word)) return;
      all.push_back({worker.trace_thread(), &processor->traced(), traced, word.bits});
      return;
    }
  });
  return all;
}

__attribute__((noinline)) bool TraceRetake(Processor& processor, BlockingTicket ticket) {
  TraceWriter writer(TraceThread::Current());
  const Worker* const from = processor.worker();
  if (!processor.status().Retake(ticket)) return false;
  if (writer.on()) writer.ProcessorSteal(processor.traced(), static_cast<uint64_t>(from->thread_id()), from->trace_thread());
  return true;
}

}  // namespace internal
}  // namespace fiberscope
