// Records what all threads do, for everyone who wants it, and cuts it into generations (trace_writer.h).
//
// A process makes one recording at a time: it begins with the first tracer and ends with the last. All of them get the same
// generations; who ends one ends it for all. A tracer that comes later begins with a generation of its own, before which it gets
// another one that says what was going on (generation_before.h), so that it can be read without what others got before.
//
// Thread-safe, but for one tracer, which is thread-compatible. Blocks the thread until all threads were seen outside a section, and
// while another tracer does; nobody else waits.
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACER_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/trace/generation_before.h"
#include "runtime/trace/trace_generation.h"
#include "runtime/trace/trace_writer.h"

namespace fiberscope::internal {

class Tracer {
 public:
  // Calls its argument for every live fiber, with what it is doing (kUnknown: it is being made). Must see each fiber that existed
  // before the call and still does.
  using Visit = absl::FunctionRef<void(const TracedFiber&, Traced)>;
  struct Sources {
    std::function<void(Visit)> for_each_fiber;
    // Threads that run a fiber at the moment.
    std::function<std::vector<TracedRunning>()> running_now;
  };

  // kUnimplemented: no membarrier(2). kFailedPrecondition: in the child of a fork whose parent was recording. `sources` are used by
  // who begins the recording, until it ends: the same ones for everyone.
  static absl::StatusOr<std::unique_ptr<Tracer>> Start(const Sources& sources);
  ~Tracer();  // Stop(), if that was not called
  Tracer(const Tracer&) = delete;
  Tracer& operator=(const Tracer&) = delete;

  // Ends the present generation, and gives out what was recorded since the start or the last call. The first call's names every
  // fiber. Generations may be empty (no batches).
  TraceGenerations Next();
  // The last ones.
  TraceGenerations Stop();

  // -- For who keeps the past, instead of Next().

  // Ends the present generation and keeps it.
  void Cut();
  // Forgets the oldest generations while those left are of more than `max_bytes`, or at least `min_age` old, but for the last one.
  void Trim(uint64_t max_bytes, std::chrono::nanoseconds min_age);
  // Ends the present generation and gives out everything that is kept, which remains so. The first one names every fiber.
  TraceGenerations Look();

 private:
  friend struct Recording;

  struct Kept {
    uint32_t number = 0;  // of the process (traced_state.h)
    std::shared_ptr<const TraceGeneration> generation;
    uint64_t bytes = 0;
    uint64_t end = 0;  // ticks
  };

  Tracer() = default;
  TraceGenerations CutAndList(bool last, bool first);

  std::deque<Kept> kept_;  // GUARDED_BY the recording's mutex: whoever cuts adds to it
  bool begun_ = false;  // Next() has given out a first generation
  bool stopped_ = false;
};

// Bytes that are being recorded in the present generation, to within 32 KiB a thread.
uint64_t TraceBytesBeingRecorded();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACER_H_
