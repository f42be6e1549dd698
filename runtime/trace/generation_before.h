// What must stand before a generation from the middle of a recording, so that a trace may begin with it.
//
// A reader must hear in a trace's first generation of every fiber that it will ever hear of, but for those that are created later.
// A generation names only those to which something happens in it. What all were doing when it began is known nevertheless:
//   - If something happens to a fiber, in this generation or a later one, then that generation names it first, with the state that
//     it is in; nothing has happened to it since the beginning, so that it was in that state then, too.
//   - If nothing happens to it at all, then the trace's state of it says so (traced_state.h): before the last generation was ended
//     somebody looked at those whose state is of a generation before this one.
// The two overlap, as the last generation went on while somebody looked.
#ifndef FIBERSCOPE_RUNTIME_TRACE_GENERATION_BEFORE_H_
#define FIBERSCOPE_RUNTIME_TRACE_GENERATION_BEFORE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/trace/trace_generation.h"
#include "runtime/trace/trace_writer.h"

namespace fiberscope::internal {

struct SilentFiber {
  uint64_t fiber = 0;
  TraceFiberStatus status = TraceFiberStatus::kWaiting;  // or kRunnable
  uintptr_t entry_pc = 0;
};

// What was going on of which all generations so far said nothing.
struct Silence {
  std::vector<SilentFiber> fibers;
  std::vector<SilentThread> threads;
};

// A generation to put before `generations`, of which there is at least one, and not the first of a recording: what all fibers were
// doing when that began, from what they say and from `silence`. It has the number and the time before theirs.
// Thread-safe. Cost: ~1 ns per byte of all of them.
std::shared_ptr<const TraceGeneration> GenerationBefore(const TraceGenerations& generations, const Silence& silence);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_GENERATION_BEFORE_H_
