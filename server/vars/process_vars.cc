#include "server/vars/process_vars.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "pprof/memory_stats.h"
#include "server/handlers/cmdline.h"

namespace fiberscope::server {
namespace {

namespace json = boost::json;

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

json::value OrNull(const std::optional<uint64_t>& value) { return value ? json::value(*value) : json::value(nullptr); }

json::value Cmdline() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  if (!file) return nullptr;
  const std::string text = RedactCmdline(std::string(std::istreambuf_iterator<char>(file), {}));
  json::array arguments;
  for (std::string_view rest = text;;) {
    const size_t end = rest.find('\0');
    arguments.emplace_back(rest.substr(0, end));
    if (end == std::string_view::npos) return arguments;
    rest.remove_prefix(end + 1);
  }
}

json::object Fibers(const FiberCensus& census, const SchedulerMetrics& totals) {
  json::object by_state;
  for (int i = static_cast<int>(FiberState::kNew); i < kFiberStateCount; ++i) {
    by_state[StateName(static_cast<FiberState>(i))] = census.by_state[static_cast<size_t>(i)];
  }
  json::object by_reason;
  json::object longest;
  for (int i = static_cast<int>(WaitReason::kSleep); i < kWaitReasonCount; ++i) {
    const FiberCensus::Group& group = census.by_reason[static_cast<size_t>(i)];
    if (group.fibers == 0) continue;
    const char* const name = WaitReasonName(static_cast<WaitReason>(i));
    by_reason[name] = group.fibers;
    longest[name] = Seconds(group.longest);
  }
  if (census.blocking.fibers != 0) longest["blocking"] = Seconds(census.blocking.longest);
  return {{"alive", census.fibers()},  {"spawned", totals.spawned}, {"finished", totals.finished},
          {"by_state", by_state},      {"waiting_for", by_reason},  {"longest_wait_seconds", longest}};
}

json::object Durations(const DurationHistogram& histogram) {
  return {{"count", histogram.count()}, {"sum_seconds", Seconds(histogram.sum)}};
}

json::object Scheduler(const NamedMetrics& named) {
  const SchedulerMetrics& metrics = named.metrics;
  json::object states;
  for (const ProcessorState state :
       {ProcessorState::kIdle, ProcessorState::kRunning, ProcessorState::kBlocking, ProcessorState::kRetired}) {
    states[ProcessorStateName(state)] = 0;
  }
  for (const ProcessorMetrics& each : metrics.processors) {
    json::value& count = states[ProcessorStateName(each.state)];
    count = count.to_number<int64_t>() + 1;
  }
  return {
      {"name", named.name},
      {"processors", named.processors},
      {"processors_by_state", states},
      {"lent_processors", metrics.lent_processors},
      {"workers", metrics.workers},
      {"worker_failures", metrics.worker_failures},
      {"fibers", metrics.spawned - metrics.finished},
      {"fibers_peak", metrics.live_peak},
      {"spawned", metrics.spawned},
      {"queued", metrics.queued},
      {"shared_queued", metrics.shared_queued},
      {"switches", metrics.switches},
      {"idle_yields", metrics.idle_yields},
      {"steals_tried", metrics.steals_tried},
      {"steals", metrics.steals},
      {"overflows", metrics.overflows},
      {"injections", metrics.injections},
      {"reactor_polls", metrics.reactor_polls},
      {"futex_sleeps", metrics.futex_sleeps},
      {"reactor_sleeps", metrics.reactor_sleeps},
      {"futex_wakes", metrics.futex_wakes},
      {"reactor_wakes", metrics.reactor_wakes},
      {"blocking_calls", metrics.blocking_calls},
      {"handoffs", metrics.handoffs},
      {"retakes", metrics.retakes},
      {"stalls_blocked", metrics.stalls_blocked},
      {"stalls_computing", metrics.stalls_computing},
      {"monitor_ticks", metrics.monitor_ticks},
      {"scheduling_latency", Durations(metrics.scheduling_latency)},
      {"run_slice", Durations(metrics.run_slice)},
  };
}

json::object PoolsOfName(const NamedPools& named) {
  return {
      {"name", named.name},
      {"pools", named.pools},
      {"fibers", named.fibers},
      {"active", named.metrics.active},
      {"queued", named.metrics.queued},
      {"blocked", named.metrics.blocked},
      {"submitted", named.metrics.submitted},
      {"completed", named.metrics.completed},
      {"cancelled", named.metrics.cancelled},
      {"rejected", named.metrics.rejected},
      {"caller_runs", named.metrics.caller_runs},
      {"wait_sum_seconds", Seconds(std::chrono::nanoseconds(named.metrics.wait_ns_sum))},
  };
}

json::value Quantiles(const std::optional<PauseQuantiles>& quantiles) {
  if (!quantiles) return nullptr;
  json::array seconds;
  for (const std::chrono::nanoseconds each : *quantiles) seconds.push_back(Seconds(each));
  return seconds;
}

json::object Pauses(const PauseStats& pauses) {
  json::object kinds;
  for (int i = 0; i < kPauseKindCount; ++i) {
    const PauseKind kind = static_cast<PauseKind>(i);
    kinds[PauseKindName(kind)] = {{"count", pauses.of(kind).count()},
                                  {"total_seconds", Seconds(pauses.of(kind).sum)},
                                  {"quantiles_seconds", Quantiles(QuantilesOf(pauses.latest, kind))}};
  }
  json::array latest;
  for (const Pause& each : pauses.latest) {
    latest.push_back({{"kind", PauseKindName(each.kind)},
                      {"end", Seconds(each.end.time_since_epoch())},
                      {"seconds", Seconds(each.duration)}});
  }
  return {{"count", pauses.count()},
          {"total_seconds", Seconds(pauses.total())},
          {"quantiles_seconds", Quantiles(QuantilesOf(pauses.latest))},
          {"by_kind", kinds},
          {"latest", latest}};
}

}  // namespace

