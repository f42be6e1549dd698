#include "runtime/scheduler.h"

#include <sched.h>

#include <bit>
#include <stdexcept>

#include "absl/strings/str_format.h"
#include "runtime/base/tick_clock.h"
#include "runtime/fatal_report.h"
#include "runtime/scheduler_core.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/worker.h"

namespace fiberscope {
namespace {

constexpr int kMaxProcessors = internal::SchedulerCore::kMaxProcessors;

int AvailableCpus() {
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) return 1;
  return CPU_COUNT(&cpus);
}

uint32_t CheckedProcessors(int processors, const char* where) {
  if (processors == 0) processors = std::min(AvailableCpus(), kMaxProcessors);
  if (processors < 1 || processors > kMaxProcessors) {
    throw std::invalid_argument(absl::StrFormat("%s is %d; allowed are 0 to %d", where, processors, kMaxProcessors));
  }
  return static_cast<uint32_t>(processors);
}

internal::SchedulerCore::Options Checked(const SchedulerOptions& options) {
  const uint32_t processors = CheckedProcessors(options.processors, "SchedulerOptions::processors");
  if (options.max_workers < static_cast<int>(processors)) {
    throw std::invalid_argument(absl::StrFormat("SchedulerOptions::max_workers is %d, less than the %d processors",
                                                options.max_workers, processors));
  }
  if (options.run_queue_slots < 2 || !std::has_single_bit(options.run_queue_slots)) {
    throw std::invalid_argument(absl::StrFormat(
        "SchedulerOptions::run_queue_slots is %d; it must be a power of two, at least 2", options.run_queue_slots));
  }
  if (options.stall_after <= std::chrono::nanoseconds(0)) {
    throw std::invalid_argument("SchedulerOptions::stall_after must be positive");
  }
  return {.processors = processors,
          .max_workers = static_cast<uint32_t>(options.max_workers),
          .run_queue_capacity = options.run_queue_slots,
          .name = options.name,
          .stall_after = options.stall_after,
          .on_stall = options.on_stall};
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options) {
  // Now, so that the first dump and the first fatal report need not: neither can where it may run.
  UnwindTable::Refresh();
  InstallFatalReports();
  CalibrateTickClock();
  core_ = std::make_unique<internal::SchedulerCore>(Checked(options));
}

Scheduler::~Scheduler() = default;

SchedulerExecutor Scheduler::get_executor() noexcept { return {*core_, true}; }

bool Scheduler::Stop(const StopOptions& options) { return core_->Stop(options.drain); }

int Scheduler::processors() const { return static_cast<int>(core_->processors_wanted()); }

void Scheduler::SetProcessors(int processors) {
  core_->SetProcessors(CheckedProcessors(processors, "SetProcessors: the number of processors"));
}

SchedulerMetrics Scheduler::metrics() const { return core_->Metrics(); }

boost::asio::execution_context& SchedulerExecutor::query(boost::asio::execution::context_t) const noexcept {
  return core_->reactor();
}

}  // namespace fiberscope
