#include "runtime/trace_annotations.h"

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/base/tick_clock.h"
#include "runtime/current_fiber.h"
#include "runtime/fiber_pool.h"
#include "runtime/flight_triggers.h"
#include "runtime/trace_hooks.h"
#include "runtime/worker.h"

namespace fiberscope {

namespace internal {

// One that is open. Owned by the list of its fiber's control block; what a fiber leaves there is dropped when it ends, or,
// if nobody traces then, by the next one on the block.
struct TraceRegionNode {
  uint64_t fiber = 0;
  uint64_t task = 0;
  uint32_t trace = 0;  // TraceWriter::base(): a later trace does not know it
  std::string name;
  TraceRegionNode* outer = nullptr;
};

}  // namespace internal

namespace {

using internal::ControlBlock;
using internal::TracedFiberOf;
using internal::TraceRegionNode;
using internal::TraceWriter;
using internal::Worker;

struct TaskInContext {
  uint64_t id;
  uint32_t trace;
};
constexpr ContextKey<TaskInContext> kTask("trace task");

constinit std::atomic<uint64_t> g_next_task{1};
constinit std::atomic<uint64_t> g_misused{0};

// The calling fiber's worker, if an event can be written.
Worker* WorkerToTrace() {
  Worker* const worker = Worker::Current();
  return worker != nullptr && worker->current() != nullptr && worker->has_processor() ? worker : nullptr;
}

uint64_t TaskOf(const TraceWriter& writer) {
  const Context context = this_fiber::context();
  const TaskInContext* const task = context.Get(kTask);
  return task != nullptr && task->trace == writer.base() ? task->id : 0;
}

}  // namespace

// Those of the fiber itself.
TraceRegionNode*& RegionsOf(ControlBlock& fiber) {
  TraceRegionNode*& regions = internal::FiberPool::TraceRegionsOf(fiber);
  while (regions != nullptr && regions->fiber != fiber.fiber_id().value) {
    const std::unique_ptr<TraceRegionNode> dropped(std::exchange(regions, regions->outer));
  }
  return regions;
}

// Each of these is the innermost frame of its event's stack; FIBERSCOPE_CALLERS_STACK begins with its caller.

__attribute__((noinline)) void TraceTask::Begin(std::string_view name) {
  {
    Worker* const worker = WorkerToTrace();
    if (worker == nullptr) return;
    TraceWriter writer(worker->trace_thread());
    if (!writer.on()) return;
    const uint64_t id = g_next_task.fetch_add(1, std::memory_order_relaxed);
    const uint64_t stack = FIBERSCOPE_CALLERS_STACK(writer, *worker->current());
    const auto arguments = {id, TaskOf(writer), writer.String(name), stack};
    if (!writer.Annotate(worker->processor().traced(), TracedFiberOf(*worker), TraceEvent::kTaskBegin, arguments)) return;
    id_ = id;
    trace_ = writer.base();
  }
  if (internal::g_slow_task_ns.load(std::memory_order_relaxed) != INT64_MAX) {
    begin_ns_ = TickNowNs();
    name_ = name;
  }
  scope_.emplace(this_fiber::context().With(kTask, TaskInContext{id_, trace_}));
}

void TraceTask::TellIfSlow() const {
  const int64_t duration_ns = TickNowNs() - begin_ns_;
  if (duration_ns <= internal::g_slow_task_ns.load(std::memory_order_relaxed)) return;
  const auto trigger = internal::g_flight_trigger.load(std::memory_order_acquire);
  if (trigger != nullptr) trigger(absl::StrFormat("slow task %s: %d ms", name_, duration_ns / 1'000'000));
}

__attribute__((noinline)) void TraceTask::End() {
  scope_.reset();
  EndInTrace();
  if (begin_ns_ != 0) TellIfSlow();
}

__attribute__((noinline)) void TraceTask::EndInTrace() {
  Worker* const worker = WorkerToTrace();
  if (worker == nullptr) return;
  TraceWriter writer(worker->trace_thread());
  if (!writer.on() || writer.base() != trace_) return;
  const uint64_t stack = FIBERSCOPE_CALLERS_STACK(writer, *worker->current());
  (void)writer.Annotate(worker->processor().traced(), TracedFiberOf(*worker), TraceEvent::kTaskEnd, {id_, stack});
}

__attribute__((noinline)) void TraceRegion::Begin(std::string_view name) {
  Worker* const worker = WorkerToTrace();
  if (worker == nullptr) return;
  TraceWriter writer(worker->trace_thread());
  if (!writer.on()) return;
  ControlBlock& fiber = *worker->current();
  const uint64_t task = TaskOf(writer);
  const uint64_t stack = FIBERSCOPE_CALLERS_STACK(writer, fiber);
  const auto arguments = {task, writer.String(name), stack};
  if (!writer.Annotate(worker->processor().traced(), TracedFiberOf(*worker), TraceEvent::kRegionBegin, arguments)) return;
  TraceRegionNode*& regions = RegionsOf(fiber);
  node_ = regions = new TraceRegionNode{fiber.fiber_id().value, task, writer.base(), std::string(name), regions};
}

__attribute__((noinline)) void TraceRegion::End() {
  ControlBlock* const fiber = internal::CurrentFiber();
  const auto is_open = [&] {
    if (fiber == nullptr) return false;
    for (const TraceRegionNode* at = RegionsOf(*fiber); at != nullptr; at = at->outer) {
      if (at == node_) return true;
    }
    return false;
  };
  if (!is_open()) {
    g_misused.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  TraceRegionNode*& regions = RegionsOf(*fiber);
  if (regions != node_) g_misused.fetch_add(1, std::memory_order_relaxed);
  Worker* const worker = WorkerToTrace();
  TraceWriter writer(worker == nullptr ? nullptr : worker->trace_thread());
  const uint64_t stack = writer.on() ? FIBERSCOPE_CALLERS_STACK(writer, *fiber) : 0;
  for (bool last = false; !last;) {
    const std::unique_ptr<TraceRegionNode> node(std::exchange(regions, regions->outer));
    last = node.get() == node_;
    if (!writer.on() || writer.base() != node->trace) continue;
    const auto arguments = {node->task, writer.String(node->name), stack};
    (void)writer.Annotate(worker->processor().traced(), TracedFiberOf(*worker), TraceEvent::kRegionEnd, arguments);
  }
}

__attribute__((noinline)) void TraceLog(std::string_view key, std::string_view value) {
  if (!internal::TraceOn()) return;
  Worker* const worker = WorkerToTrace();
  if (worker == nullptr) return;
  TraceWriter writer(worker->trace_thread());
  if (!writer.on()) return;
  const uint64_t stack = FIBERSCOPE_CALLERS_STACK(writer, *worker->current());
  const auto arguments = {TaskOf(writer), writer.String(key), writer.String(value), stack};
  (void)writer.Annotate(worker->processor().traced(), TracedFiberOf(*worker), TraceEvent::kLog, arguments);
}

void internal::DropTraceRegions(ControlBlock& fiber) {
  TraceRegionNode*& regions = FiberPool::TraceRegionsOf(fiber);
  while (regions != nullptr) {
    const std::unique_ptr<TraceRegionNode> dropped(std::exchange(regions, regions->outer));
  }
}

uint64_t MisusedTraceRegions() { return g_misused.load(std::memory_order_relaxed); }

}  // namespace fiberscope
