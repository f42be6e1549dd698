#include "server/metrics/runtime_collector.h"

#include <array>
#include <chrono>
#include <string>
#include <utility>

#include "runtime/execution_trace.h"
#include "runtime/process_threads.h"
#include "runtime/registry.h"
#include "server/metrics/family_list.h"
#include "server/metrics/mem_stats.h"

namespace fiberscope::server {
namespace {

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

double Value(uint64_t value) { return static_cast<double>(value); }

// None: the profile is off and always was.
std::optional<ContentionTotals> Contended(Contention kind, bool is_on) {
  const ContentionTotals totals = ReadContentionTotals(kind);
  if (!is_on && totals.count == 0) return std::nullopt;
  return totals;
}

uint64_t ProcessorsSet(const ProcessMetrics& metrics) {
  uint64_t sum = 0;
  for (const NamedMetrics& each : metrics.schedulers) sum += each.processors;
  return sum;
}

uint64_t ProcessorsIn(ProcessorState state, const ProcessMetrics& metrics) {
  uint64_t count = 0;
  for (const NamedMetrics& scheduler : metrics.schedulers) {
    for (const ProcessorMetrics& each : scheduler.metrics.processors) count += each.state == state ? 1 : 0;
  }
  return count;
}

// ---- Go's names. Types and meaning: client_golang's Go collector, and Go 1.27's runtime/metrics.

void AddGoScheduler(const RuntimeFigures& figures, FamilyList& list) {
  const FiberCensus& census = figures.census;
  const SchedulerMetrics& totals = figures.metrics.totals;
  list.Gauge("go_goroutines", "Fibers that are alive.", static_cast<double>(figures.fibers));
  list.Gauge("go_threads", "Threads of the process.", static_cast<double>(figures.threads));
  list.Gauge("go_info", "What runs here in place of Go.", 1, {{"version", "fiberscope"}});
  list.Gauge("go_sched_gomaxprocs_threads", "Processors of all schedulers, as set: how many fibers may run at once.",
             Value(ProcessorsSet(figures.metrics)));
  list.Gauge("go_sched_goroutines_goroutines", "Fibers that are alive.", static_cast<double>(figures.fibers));
  list.Gauge("go_sched_goroutines_runnable_goroutines", "Fibers that are ready to run and do not.",
             Value(census.in(FiberState::kRunnable)));
  list.Gauge("go_sched_goroutines_running_goroutines", "Fibers that run.", Value(census.in(FiberState::kRunning)));
  list.Gauge("go_sched_goroutines_waiting_goroutines", "Fibers that wait for something.", Value(census.in(FiberState::kWaiting)));
  list.Gauge("go_sched_goroutines_not_in_go_goroutines", "Fibers in calls that block the thread.",
             Value(census.in(FiberState::kBlocking)));
  list.Counter("go_sched_goroutines_created_goroutines_total", "Fibers that were spawned.", Value(totals.spawned));
  list.Gauge("go_sched_threads_total_threads", "Threads of the process.", static_cast<double>(figures.threads));
  list.Histogram("go_sched_latencies_seconds", "From being made runnable to running, of fibers; sampled.",
                 totals.scheduling_latency);
  list.Histogram("go_sched_pauses_total_other_seconds", "How long listings of one instant held all threads that run fibers.",
                 figures.pauses.of(PauseKind::kListing));
  if (figures.mutex) {
    list.Counter("go_sync_mutex_wait_total_seconds_total", "Waits for mutexes; from the samples of the mutex profile.",
                 Seconds(figures.mutex->delay));
  }
}

void AddGoMemory(const RuntimeFigures& figures, FamilyList& list) {
  const MemStats stats = MakeMemStats(figures.memory, figures.census, figures.metrics.stacks);
  list.Summary("go_gc_duration_seconds", "Pauses of the garbage collector, of which there is none.", 0, 0, {0, 0.25, 0.5, 0.75, 1});
  list.Gauge("go_memstats_alloc_bytes", "Heap in use.", stats.heap_alloc);
  list.Counter("go_memstats_alloc_bytes_total", "Allocated since the heap is sampled; estimate.", stats.total_alloc);
  list.Counter("go_memstats_mallocs_total", "Allocations since the heap is sampled; estimate.", stats.mallocs);
  list.Counter("go_memstats_frees_total", "Of these freed; estimate.", stats.frees);
  list.Gauge("go_memstats_heap_objects", "Of these in use; estimate.", stats.heap_objects);
  list.Gauge("go_memstats_sys_bytes", "Addresses taken from the system for heap and stacks.", stats.sys);
  list.Gauge("go_memstats_heap_alloc_bytes", "Heap in use.", stats.heap_alloc);
  list.Gauge("go_memstats_heap_sys_bytes", "Heap taken from the system.", stats.heap_sys);
  list.Gauge("go_memstats_heap_idle_bytes", "Of that in no use.", stats.heap_idle);
  list.Gauge("go_memstats_heap_inuse_bytes", "Of that the rest: in use, in caches, lost to rounding.", stats.heap_inuse);
  list.Gauge("go_memstats_heap_released_bytes", "Of what is idle: given back to the system.", stats.heap_released);
  list.Gauge("go_memstats_stack_inuse_bytes", "Addresses of the stacks of fibers that are alive.", Value(stats.stack_inuse));
  list.Gauge("go_memstats_stack_sys_bytes", "Addresses of all stacks that are ready for use.", Value(stats.stack_sys));
  list.Gauge("go_memstats_mcache_inuse_bytes", "Free objects in the threads' caches; part of the heap in use.", stats.mcache_inuse);
  list.Gauge("go_memstats_gc_sys_bytes", "Memory of the garbage collector, of which there is none.", 0);
}

// ---- Ours.

void AddFibers(const RuntimeFigures& figures, FamilyList& list) {
  for (int i = static_cast<int>(FiberState::kNew); i < kFiberStateCount; ++i) {
    const FiberState state = static_cast<FiberState>(i);
    list.Gauge("fiber_fibers", "Fibers by state.", Value(figures.census.in(state)), {{"state", StateName(state)}});
  }
  for (int i = static_cast<int>(WaitReason::kSleep); i < kWaitReasonCount; ++i) {
    const WaitReason reason = static_cast<WaitReason>(i);
    list.Gauge("fiber_waiting", "Waiting fibers by what they wait for.", Value(figures.census.waiting_for(reason).fibers),
               {{"reason", WaitReasonName(reason)}});
  }
  const char* const oldest = "fiber_oldest_wait_seconds";
  const char* const oldest_help = "How long the fiber has waited that has waited longest; 0 if none does.";
  for (int i = static_cast<int>(WaitReason::kSleep); i < kWaitReasonCount; ++i) {
    const WaitReason reason = static_cast<WaitReason>(i);
    list.Gauge(oldest, oldest_help, Seconds(figures.census.waiting_for(reason).longest), {{"reason", WaitReasonName(reason)}});
  }
  list.Gauge(oldest, oldest_help, Seconds(figures.census.blocking.longest), {{"reason", "blocking call"}});
  list.Counter("fiber_spawned_total", "Fibers that were spawned.", Value(figures.metrics.totals.spawned));
  list.Counter("fiber_finished_total", "Fibers that have ended.", Value(figures.metrics.totals.finished));
}

void AddScheduling(const ProcessMetrics& metrics, FamilyList& list) {
  const SchedulerMetrics& totals = metrics.totals;
  list.Counter("fiber_switches_total", "Switches to fibers.", Value(totals.switches));
  list.Counter("fiber_idle_yields_total", "Yields that found nobody else to run.", Value(totals.idle_yields));
  const char* const depth = "fiber_queue_depth";
  const char* const depth_help = "Runnable fibers in the processors' queues and in the shared ones.";
  list.Gauge(depth, depth_help, Value(totals.queued - totals.shared_queued), {{"queue", "processor"}});
  list.Gauge(depth, depth_help, Value(totals.shared_queued), {{"queue", "shared"}});
  list.Counter("fiber_queue_overflows_total", "Times half of a full queue went to the shared one.", Value(totals.overflows));
  list.Counter("fiber_injections_total", "Fibers that were put into a shared queue.", Value(totals.injections));
  list.Counter("fiber_steals_tried_total", "Rounds over other processors' queues.", Value(totals.steals_tried));
  list.Counter("fiber_steals_total", "Of these brought fibers.", Value(totals.steals));
  for (const ProcessorState state : {ProcessorState::kIdle, ProcessorState::kRunning, ProcessorState::kBlocking}) {
    list.Gauge("fiber_processors", "Processors by state.", Value(ProcessorsIn(state, metrics)),
               {{"state", ProcessorStateName(state)}});
  }
  list.Gauge("fiber_lent_processors", "Processors lent in place of stalled ones.", Value(totals.lent_processors));
  list.Histogram("fiber_run_slice_seconds", "From running to parking, yielding, ending or blocking; sampled.", totals.run_slice);
}

void AddWorkers(const SchedulerMetrics& totals, FamilyList& list) {
  list.Gauge("fiber_workers", "Threads that run fibers, asleep or not.", Value(totals.workers));
  list.Counter("fiber_worker_failures_total", "Threads that could not be made.", Value(totals.worker_failures));
  const char* const sleeps = "fiber_worker_sleeps_total";
  const char* const sleeps_help = "Times a worker went to sleep, in a futex or in the reactor.";
  list.Counter(sleeps, sleeps_help, Value(totals.futex_sleeps), {{"in", "futex"}});
  list.Counter(sleeps, sleeps_help, Value(totals.reactor_sleeps), {{"in", "reactor"}});
  const char* const wakes = "fiber_worker_wakes_total";
  const char* const wakes_help = "System calls that woke a worker.";
  list.Counter(wakes, wakes_help, Value(totals.futex_wakes), {{"in", "futex"}});
  list.Counter(wakes, wakes_help, Value(totals.reactor_wakes), {{"in", "reactor"}});
  list.Counter("fiber_reactor_polls_total", "Looks at the reactor without sleeping.", Value(totals.reactor_polls));
  list.Counter("fiber_blocking_calls_total", "Calls marked as blocking.", Value(totals.blocking_calls));
  list.Counter("fiber_handoffs_total", "Processors given away at the start of a blocking call.", Value(totals.handoffs));
  list.Counter("fiber_retakes_total", "Processors taken from blocking calls that took long.", Value(totals.retakes));
  const char* const stalls = "fiber_stalls_total";
  const char* const stalls_help = "Fibers found holding a worker for too long.";
  list.Counter(stalls, stalls_help, Value(totals.stalls_blocked), {{"kind", "blocked"}});
  list.Counter(stalls, stalls_help, Value(totals.stalls_computing), {{"kind", "computing"}});
  list.Counter("fiber_monitor_ticks_total", "Rounds of the monitors.", Value(totals.monitor_ticks));
}

void AddPauses(const PauseStats& pauses, FamilyList& list) {
  for (int i = 0; i < kPauseKindCount; ++i) {
    const PauseKind kind = static_cast<PauseKind>(i);
    list.Counter("fiber_pauses_total", "Pauses: listings of one instant, stalls that have ended, releases of memory.",
                 Value(pauses.of(kind).count()), {{"kind", PauseKindName(kind)}});
  }
  for (int i = 0; i < kPauseKindCount; ++i) {
    const PauseKind kind = static_cast<PauseKind>(i);
    list.Counter("fiber_pause_seconds_total", "Time of these pauses.", Seconds(pauses.of(kind).sum),
                 {{"kind", PauseKindName(kind)}});
  }
}

DurationHistogram WaitsOf(const PoolMetrics& metrics) {
  static_assert(DurationHistogram::kBuckets == PoolMetrics::kWaitBuckets, "both in powers of two");
  return {.counts = metrics.wait_ns_buckets, .sum = std::chrono::nanoseconds(metrics.wait_ns_sum)};
}

void AddPools(const std::vector<NamedPools>& pools, FamilyList& list) {
  const auto gauge = [&](const char* name, const char* help, auto figure) {
    for (const NamedPools& each : pools) list.Gauge(name, help, Value(figure(each)), {{"pool", each.name}});
  };
  const auto counter = [&](const char* name, const char* help, uint64_t PoolMetrics::*figure) {
    for (const NamedPools& each : pools) list.Counter(name, help, Value(each.metrics.*figure), {{"pool", each.name}});
  };
  gauge("fiber_pool_fibers", "Fibers that pools of this name may have.", [](const NamedPools& each) { return each.fibers; });
  gauge("fiber_pool_active", "Tasks that run.", [](const NamedPools& each) { return each.metrics.active; });
  gauge("fiber_pool_queued", "Tasks that wait for a fiber.", [](const NamedPools& each) { return each.metrics.queued; });
  gauge("fiber_pool_blocked", "Submitters that wait for room.", [](const NamedPools& each) { return each.metrics.blocked; });
  counter("fiber_pool_submitted_total", "Tasks accepted.", &PoolMetrics::submitted);
  counter("fiber_pool_completed_total", "Tasks that returned or threw.", &PoolMetrics::completed);
  counter("fiber_pool_cancelled_total", "Tasks accepted that never started.", &PoolMetrics::cancelled);
  counter("fiber_pool_rejected_total", "Tasks not accepted.", &PoolMetrics::rejected);
  counter("fiber_pool_caller_runs_total", "Tasks that their submitters ran.", &PoolMetrics::caller_runs);
  for (const NamedPools& each : pools) {
    list.Histogram("fiber_pool_wait_seconds", "From a task's acceptance to its start.", WaitsOf(each.metrics),
                   {{"pool", each.name}});
  }
}

void AddStacks(const RuntimeFigures& figures, FamilyList& list) {
  const StackMetrics& stacks = figures.metrics.stacks;
  list.Gauge("fiber_stacks", "Stacks that are ready for use; those of them without a guard page.", Value(stacks.ready),
             {{"kind", "ready"}});
  list.Gauge("fiber_stacks", "", Value(stacks.unguarded), {{"kind", "unguarded"}});
  list.Gauge("fiber_stack_bytes", "Addresses of stacks: ready for use; of fibers that are alive.", Value(stacks.ready_bytes),
             {{"kind", "ready"}});
  list.Gauge("fiber_stack_bytes", "", Value(figures.census.stack_bytes), {{"kind", "in use"}});
  if (!stacks.guards.empty()) {
    list.Gauge("fiber_stack_guards_info", "How new stacks are guarded.", 1, {{"mode", std::string(stacks.guards)}});
  }
}

void AddContention(const RuntimeFigures& figures, FamilyList& list) {
  const std::pair<const char*, const std::optional<ContentionTotals>&> profiles[] = {{"block", figures.block},
                                                                                     {"mutex", figures.mutex}};
  for (const auto& [name, totals] : profiles) {
    if (!totals) continue;
    list.Counter("fiber_contention_waits_total", "Waits in the block profile, contended unlocks in the mutex profile; estimates.",
                 totals->count, {{"profile", name}});
  }
  for (const auto& [name, totals] : profiles) {
    if (!totals) continue;
    list.Counter("fiber_contention_wait_seconds_total", "Time of these waits; estimates.", Seconds(totals->delay),
                 {{"profile", name}});
  }
}

void AddLosses(const RuntimeFigures& figures, FamilyList& list) {
  const auto lost = [&](const char* what, uint64_t count) {
    list.Counter("fiber_lost_total", "What profiles and traces left out, for lack of room mostly.", Value(count), {{"what", what}});
  };
  if (figures.block) lost("block events", static_cast<uint64_t>(figures.block->lost));
  if (figures.mutex) lost("mutex events", static_cast<uint64_t>(figures.mutex->lost));
  if (figures.memory.allocations) lost("heap samples", figures.memory.allocations->lost_samples);
  lost("trace events", figures.dropped_trace_events);
  lost("trace stacks", figures.lost_trace_stacks);
  lost("trace texts", figures.lost_trace_texts);
}

void AddMalformed(const MalformedIdentityCounts& counts, FamilyList& list) {
  const auto malformed = [&](const char* field, uint64_t count) {
    list.Counter("fiber_malformed_identities_total", "Header fields of requests that were not taken over, as they are malformed.",
                 Value(count), {{"field", field}});
  };
  malformed("x-request-id", counts.request_ids);
  malformed("traceparent", counts.traceparents);
  malformed("tracestate", counts.tracestates);
}

}  // namespace

RuntimeFigures ReadRuntimeFigures() {
  return {
      .metrics = ReadProcessMetrics(),
      .census = TakeFiberCensus(),
      .pools = ReadPools(),
      .pauses = ReadPauses(),
      .memory = pprof::ReadMemoryStats(),
      .fibers = FiberCount(),
      .threads = ThreadCount(),
      .block = Contended(Contention::kBlock, BlockProfileRate() > 0),
      .mutex = Contended(Contention::kMutex, SetMutexProfileFraction(-1) > 0),
      .dropped_trace_events = ExecutionTrace::dropped_events(),
      .lost_trace_stacks = ExecutionTrace::lost_stacks(),
      .lost_trace_texts = ExecutionTrace::lost_texts(),
      .malformed = MalformedIdentities(),
  };
}

std::vector<prometheus::MetricFamily> RuntimeFamilies(const RuntimeFigures& figures) {
  FamilyList list;
  AddGoScheduler(figures, list);
  AddGoMemory(figures, list);
  AddFibers(figures, list);
  AddScheduling(figures.metrics, list);
  AddWorkers(figures.metrics.totals, list);
  AddPauses(figures.pauses, list);
  AddPools(figures.pools, list);
  AddStacks(figures, list);
  AddContention(figures, list);
  AddLosses(figures, list);
  AddMalformed(figures.malformed, list);
  return list.Take();
}

std::vector<prometheus::MetricFamily> RuntimeCollector::Collect() const {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<prometheus::MetricFamily> families = RuntimeFamilies(ReadRuntimeFigures());
  FamilyList own;
  own.Gauge("fiber_scrape_seconds", "How long it took to read the figures of this page that are Fiberscope's.",
            Seconds(std::chrono::steady_clock::now() - begin));
  families.push_back(std::move(own.Take().front()));
  return families;
}

}  // namespace fiberscope::server
