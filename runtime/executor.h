// The Asio executor of a scheduler.
//
// A function given to it runs on a fiber of its own, so it may park. Handlers of use_fiber operations do not come here: they
// only make the waiting fiber runnable. It runs in the background context (context.h) wherever it was given from: what
// cancels an asynchronous chain is its cancellation slot.
//
// Meets Asio's executor requirements (Boost.Asio 1.81, "Executor requirements" and the execution properties below), converts
// to boost::asio::any_io_executor, and makes I/O objects: tcp::socket socket(scheduler.get_executor()).
//
// Thread-safe; a value. execute() never waits for the function. It throws std::system_error as Scheduler::Spawn does, except
// that after the scheduler has stopped functions are destroyed without being called, as asio::thread_pool does.
#ifndef FIBERSCOPE_RUNTIME_EXECUTOR_H_
#define FIBERSCOPE_RUNTIME_EXECUTOR_H_

#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>
#include <utility>

#include "runtime/context.h"
#include "runtime/spawn.h"

namespace fiberscope {

class SchedulerExecutor {
 public:
  bool operator==(const SchedulerExecutor&) const noexcept = default;

  template <typename F>
  void execute(F&& function) const {
    if (may_run_inline_ && internal::RunsOn(*core_)) {
      std::decay_t<F> local(std::forward<F>(function));
      std::move(local)();
      return;
    }
    // Asio's functions may be called once only, as rvalues.
    auto run = [function = std::decay_t<F>(std::forward<F>(function))]() mutable { std::move(function)(); };
    const Context background;
    const absl::StatusOr<Fiber> fiber =
        internal::SpawnFunction(*core_, std::move(run), {.name = "asio", .context = &background});
    if (!fiber.ok() && fiber.status().code() != absl::StatusCode::kFailedPrecondition) {
      internal::ThrowSpawnError(fiber.status());
    }
  }

  // The context that holds the reactor and the services of I/O objects.
  boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept;

  // blocking.possibly (the default): on a fiber of this scheduler, call at once. blocking.never: always a new fiber.
  static constexpr boost::asio::execution::mapping_t query(boost::asio::execution::mapping_t) noexcept {
    return boost::asio::execution::mapping.thread;
  }
  boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) const noexcept {
    return may_run_inline_ ? boost::asio::execution::blocking_t(boost::asio::execution::blocking.possibly)
                           : boost::asio::execution::blocking_t(boost::asio::execution::blocking.never);
  }
  SchedulerExecutor require(boost::asio::execution::blocking_t::possibly_t) const noexcept { return {*core_, true}; }
  SchedulerExecutor require(boost::asio::execution::blocking_t::never_t) const noexcept { return {*core_, false}; }

  SchedulerExecutor(internal::SchedulerCore& core, bool may_run_inline) noexcept
      : core_(&core), may_run_inline_(may_run_inline) {}

  // For the runtime.
  internal::SchedulerCore& core() const noexcept { return *core_; }

 private:
  internal::SchedulerCore* core_;
  bool may_run_inline_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_EXECUTOR_H_
