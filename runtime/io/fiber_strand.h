// An executor that runs the functions given to it one after the other, on fibers of a scheduler, like asio::strand; but
// they may park.
//
//   FiberStrand strand(scheduler.get_executor());
//   asio::co_spawn(strand, Session(std::move(socket)), asio::detached);
//
// Why not asio::strand: it remembers in a thread_local that a function of it is running on this thread. A fiber that
// parks inside such a function goes on on another thread, and the first one keeps believing that it is in the strand.
// This one remembers the fiber. A function that parks keeps the strand, like a lock.
//
// Functions run in the order in which they were given, a batch of them on one fiber named "strand"; dispatch from a
// function of the strand calls at once. Those that are left when the scheduler stops are destroyed without being
// called.
//
// Meets Asio's executor requirements and converts to asio::any_io_executor. Thread-safe; a value, whose copies are the
// same strand. Cost: one allocation per function, one fiber per batch.
#ifndef FIBERSCOPE_RUNTIME_IO_FIBER_STRAND_H_
#define FIBERSCOPE_RUNTIME_IO_FIBER_STRAND_H_

#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>
#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/executor.h"

namespace fiberscope {

namespace internal {

struct StrandFunction {
  virtual ~StrandFunction() = default;
  virtual void Call() = 0;  // once
  StrandFunction* next = nullptr;
};

template <typename F>
struct TypedStrandFunction final : StrandFunction {
  explicit TypedStrandFunction(F f) : function(std::move(f)) {}
  // Moved out, so that what it holds is gone when it has been called.
  void Call() override { F(std::move(function))(); }
  F function;
};

class StrandQueue;
std::shared_ptr<StrandQueue> NewStrandQueue(const SchedulerExecutor& executor);
bool RunsInStrand(const StrandQueue& queue);
void GiveToStrand(const std::shared_ptr<StrandQueue>& queue, std::unique_ptr<StrandFunction> function);

}  // namespace internal

class FiberStrand {
 public:
  explicit FiberStrand(const SchedulerExecutor& executor)
      : executor_(executor.require(boost::asio::execution::blocking.never)),
        queue_(internal::NewStrandQueue(executor_)) {}

  bool operator==(const FiberStrand&) const noexcept = default;

  // Whether the calling fiber is running a function of this strand.
  bool running_in_this_fiber() const { return internal::RunsInStrand(*queue_); }

  template <typename F>
  void execute(F&& function) const {
    if (may_run_inline_ && running_in_this_fiber()) {
      std::decay_t<F> local(std::forward<F>(function));
      std::move(local)();
      return;
    }
    internal::GiveToStrand(queue_,
                           std::make_unique<internal::TypedStrandFunction<std::decay_t<F>>>(std::forward<F>(function)));
  }

  boost::asio::execution_context& query(boost::asio::execution::context_t context) const noexcept {
    return executor_.query(context);
  }
  static constexpr boost::asio::execution::mapping_t query(boost::asio::execution::mapping_t) noexcept {
    return boost::asio::execution::mapping.thread;
  }
  boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) const noexcept {
    return may_run_inline_ ? boost::asio::execution::blocking_t(boost::asio::execution::blocking.possibly)
                           : boost::asio::execution::blocking_t(boost::asio::execution::blocking.never);
  }
  FiberStrand require(boost::asio::execution::blocking_t::possibly_t) const noexcept { return WithInline(true); }
  FiberStrand require(boost::asio::execution::blocking_t::never_t) const noexcept { return WithInline(false); }

 private:
  FiberStrand WithInline(bool may_run_inline) const noexcept {
    FiberStrand result(*this);
    result.may_run_inline_ = may_run_inline;
    return result;
  }

  SchedulerExecutor executor_;  // never runs inline
  std::shared_ptr<internal::StrandQueue> queue_;
  bool may_run_inline_ = true;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_IO_FIBER_STRAND_H_
