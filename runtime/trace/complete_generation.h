// Makes a generation from the middle of a recording one with which a trace can begin.
//
// A reader must hear in a trace's first generation of every fiber that it will ever hear of, but for those that are created later.
// A generation names only those to which something happens in it. What the others were doing all the while is known nevertheless:
//   - If something happens to a fiber in a later generation, then that names it first, with the state it is in; nothing has
//     happened to it since the first one, so that it was in that state there, too.
//   - If nothing happens to it at all, then the trace's state of it says so (traced_state.h): before the last generation was ended
//     somebody looked at those whose state is of a generation before the first one.
// The two overlap, as the last generation went on while somebody looked.
#ifndef FIBERSCOPE_RUNTIME_TRACE_COMPLETE_GENERATION_H_
#define FIBERSCOPE_RUNTIME_TRACE_COMPLETE_GENERATION_H_

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

// The first of `generations`, of which there is at least one, completed by what the others say and by `silence`.
// Thread-safe. Cost: ~1 ns per byte of all of them, and a copy of the first.
std::shared_ptr<const TraceGeneration> CompleteGeneration(const TraceGenerations& generations, const Silence& silence);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_COMPLETE_GENERATION_H_
