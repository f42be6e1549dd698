// Runs fibers on a few threads, with Asio as its reactor.
//
//   fiberscope::Scheduler scheduler({.processors = 4});
//   fiberscope::Fiber fiber = scheduler.Spawn([] { ... }, {.name = "housekeeper"});
//   fiber.Join();
//
// Fibers are what Go calls goroutines: a function with a stack of its own, a few kilobytes while it waits, switched in
// nanoseconds, run by whichever worker thread is free. Use it for code that waits. It costs nothing special to look at
// one from outside: registry.h lists them all, at any time, from any thread.
//
// As many fibers run at the same time as there are processors. A call that blocks the thread goes into Blocking()
// (blocking.h), which lets another thread run fibers meanwhile; a monitor thread finds those that were forgotten, and
// fibers that compute for long, lends a processor in their place and reports them.
//
// The scheduler is also an Asio execution context in all but name: get_executor() gives an executor, and sockets and
// timers made with it complete on this scheduler. With the completion token use_fiber (io/use_fiber.h) an operation
// parks the calling fiber until it is done. A function handed to the executor (asio::post, co_spawn, a handler bound to
// it) runs on a fiber of its own.
//
// An exception that leaves a fiber's function ends the process: std::terminate runs with the throwing frames still on
// the stack, and the report names the fiber (fatal_report.h).
//
// Thread-safe. Resource: neither copied nor moved. Must outlive every Asio object made with its executor.
#ifndef FIBERSCOPE_RUNTIME_SCHEDULER_H_
#define FIBERSCOPE_RUNTIME_SCHEDULER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/context.h"
#include "runtime/executor.h"
#include "runtime/fiber.h"
#include "runtime/labels.h"
#include "runtime/metrics.h"
#include "runtime/spawn.h"
#include "runtime/stall_report.h"

namespace fiberscope {

struct SchedulerOptions {
  // How many fibers run at the same time, each on a worker thread. 0: as many as there are CPUs this process may use.
  int processors = 0;
  // Worker threads at most. One per processor is there from the start; more come when calls block, stay, and are used
  // again. When there are as many as allowed, and all of them block or are locked to fibers that wait, nothing runs
  // until one of them comes back.
  int max_workers = 10'000;
  // Threads are called "<name>-w<number>" and "<name>-mon"; the kernel keeps 15 characters.
  std::string name = "fiber";
  // A fiber that runs for so long without letting go of its worker is stalled: another processor is lent in its place,
  // so for a while one more fiber may run than there are processors. nanoseconds::max() turns that off.
  std::chrono::nanoseconds stall_after = std::chrono::milliseconds(10);
  // Told of stalled fibers; empty: a line on standard error (stall_report.h).
  StallHandler on_stall = {};
  // Slots of a processor's run queue, a power of two; more fibers overflow to a shared queue. Small ones are for tests.
  uint32_t run_queue_slots = 256;
};

struct SpawnOptions {
  // Shown in dumps; the first 32 bytes are kept.
  std::string_view name = {};
  // Rounded up to 16, 32, 64, 128 or 256 KiB, 1 or 8 MiB, less a guard page of 4 KiB. Costs address space; memory only
  // as far as it is used. An overflow ends the process with a message that names the fiber.
  size_t stack_bytes = 64 * 1024;
  // Instead of those of the spawning fiber.
  std::optional<Labels> labels = std::nullopt;
  std::optional<Context> context = std::nullopt;

  internal::SpawnRequest request() const {
    return {name, stack_bytes, labels.has_value() ? &*labels : nullptr, context.has_value() ? &*context : nullptr};
  }
};

struct StopOptions {
  // How long to wait for the fibers to finish by themselves before they are unwound. Meanwhile only they may spawn.
  std::chrono::nanoseconds drain{0};
};

class Scheduler {
 public:
  using executor_type = SchedulerExecutor;

  // Starts the workers. Throws std::system_error, naming the limit, when a thread cannot be made; std::invalid_argument
  // for options out of range.
  explicit Scheduler(const SchedulerOptions& options = {});
  ~Scheduler();  // Stop()
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Runs `function()` on a new fiber. Any thread. Never waits for the fiber. The fiber inherits the labels and the
  // context of the fiber that spawns it and remembers its id and the place of this call. Throws std::system_error
  // (errc::resource_unavailable_try_again) when there is no memory for a stack, naming the limit, and
  // (errc::operation_not_permitted) when the scheduler was stopped; but a fiber whose own scheduler stops is unwound by
  // the call, as by a wait.
  // Cost: ~50 ns, no heap allocation for functions up to 1 KiB.
  template <typename F>
  __attribute__((always_inline)) Fiber Spawn(F&& function, const SpawnOptions& options = {}) {
    absl::StatusOr<Fiber> fiber = TrySpawn(std::forward<F>(function), options);
    if (!fiber.ok()) internal::ThrowSpawnError(fiber.status());
    return *fiber;
  }

  // The same, with a status: kResourceExhausted, kFailedPrecondition, or kInvalidArgument for a stack that is too
  // large. `function` is untouched on error.
  template <typename F>
  __attribute__((always_inline)) absl::StatusOr<Fiber> TrySpawn(F&& function, const SpawnOptions& options = {}) {
    return internal::SpawnFunction(*core_, std::forward<F>(function), options.request());
  }

  executor_type get_executor() noexcept;

  // Lets no new fiber in, waits for the fibers if told to (StopOptions), ends the workers when each has left the fiber
  // it runs, and unwinds the stacks of all fibers that are left: at the next wait, and at the one each is in now, a
  // special exception leaves the waiting call, so destructors run. Blocks the thread until that is done: a fiber that
  // computes without ever waiting keeps it waiting. Fibers that have not started are destroyed without running. Returns
  // whether all fibers had finished by themselves. Idempotent: another call waits for the first and returns true. Not
  // from a fiber of this scheduler. Other threads must have stopped using the channels and locks that its fibers use.
  bool Stop(const StopOptions& options = {});

  // As set; the monitor may have lent some more (SchedulerMetrics::lent_processors).
  int processors() const;

  // From now on so many fibers run at the same time; 0 as in SchedulerOptions. Nothing is lost: what was queued or
  // asleep with a processor that goes is taken over by the others. Less takes effect as fibers park or yield. Throws
  // std::invalid_argument for numbers out of range. Any thread, also a fiber. Blocks the thread for some microseconds.
  void SetProcessors(int processors);

  // Counters since the start, of all processors. Never stops a worker. Blocks the thread for some microseconds.
  SchedulerMetrics metrics() const;

 private:
  std::unique_ptr<internal::SchedulerCore> core_;
};

// As Scheduler::Spawn, on the scheduler of the calling fiber. Fiber-only.
template <typename F>
__attribute__((always_inline)) inline Fiber Spawn(F&& function, const SpawnOptions& options = {}) {
  absl::StatusOr<Fiber> fiber =
      internal::SpawnFunction(internal::CurrentCore(), std::forward<F>(function), options.request());
  if (!fiber.ok()) internal::ThrowSpawnError(fiber.status());
  return *fiber;
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SCHEDULER_H_
