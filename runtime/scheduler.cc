#include "runtime/scheduler.h"

#include <sched.h>

#include <bit>
#include <stdexcept>

#include "absl/strings/str_format.h"
#include "runtime/fatal_report.h"
#include "runtime/scheduler_core.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/worker.h"

namespace fiberscope {
namespace {

constexpr int kMaxProcessors = 128;

int AvailableCpus() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) return 1;
  return CPU_COUNT(&cpus);
}

internal::SchedulerCore::Options Checked(const SchedulerOptions& options) {
  const int processors = options.processors == 0 ? std::min(AvailableCpus(), kMaxProcessors) : options.processors;
  if (processors < 1 || processors > kMaxProcessors) {
    throw std::invalid_argument(
        absl::StrFormat("SchedulerOptions::processors is %d; allowed are 0 to %d", processors, kMaxProcessors));
  }
  if (options.run_queue_slots < 2 || !std::has_single_bit(options.run_queue_slots)) {
    throw std::invalid_argument(absl::StrFormat(
        "SchedulerOptions::run_queue_slots is %d; it must be a power of two, at least 2", options.run_queue_slots));
  }
  return {static_cast<uint32_t>(processors), options.run_queue_slots, options.name};
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options) {
  // Now, so that the first dump and the first fatal report need not: neither can where it may run.
  UnwindTable::Refresh();
  InstallFatalReports();
  core_ = std::make_unique<internal::SchedulerCore>(Checked(options));
}

Scheduler::~Scheduler() = default;

SchedulerExecutor Scheduler::get_executor() noexcept { return {*core_, true}; }

void Scheduler::Stop() { core_->Stop(); }

int Scheduler::processors() const { return static_cast<int>(core_->processors().size()); }

SchedulerMetrics Scheduler::metrics() const {
  SchedulerMetrics sum;
  for (const auto& processor : core_->processors()) {
    const internal::Processor::Counters& counters = processor->counters();
    sum.switches += counters.switches.load(std::memory_order_relaxed);
    sum.steals += counters.steals.load(std::memory_order_relaxed);
    sum.sleeps += counters.sleeps.load(std::memory_order_relaxed);
    sum.reactor_polls += counters.polls.load(std::memory_order_relaxed);
    sum.queued += processor->queue_length();
  }
  sum.queued += core_->inject().size();
  return sum;
}

boost::asio::execution_context& SchedulerExecutor::query(boost::asio::execution::context_t) const noexcept {
  return core_->reactor();
}

}  // namespace fiberscope
