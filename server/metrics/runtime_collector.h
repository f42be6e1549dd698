// What Fiberscope knows, as metrics: go_* by the names that stock Go dashboards ask for, fiber_* for what Go does not tell.
//
// Few series, whatever the process does: labels are states, wait reasons, kinds, and names of pools (kMaxPoolNames at most). A
// figure that nobody knows is not there (mem_stats.h: heap figures need tcmalloc, allocation counts its sampling; contention needs
// its profiles). Zero is exported where it is true: go_memstats_gc_sys_bytes, and the pauses of a collector that does not exist,
// whose quantiles are NaN, as of any empty summary. The pauses there are (runtime/pause_log.h) are fiber_pauses_total; those of
// listings also go_sched_pauses_total_other_seconds, which in Go is whatever else stops the world. Counters are sums over all
// schedulers and pools there were: none goes down.
#ifndef FIBERSCOPE_SERVER_METRICS_RUNTIME_COLLECTOR_H_
#define FIBERSCOPE_SERVER_METRICS_RUNTIME_COLLECTOR_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "pprof/memory_stats.h"
#include "runtime/contention.h"
#include "runtime/fiber_census.h"
#include "runtime/pause_log.h"
#include "runtime/process_metrics.h"
#include "runtime/process_pools.h"
#include "runtime/request.h"

namespace fiberscope::server {

struct RuntimeFigures {
  ProcessMetrics metrics = {};
  FiberCensus census = {};
  std::vector<NamedPools> pools = {};
  PauseStats pauses = {};
  pprof::MemoryStats memory = {};
  int64_t fibers = 0;
  int64_t threads = 0;
  // Once their profiles were switched on.
  std::optional<ContentionTotals> block = {};
  std::optional<ContentionTotals> mutex = {};
  // Of execution traces (execution_trace.h).
  uint64_t dropped_trace_events = 0;
  uint64_t lost_trace_stacks = 0;
  uint64_t lost_trace_texts = 0;
  MalformedIdentityCounts malformed = {};
};

// Thread-safe. Blocks the thread as long as what is read does: milliseconds for 100,000 fibers.
RuntimeFigures ReadRuntimeFigures();

// Thread-safe (pure function).
std::vector<prometheus::MetricFamily> RuntimeFamilies(const RuntimeFigures& figures);

// The figures of each moment that it is asked, and how long reading them took. Thread-safe.
class RuntimeCollector : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_RUNTIME_COLLECTOR_H_
