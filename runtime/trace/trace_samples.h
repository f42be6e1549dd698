// Samples of a CPU profile that is taken while a trace is, for the trace.
//
// They come late, from the profile's own thread, about a tenth of a second after they were taken, so that a generation may have
// some of the one before; readers put them in order by their time. Those of the last tenth of a trace are not in it.
//
// Thread-safe. Blocks the thread shortly. 65536 in a generation at most; more are dropped and counted.
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACE_SAMPLES_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACE_SAMPLES_H_

#include <cstdint>
#include <span>

#include "runtime/trace/trace_generation.h"

namespace fiberscope::internal {

// `pcs`: innermost first, the exact pc, then return addresses. Of the sample the stack is not set.
void AddTraceSample(const TraceSample& sample, std::span<const uintptr_t> pcs);

// Moves all so far into the generation, whose stacks are there already: theirs get numbers behind those.
void TakeTraceSamples(TraceGeneration& generation);

// Forgets those that came after the last generation of a trace.
void DropTraceSamples();

// How often there was no room since the process began.
uint64_t LostTraceSamples();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACE_SAMPLES_H_
