// Fibers and C++20 coroutines, each waiting for the other.
//
//   int total = Await(Sum(socket));                                          // on a fiber: Sum returns
//   asio::awaitable<int> co_await async_join(fiber, asio::use_awaitable);                         // in a coroutine, or
//   with any other token int total = co_await async_spawn(executor, [] { return Compute(); }, asio::use_awaitable); //
//   a fiber and its result
//
// Coroutines started with asio::co_spawn(scheduler.get_executor(), ...) run on the scheduler beside its fibers: each
// piece of one, from one suspension to the next, on a fiber. They need nothing from here, except that a coroutine which
// is to be cancelled should be started on a FiberStrand (fiber_strand.h), because Asio cancels in the executor of the
// coroutine. A fiber that waits for one should use Await rather than co_spawn(..., use_fiber): with Boost 1.81 a
// cancellation of the latter may come after its end.
//
// Exceptions cross: what a coroutine throws, Await throws; what the function of async_spawn throws, co_await throws.
// Cancellations cross: cancelling a fiber in Await (context.h), or its timeout, cancels the coroutine with terminal
// cancellation, as Asio's coroutines understand by default, and Await returns when it has ended; cancelling the
// co_await of async_spawn cancels the fiber's context, and it completes when the fiber has ended. Cancelling the
// co_await of async_join leaves the fiber alone.
#ifndef FIBERSCOPE_RUNTIME_IO_AWAIT_H_
#define FIBERSCOPE_RUNTIME_IO_AWAIT_H_

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/system/error_code.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "runtime/context.h"
#include "runtime/executor.h"
#include "runtime/fiber.h"
#include "runtime/io/fiber_strand.h"
#include "runtime/io/use_fiber.h"
#include "runtime/spawn.h"
#include "runtime/wait_cancelled.h"

namespace fiberscope {

namespace internal {

// What Await needs to cancel its coroutine. Touched in the coroutine's strand.
struct AwaitState {
  boost::asio::cancellation_signal signal;
  bool ended = false;
};

template <typename T, typename Executor>
struct InitiateAwait {
  FiberStrand strand;

  template <typename Handler>
  void operator()(Handler handler, boost::asio::awaitable<T, Executor> coroutine) const {
    const auto state = std::make_shared<AwaitState>();
    // Asio's own way from the handler's slot to the coroutine hands a pointer into the slot to another executor, where
    // it may arrive after the operation has gone. This one carries a reference, and is in the strand when it emits.
    handler.get_cancellation_slot().assign([state, strand = strand](boost::asio::cancellation_type type) {
      boost::asio::post(strand, [state, type] {
        if (!state->ended) state->signal.emit(type);
      });
    });
    // Through void(std::exception_ptr, T...) back to the fiber, by way of the reactor, where the handler must run.
    boost::asio::co_spawn(
        strand, std::move(coroutine),
        boost::asio::bind_cancellation_slot(
            state->signal.slot(),
            boost::asio::bind_executor(strand, [state, handler = std::move(handler)](auto... values) mutable {
              state->ended = true;
              const auto reactor = handler.get_executor();
              boost::asio::post(reactor, [handler = std::move(handler), ... values = std::move(values)]() mutable {
                handler(std::move(values)...);
              });
            })));
  }
};

template <typename T>
struct CoroutineSignature {
  using type = void(std::exception_ptr, T);
};
template <>
struct CoroutineSignature<void> {
  using type = void(std::exception_ptr);
};

}  // namespace internal

// Runs the coroutine on a strand of its own on the calling fiber's scheduler, and waits until it has ended. Returns its
// result, throws what it throws; boost::system::system_error (operation_aborted) when it was cancelled. `token` may
// carry a timeout. Fiber-only. Parks the fiber (WaitReason::kIo). The coroutine runs on other fibers; it must not refer
// to what only this fiber may touch.
template <typename T, typename Executor>
T Await(boost::asio::awaitable<T, Executor> coroutine, const use_fiber_t& token = use_fiber) {
  const FiberStrand strand(SchedulerExecutor(internal::CurrentCore(), true));
  return boost::asio::async_initiate<const use_fiber_t&, typename internal::CoroutineSignature<T>::type>(
      internal::InitiateAwait<T, Executor>{strand}, token, std::move(coroutine));
}

namespace internal {

// Completes an asynchronous operation from a fiber: on the handler's executor, once, with its slot empty again.
template <typename Handler>
class FiberCompletion {
 public:
  FiberCompletion(Handler handler, const SchedulerExecutor& executor)
      : handler_(std::move(handler)), executor_(Tracked(handler_, executor)) {}

