// What Go's runtime.MemStats tells, as far as it is known here: the one mapping for /debug/vars and /metrics.
//
// The heap is tcmalloc's (pprof/memory_stats.h), stacks are fibers'. As in Go, Sys figures are addresses taken from the system,
// whether memory stands behind them or not.
#ifndef FIBERSCOPE_SERVER_METRICS_MEM_STATS_H_
#define FIBERSCOPE_SERVER_METRICS_MEM_STATS_H_

#include <cstdint>
#include <optional>

#include "pprof/memory_stats.h"
#include "runtime/fiber_census.h"
#include "runtime/process_metrics.h"

namespace fiberscope::server {

// Bytes, but for the counts. Named after Go's fields. What is not known is not there: heap figures without tcmalloc; estimates
// unless the heap is sampled, and then they begin when that began.
struct MemStats {
  std::optional<uint64_t> heap_alloc = {};     // in use by the application; Go's Alloc too
  std::optional<uint64_t> heap_sys = {};       // taken from the system
  std::optional<uint64_t> heap_idle = {};      // of it in no use, backed by memory or not
  std::optional<uint64_t> heap_inuse = {};     // the rest: with caches and what is lost to rounding
  std::optional<uint64_t> heap_released = {};  // of heap_idle: not backed by memory
  std::optional<uint64_t> mcache_inuse = {};   // free objects in threads' caches; part of heap_inuse, unlike Go's
  std::optional<uint64_t> sys = {};            // heap_sys and stack_sys
  std::optional<uint64_t> total_alloc = {};    // estimate
  std::optional<uint64_t> mallocs = {};        // a count; estimate
  std::optional<uint64_t> frees = {};          // a count; estimate
  std::optional<uint64_t> heap_objects = {};   // a count; estimate, of the samples that live
  uint64_t stack_inuse = 0;               // of fibers that are alive, used or not
  uint64_t stack_sys = 0;                 // of all that are ready for use, guard pages included
};

// Thread-safe (pure function).
MemStats MakeMemStats(const pprof::MemoryStats& memory, const FiberCensus& census, const StackMetrics& stacks);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_MEM_STATS_H_
