#include "runtime/process_metrics.h"

#include <algorithm>
#include <mutex>

#include "runtime/scheduler_core.h"
#include "runtime/scheduler_list.h"
#include "runtime/stack/stack_guard.h"
#include "runtime/stack/stack_slab.h"

namespace fiberscope {
namespace {

struct Schedulers {
  std::mutex mutex;
  std::vector<internal::SchedulerCore*> alive;  // GUARDED_BY(mutex)
  SchedulerMetrics ended;                       // GUARDED_BY(mutex): what those counted that are gone
};

// Never destroyed: a scheduler may end after static destructors began.
Schedulers& TheSchedulers() {
  static Schedulers& schedulers = *new Schedulers;
  return schedulers;
}

// What only ever grows.
void AddCounters(const SchedulerMetrics& one, SchedulerMetrics& sum) {
  static constexpr uint64_t SchedulerMetrics::*kCounters[] = {
      &SchedulerMetrics::switches,       &SchedulerMetrics::idle_yields,      &SchedulerMetrics::steals_tried,
      &SchedulerMetrics::steals,         &SchedulerMetrics::overflows,        &SchedulerMetrics::reactor_polls,
      &SchedulerMetrics::blocking_calls, &SchedulerMetrics::spawned,          &SchedulerMetrics::finished,
      &SchedulerMetrics::sleeps,         &SchedulerMetrics::futex_sleeps,     &SchedulerMetrics::reactor_sleeps,
      &SchedulerMetrics::futex_wakes,    &SchedulerMetrics::reactor_wakes,    &SchedulerMetrics::injections,
      &SchedulerMetrics::handoffs,       &SchedulerMetrics::retakes,          &SchedulerMetrics::stalls_blocked,
      &SchedulerMetrics::stalls_computing, &SchedulerMetrics::worker_failures, &SchedulerMetrics::monitor_ticks,
  };
  for (uint64_t SchedulerMetrics::*const counter : kCounters) sum.*counter += one.*counter;
  sum.scheduling_latency += one.scheduling_latency;
  sum.run_slice += one.run_slice;
}

// What is of now.
void AddGauges(const SchedulerMetrics& one, SchedulerMetrics& sum) {
  sum.queued += one.queued;
  sum.shared_queued += one.shared_queued;
  sum.lent_processors += one.lent_processors;
  sum.workers += one.workers;
}

StackMetrics ReadStacks() {
  StackMetrics sum;
  GuardMode worst = GuardMode::kGuardInstall;
  for (int i = 0; i < kStackClassCount; ++i) {
    const StackSlab& slab = StackSlab::ForClass(static_cast<StackClass>(i));
    const StackSlab::Stats stats = slab.stats();
    if (stats.slots == 0) continue;
    worst = std::max(worst, stats.mode);
    sum.guards = GuardModeName(worst);
    sum.ready += stats.slots;
    sum.ready_bytes += stats.slots * slab.slot_bytes();
    sum.unguarded += stats.unguarded_slots;
  }
  return sum;
}

}  // namespace

namespace internal {

void ListScheduler(SchedulerCore& core) {
  Schedulers& all = TheSchedulers();
  const std::lock_guard lock(all.mutex);
  all.alive.push_back(&core);
}

void UnlistScheduler(SchedulerCore& core) {
  Schedulers& all = TheSchedulers();
  const std::lock_guard lock(all.mutex);
  AddCounters(core.Metrics(), all.ended);
  std::erase(all.alive, &core);
}

}  // namespace internal

ProcessMetrics ReadProcessMetrics() {
  ProcessMetrics result;
  Schedulers& all = TheSchedulers();
  {
    // Held while they are read: none of them goes away.
    const std::lock_guard lock(all.mutex);
    result.totals = all.ended;
    for (internal::SchedulerCore* const core : all.alive) {
      result.schedulers.push_back({core->name(), core->processors_wanted(), core->Metrics()});
    }
  }
  for (const NamedMetrics& each : result.schedulers) {
    AddCounters(each.metrics, result.totals);
    AddGauges(each.metrics, result.totals);
  }
  result.stacks = ReadStacks();
  return result;
}

}  // namespace fiberscope
