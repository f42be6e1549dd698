// An execution trace: what every fiber, processor and worker of this process did, moment by moment, with who woke whom and where.
//
//   auto trace = fiberscope::ExecutionTrace::Start();
//   if (!trace.ok()) ...
//   while (more_is_wanted) { sleep a second; Use((*trace)->Next()); }
//   Use((*trace)->Stop());
//
// Generations are records, not a format: pprof/trace makes files of them. Nothing is stopped for a trace, neither to begin nor to
// end it. What has been recorded is kept in memory until Next() takes it, ~6 bytes an event: call it about once a second. For what
// has happened already there is the flight recorder (flight_recorder.h), which may go on besides.
//
// A CPU profile (cpu_profiler.h) that is taken at the same time is in the trace, sample by sample, but for the last tenth of a
// second.
//
// What a trace does not show: on which thread those fibers are that were in a blocking call when it began. They seem to wait; their
// first event shows them.
//
// Thread-compatible. Blocks the thread shortly. Cost while one is taken: 20 to 50 ns per event; otherwise one load and one branch
// each.
#ifndef FIBERSCOPE_RUNTIME_EXECUTION_TRACE_H_
#define FIBERSCOPE_RUNTIME_EXECUTION_TRACE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "runtime/trace/trace_generation.h"

namespace fiberscope {

namespace internal {
class Tracer;
}

class ExecutionTrace {
 public:
  // kAlreadyExists: there is one; the process has one at a time. kUnimplemented: the kernel has no membarrier(2), or forbids it.
  static absl::StatusOr<std::unique_ptr<ExecutionTrace>> Start();

  // Ends a trace that was not stopped.
  ~ExecutionTrace();
  ExecutionTrace(const ExecutionTrace&) = delete;
  ExecutionTrace& operator=(const ExecutionTrace&) = delete;

  // What was recorded since the start or the last call: one generation, or more if the flight recorder has cut it, too. Recording
  // goes on. The first one of all names every live fiber. May have no batches.
  TraceGenerations Next();
  // The last ones. Then nothing else may be called.
  TraceGenerations Stop();

  // How many bytes the program has allocated, if somebody knows: whoever records shows it as a counter. Cheap. Thread-safe.
  static void NoteHeapBytes(uint64_t bytes);

  // Events that were left out because they would not have fitted what the trace said before, since the process began. More than
  // a few at the beginnings of traces are a fault in Fiberscope.
  static uint64_t dropped_events();
  // Stacks and texts for which there was no room (32 MiB of distinct stacks; 8 MiB of texts a generation): shown as none. Samples
  // of a CPU profile (65536 a generation): left out.
  static uint64_t lost_stacks();
  static uint64_t lost_texts();
  static uint64_t lost_samples();

 private:
  explicit ExecutionTrace(std::unique_ptr<internal::Tracer> tracer);
  std::unique_ptr<internal::Tracer> tracer_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_EXECUTION_TRACE_H_
