#include "server/metrics/mem_stats.h"

#include <algorithm>

namespace fiberscope::server {
namespace {

// The allocator's figures are not of one moment: differences may be a little below zero.
uint64_t Unsigned(int64_t value) { return static_cast<uint64_t>(std::max<int64_t>(value, 0)); }

}  // namespace

MemStats MakeMemStats(const pprof::MemoryStats& memory, const FiberCensus& census, const StackMetrics& stacks) {
  MemStats stats;
  stats.stack_inuse = census.stack_bytes;
  stats.stack_sys = stacks.ready_bytes;
  if (memory.heap) {
    stats.heap_alloc = Unsigned(memory.heap->allocated);
    stats.heap_sys = Unsigned(memory.heap->system);
    stats.heap_idle = Unsigned(memory.heap->free + memory.heap->released);
    stats.heap_inuse = Unsigned(memory.heap->system - memory.heap->free - memory.heap->released);
    stats.heap_released = Unsigned(memory.heap->released);
    stats.mcache_inuse = Unsigned(memory.heap->thread_caches);
    stats.sys = *stats.heap_sys + stats.stack_sys;
  }
  if (memory.allocations) {
    stats.total_alloc = memory.allocations->bytes;
    stats.mallocs = memory.allocations->objects;
    stats.frees = memory.allocations->freed_objects;
    if (*stats.mallocs > *stats.frees) stats.heap_objects = *stats.mallocs - *stats.frees;
  }
  return stats;
}

}  // namespace fiberscope::server
