// One execution trace at a time: begins it, cuts it into generations, ends it (trace_writer.h).
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACER_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/trace/trace_generation.h"
#include "runtime/trace/trace_stacks.h"
#include "runtime/trace/trace_writer.h"

namespace fiberscope::internal {

class Tracer {
 public:
  // Calls its argument for every live fiber that waits, is runnable or is in a blocking call, with what it is doing. Must see each
  // fiber that existed before the call and still does.
  using Visit = absl::FunctionRef<void(const TracedFiber&, Traced)>;
  using ForEachFiber = std::function<void(Visit)>;
  // Threads that run a fiber at the moment.
  using RunningNow = std::function<std::vector<TracedRunning>()>;

  // kAlreadyExists: one is going on. kUnimplemented: no membarrier(2).
  static absl::StatusOr<std::unique_ptr<Tracer>> Start(ForEachFiber for_each_fiber, RunningNow running_now);
  ~Tracer();  // Stop(), if that was not called
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // Ends the present generation and returns it, while the next one is recorded. May be empty (no batches). The first one names all
  // fibers. Blocks the thread until all threads were seen outside a section; nobody else waits. Thread-compatible.
  TraceGeneration Next() { return Cut(/*last=*/false); }
  // The last one.
  TraceGeneration Stop();

 private:
  Tracer(ForEachFiber for_each_fiber, RunningNow running_now);
  TraceGeneration Cut(bool last);
  void SweepFibers(std::vector<TraceStatus>& statuses);
  // Those that have been running, all the while, what they ran when the trace began.
  std::vector<TracedRunning> StillRunning() const;

  TraceStackMemo stacks_;
  const ForEachFiber for_each_fiber_;
  const RunningNow running_now_;
  std::vector<TracedRunning> running_at_start_;
  uint32_t generation_ = 0;  // being written
  uint32_t base_ = 0;
  uint64_t start_ = 0;
  bool stopped_ = false;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACER_H_
