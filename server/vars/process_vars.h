// The variables that every process has: cmdline and memstats as in Go, fiberscope for what Go does not tell.
#ifndef FIBERSCOPE_SERVER_VARS_PROCESS_VARS_H_
#define FIBERSCOPE_SERVER_VARS_PROCESS_VARS_H_

#include <boost/json/value.hpp>
#include <vector>

#include "runtime/fiber_census.h"
#include "runtime/pause_log.h"
#include "runtime/process_metrics.h"
#include "runtime/process_pools.h"
#include "runtime/request.h"
#include "server/metrics/mem_stats.h"
#include "server/vars/var_registry.h"

namespace fiberscope::server {

// Publishes the three, but for names that are taken: an application may show something else under them.
//   cmdline     the arguments; values of flags that look like secrets are REDACTED (handlers/cmdline.h)
//   memstats    every field of Go's runtime.MemStats, below
//   fiberscope  fibers by state and by what they wait for, stacks, the schedulers' counters, pools by name,
//               pauses: how often and how long by kind, and the latest (runtime/pause_log.h),
//               malformed_identities: what was malformed of requests' identities
void PublishProcessVars(VarRegistry& registry);

// The fields of Go's runtime.MemStats, by name and in order. A figure is real, or null where nobody knows it: those of mem_stats.h
// in a program without tcmalloc; MSpan*, MCacheSys, BuckHashSys and OtherSys always. Go's decoder leaves such fields alone. NextGC
// is null because there is none. Zero is what is zero by nature: everything about a collector that does not exist (GCSys, LastGC,
// PauseTotalNs, NumGC, NumForcedGC, GCCPUFraction; PauseNs and PauseEnd are empty, EnableGC and DebugGC false), and Lookups, as in
// Go. BySize is empty: nobody counts by size.
boost::json::value MemStatsJson(const MemStats& stats);

// Durations in seconds; ends of pauses since 1970.
boost::json::value FiberscopeJson(const ProcessMetrics& metrics, const FiberCensus& census, const std::vector<NamedPools>& pools,
                                  const PauseStats& pauses, const MalformedIdentityCounts& malformed);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_VARS_PROCESS_VARS_H_
