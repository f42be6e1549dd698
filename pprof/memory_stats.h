// What the allocator says of the memory of this process, for those who are not to know which allocator that is.
#ifndef FIBERSCOPE_PPROF_MEMORY_STATS_H_
#define FIBERSCOPE_PPROF_MEMORY_STATS_H_

#include <cstdint>
#include <optional>

#include "pprof/gperftools/heap_samples.h"

namespace fiberscope::pprof {

// Since sampling was switched on. Estimates, made of the samples of the heap profile; they never go down.
struct Allocations {
  uint64_t objects = 0;
  uint64_t bytes = 0;
  uint64_t freed_objects = 0;
  uint64_t lost_samples = 0;  // not contained in these
};

// What is not known is not there.
struct MemoryStats {
  std::optional<HeapStats> heap = {};           // in a program that allocates with tcmalloc
  std::optional<Allocations> allocations = {};  // if its heap was ever sampled (SetHeapSampleRate)
};

// Thread-safe. Blocks the thread shortly. Cost: 0.5 us per sample that lives.
MemoryStats ReadMemoryStats();

// What the samples stand for. Thread-safe (pure function).
Allocations EstimateAllocations(const HeapSnapshot& snapshot);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_MEMORY_STATS_H_