void PublishProcessVars(VarRegistry& registry) {
  registry.PublishFunc("cmdline", &Cmdline).IgnoreError();
  registry
      .PublishFunc("memstats",
                   [] {
                     return MemStatsJson(MakeMemStats(pprof::ReadMemoryStats(), TakeFiberCensus(), ReadProcessMetrics().stacks));
                   })
      .IgnoreError();
  registry
      .PublishFunc("fiberscope",
                   [] {
                     return FiberscopeJson(ReadProcessMetrics(), TakeFiberCensus(), ReadPools(), ReadPauses(),
                                           MalformedIdentities());
                   })
      .IgnoreError();
}

json::value MemStatsJson(const MemStats& stats) {
  const json::value none(nullptr);
  return json::object{
      {"Alloc", OrNull(stats.heap_alloc)},
      {"TotalAlloc", OrNull(stats.total_alloc)},
      {"Sys", OrNull(stats.sys)},
      {"Lookups", 0},
      {"Mallocs", OrNull(stats.mallocs)},
      {"Frees", OrNull(stats.frees)},
      {"HeapAlloc", OrNull(stats.heap_alloc)},
      {"HeapSys", OrNull(stats.heap_sys)},
      {"HeapIdle", OrNull(stats.heap_idle)},
      {"HeapInuse", OrNull(stats.heap_inuse)},
      {"HeapReleased", OrNull(stats.heap_released)},
      {"HeapObjects", OrNull(stats.heap_objects)},
      {"StackInuse", stats.stack_inuse},
      {"StackSys", stats.stack_sys},
      {"MSpanInuse", none},
      {"MSpanSys", none},
      {"MCacheInuse", OrNull(stats.mcache_inuse)},
      {"MCacheSys", none},
      {"BuckHashSys", none},
      {"GCSys", 0},
      {"OtherSys", none},
      {"NextGC", none},
      {"LastGC", 0},
      {"PauseTotalNs", 0},
      {"PauseNs", json::array()},
      {"PauseEnd", json::array()},
      {"NumGC", 0},
      {"NumForcedGC", 0},
      {"GCCPUFraction", 0},
      {"EnableGC", false},
      {"DebugGC", false},
      {"BySize", json::array()},
  };
}

json::value FiberscopeJson(const ProcessMetrics& metrics, const FiberCensus& census, const std::vector<NamedPools>& pools,
                           const PauseStats& pauses, const MalformedIdentityCounts& malformed) {
  json::array schedulers;
  for (const NamedMetrics& each : metrics.schedulers) schedulers.push_back(Scheduler(each));
  json::array names;
  for (const NamedPools& each : pools) names.push_back(PoolsOfName(each));
  return json::object{
      {"fibers", Fibers(census, metrics.totals)},
      {"stacks",
       {{"guards", metrics.stacks.guards},
        {"ready", metrics.stacks.ready},
        {"unguarded", metrics.stacks.unguarded},
        {"ready_bytes", metrics.stacks.ready_bytes},
        {"in_use_bytes", census.stack_bytes}}},
      {"schedulers", schedulers},
      {"pools", names},
      {"pauses", Pauses(pauses)},
      {"malformed_identities",
       {{"request_ids", malformed.request_ids},
        {"traceparents", malformed.traceparents},
        {"tracestates", malformed.tracestates}}},
  };
}

}  // namespace fiberscope::server
