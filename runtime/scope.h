// Structured concurrency: fibers that cannot outlive the block that spawned them.
//
//   {
//     Scope scope;
//     scope.Spawn([&] { left = Load(a); });
//     scope.Spawn([&] { right = Load(b); });
//     scope.Join();                             // both are done; rethrows what the first that failed threw
//   }
//
// Leaving the block joins the children, however it is left, so they may refer to its variables. If it is left by an
// exception they are cancelled first, and otherwise the destructor does what Join does, which includes throwing: no
// failure goes unnoticed.
//
// The first child that fails, by an exception or by returning an absl::Status that is not OK, cancels the others: the
// scope has a context (context.h), below the spawning fiber's, which the children have as their current one. What other
// children throw is counted. A child that ends with WaitCancelled, or with operation_aborted from I/O, after the
// scope's context was cancelled has not failed.
//
// Compared with others: like std::jthread, a forgotten child is waited for; like Go's errgroup and the nurseries of
// Trio, one failure ends the group and is reported to the parent. Unlike in a nursery, the block itself runs in its own
// context: to be woken by a child's failure before it reaches Join, it makes the scope's context its own: `ContextScope
// bind(scope.context());`
//
// Children may spawn siblings. Fibers that they spawn otherwise are not waited for, but inherit the context, which is
// cancelled when the scope ends.
//
// Thread-safe, but made, joined and destroyed by one owner: a fiber, or a plain thread that names the scheduler. A
// local variable: neither copied nor moved. Cost: two allocations per scope, one per child beyond a plain spawn, and a
// lock round trip at the child's start and end.
#ifndef FIBERSCOPE_RUNTIME_SCOPE_H_
#define FIBERSCOPE_RUNTIME_SCOPE_H_

#include <chrono>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/futex_lock.h"
#include "runtime/context.h"
#include "runtime/fiber.h"
#include "runtime/fiber_group.h"
#include "runtime/scheduler.h"
#include "runtime/spawn.h"

namespace fiberscope {

class Scope;

namespace internal {

// A child's place in the count of its scope.
class ScopeTicket {
 public:
  explicit ScopeTicket(Scope& scope);
  ScopeTicket(ScopeTicket&& other) noexcept : scope_(std::exchange(other.scope_, nullptr)) {}
  ScopeTicket& operator=(ScopeTicket&&) = delete;
  ~ScopeTicket();

  void Failed(std::exception_ptr exception) const;
  void Failed(absl::Status status) const;

 private:
  Scope* scope_;
};

template <typename F>
class ScopedFiber {
 public:
  template <typename Function>
  ScopedFiber(ScopeTicket ticket, Function&& function)
      : ticket_(std::move(ticket)), function_(std::forward<Function>(function)) {}

  void operator()() {
    try {
      if constexpr (std::is_same_v<std::invoke_result_t<F&>, absl::Status>) {
        if (absl::Status status = function_(); !status.ok()) ticket_.Failed(std::move(status));
      } else {
        function_();
      }
    } catch (const ForcedUnwind&) {
      throw;
    } catch (...) {
      ticket_.Failed(std::current_exception());
    }
  }

 private:
  ScopeTicket ticket_;  // given up last: the function may refer to the owner's block
  F function_;
};

}  // namespace internal

struct ScopeOptions {
  // Cancels the children that are left by then; counts from the scope's construction. None by default.
  std::optional<std::chrono::nanoseconds> timeout = std::nullopt;
};

class Scope {
 public:
  // Children run on the scheduler of the calling fiber, in contexts below its own. Fiber-only.
  explicit Scope(const ScopeOptions& options = {});
  // Children run on `scheduler`. Any thread.
  explicit Scope(Scheduler& scheduler, const ScopeOptions& options = {});
  // Joins. Throws as Join does, unless the block is being left by an exception.
  ~Scope() noexcept(false);
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // Runs `function()`, which returns nothing or an absl::Status, on a new fiber. `options.context` should be below the
  // scope's context(), which it is by default. Throws as Scheduler::Spawn does; then there is no child.
  template <typename F>
  __attribute__((always_inline)) Fiber Spawn(F&& function, SpawnOptions options = {}) {
    using Function = std::decay_t<F>;
    if (!options.context.has_value()) options.context = context();
    using Child = internal::ScopedFiber<Function>;
    const uintptr_t entry_pc =
        internal::EntryPc<Function>(function, reinterpret_cast<uintptr_t>(&internal::RunEntry<Child>));
    absl::StatusOr<Fiber> fiber = internal::SpawnFunctionAs(
        *core_, Child(internal::ScopeTicket(*this), std::forward<F>(function)), entry_pc, options.request());
    if (!fiber.ok()) internal::ThrowSpawnError(fiber.status());
    return *fiber;
  }

  // Waits until all children have ended; not cancellable, since they use the owner's frame. Then, if one failed,
  // rethrows what the first one threw, or absl::BadStatusOrAccess with the status it returned. Throws WaitCancelled if
  // children were ended by a cancellation other than Cancel(): by the scope's timeout, or from above. The owner may
  // spawn and join again.
  void Join();

  // The same, with a status: what the first failing child returned, or the context's cause after a cancellation. What a
  // child threw is thrown here too.
  absl::Status JoinStatus();

  // Cancels the children, and all that will be spawned. Join then returns normally when they have ended. Any thread.
  bool Cancel(absl::Status cause = absl::CancelledError("scope cancelled"));

  // Of the children.
  const Context& context() const { return source_.context(); }

  // Children that are alive, and those that have failed, including the one that Join reports.
  size_t live_count() const { return children_.count(); }
  size_t failed_count() const;

 private:
  friend class internal::ScopeTicket;

  Scope(internal::SchedulerCore& core, const ScopeOptions& options);
  void ChildFailed(std::exception_ptr exception, absl::Status status);
  void JoinChildren();

  internal::SchedulerCore* const core_;
  const int uncaught_exceptions_;  // when it was made
  const CancelSource source_;
  internal::FiberGroup children_;
  mutable FutexLock lock_;
  // GUARDED_BY(lock_), all that follow.
  std::exception_ptr exception_;  // of the first child that failed, until Join has reported it
  absl::Status status_;           // the same, if it returned one
  size_t failed_ = 0;
  size_t ended_by_cancel_ = 0;
  bool cancelled_by_owner_ = false;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SCOPE_H_