  // `cancel` runs when the operation's slot is emitted, until Complete.
  template <typename Cancel>
  void OnCancel(Cancel cancel) {
    auto slot = boost::asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected()) slot.assign([cancel](boost::asio::cancellation_type) { cancel(); });
  }

  template <typename... Args>
  void Complete(Args... args) && {
    boost::asio::post(executor_, [handler = std::move(handler_), ... args = std::move(args)]() mutable {
      boost::asio::get_associated_cancellation_slot(handler).clear();
      std::move(handler)(std::move(args)...);
    });
  }

 private:
  // The handler's executor, kept from running out of work until the handler has been posted.
  static auto Tracked(const Handler& handler, const SchedulerExecutor& executor) {
    return boost::asio::prefer(boost::asio::get_associated_executor(handler, executor),
                               boost::asio::execution::outstanding_work.tracked);
  }

  Handler handler_;
  std::decay_t<decltype(Tracked(std::declval<const Handler&>(), std::declval<const SchedulerExecutor&>()))> executor_;
};

// The current exception as Asio's coroutines know it: a cancelled wait is operation_aborted.
std::exception_ptr CurrentExceptionForAsio();

}  // namespace internal

// Runs `function()` on a new fiber of `executor`'s scheduler. Completes, with signature void(std::exception_ptr, T) or
// void(std::exception_ptr), when it has returned or thrown; T must be default-constructible. WaitCancelled arrives as
// system_error (operation_aborted). The fiber's context is below the background; cancelling the operation cancels it.
template <typename F, typename CompletionToken>
auto async_spawn(const SchedulerExecutor& executor, F&& function, CompletionToken&& token) {
  using T = std::invoke_result_t<std::decay_t<F>&>;
  return boost::asio::async_initiate<CompletionToken, typename internal::CoroutineSignature<T>::type>(
      [executor](auto handler, auto f) {
        // Copies of the source in slot and fiber: whoever is last drops it.
        auto source = std::make_shared<CancelSource>(Context().WithCancel());
        internal::FiberCompletion<decltype(handler)> completion(std::move(handler), executor);
        completion.OnCancel([source] { source->Cancel(); });
        auto run = [completion = std::move(completion), source, f = std::move(f)]() mutable {
          std::exception_ptr exception;
          if constexpr (std::is_void_v<T>) {
            try {
              f();
            } catch (const internal::ForcedUnwind&) {
              throw;
            } catch (...) {
              exception = internal::CurrentExceptionForAsio();
            }
            std::move(completion).Complete(std::move(exception));
          } else {
            T result{};
            try {
              result = f();
            } catch (const internal::ForcedUnwind&) {
              throw;
            } catch (...) {
              exception = internal::CurrentExceptionForAsio();
            }
            std::move(completion).Complete(std::move(exception), std::move(result));
          }
        };
        const absl::StatusOr<Fiber> fiber = internal::SpawnFunction(
            executor.core(), std::move(run), {.name = "async_spawn", .context = &source->context()});
        if (!fiber.ok()) internal::ThrowSpawnError(fiber.status());
      },
      token, std::decay_t<F>(std::forward<F>(function)));
}

// Completes, with signature void(boost::system::error_code), when `fiber` has finished; with operation_aborted when the
// operation is cancelled before, in which case the fiber goes on. A fiber of `executor`'s scheduler does the waiting.
template <typename CompletionToken>
auto async_join(const SchedulerExecutor& executor, const Fiber& fiber, CompletionToken&& token) {
  return boost::asio::async_initiate<CompletionToken, void(boost::system::error_code)>(
      [executor](auto handler, const Fiber& target) {
        auto source = std::make_shared<CancelSource>(Context().WithCancel());
        internal::FiberCompletion<decltype(handler)> completion(std::move(handler), executor);
        completion.OnCancel([source] { source->Cancel(); });
        auto wait = [completion = std::move(completion), source, target]() mutable {
          boost::system::error_code error;
          try {
            target.Join();
          } catch (const WaitCancelled&) {
            error = boost::asio::error::operation_aborted;
          }
          std::move(completion).Complete(error);
        };
        const absl::StatusOr<Fiber> waiter = internal::SpawnFunction(
            executor.core(), std::move(wait), {.name = "async_join", .context = &source->context()});
        if (!waiter.ok()) internal::ThrowSpawnError(waiter.status());
      },
      token, fiber);
}

// The same on the calling fiber's scheduler: for coroutines that run on it.
template <typename CompletionToken>
auto async_join(const Fiber& fiber, CompletionToken&& token) {
  return async_join(SchedulerExecutor(internal::CurrentCore(), true), fiber, std::forward<CompletionToken>(token));
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_IO_AWAIT_H_
