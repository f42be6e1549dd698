#include "runtime/execution_trace.h"

#include <atomic>
#include <utility>

#include "runtime/trace/trace_samples.h"
#include "runtime/trace/trace_stacks.h"
#include "runtime/trace/trace_strings.h"
#include "runtime/trace/tracer.h"
#include "runtime/trace_sources.h"

namespace fiberscope {
namespace {

using internal::Tracer;

// Traces are one at a time; a flight recorder (flight_recorder.h) may listen besides.
constinit std::atomic<bool> g_in_use{false};

}  // namespace

absl::StatusOr<std::unique_ptr<ExecutionTrace>> ExecutionTrace::Start() {
  if (g_in_use.exchange(true, std::memory_order_acquire)) return absl::AlreadyExistsError("tracing is already enabled");
  absl::StatusOr<std::unique_ptr<Tracer>> tracer = Tracer::Start(internal::TraceSources());
  if (tracer.ok()) return std::unique_ptr<ExecutionTrace>(new ExecutionTrace(*std::move(tracer)));
  g_in_use.store(false, std::memory_order_release);
  return tracer.status();
}

ExecutionTrace::ExecutionTrace(std::unique_ptr<Tracer> tracer) : tracer_(std::move(tracer)) {}

ExecutionTrace::~ExecutionTrace() {
  if (tracer_ != nullptr) (void)Stop();
}

TraceGenerations ExecutionTrace::Next() { return tracer_->Next(); }

TraceGenerations ExecutionTrace::Stop() {
  TraceGenerations last = tracer_->Stop();
  tracer_ = nullptr;
  g_in_use.store(false, std::memory_order_release);
  return last;
}

void ExecutionTrace::NoteHeapBytes(uint64_t bytes) {
  internal::g_trace_heap_bytes.store(bytes, std::memory_order_relaxed);
  internal::g_trace_due.fetch_or(internal::kTraceHeapDue, std::memory_order_relaxed);
}

uint64_t ExecutionTrace::dropped_events() { return internal::DroppedTraceEvents(); }

uint64_t ExecutionTrace::lost_stacks() { return internal::LostTraceStacks(); }

uint64_t ExecutionTrace::lost_samples() { return internal::LostTraceSamples(); }

uint64_t ExecutionTrace::lost_texts() { return internal::LostTraceStrings(); }

}  // namespace fiberscope
