// The Asio completion token that parks the calling fiber until the operation is done.
//
//   boost::system::error_code error;
//   size_t bytes = socket.async_read_some(buffer, use_fiber[error]);   // error receives the outcome
//   size_t bytes = socket.async_read_some(buffer, use_fiber);          // throws boost::system::system_error instead
//
// Returns what the operation completes with, the error_code left out: nothing, a value, or a std::tuple of several. Works with
// every Asio and Beast operation. Operations whose first argument is a std::exception_ptr rethrow it.
//
// While it waits the fiber is in state waiting, reason WaitReason::kIo. The operation's handler does nothing but write the
// results into the fiber's frame and make it runnable; it runs wherever the reactor runs, so I/O objects shared by several
// fibers need the protection that Asio asks for ("shared objects: unsafe").
//
// When the scheduler stops, the wait ends by unwinding the fiber (ForcedUnwind, runtime/park.h); the operation's completion,
// if it still comes, goes nowhere.
//
// Fiber-only. Parks the fiber. Cost beyond Asio's: one park, no allocation.
#ifndef FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_
#define FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_

#include <boost/asio/async_result.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/suspend.h"

namespace fiberscope {

struct use_fiber_t {
  // The error goes here instead of into an exception.
  boost::system::error_code* error = nullptr;

  constexpr use_fiber_t operator[](boost::system::error_code& where) const { return {&where}; }
};
inline constexpr use_fiber_t use_fiber{};

namespace internal {

boost::asio::io_context& CurrentReactor();  // of the calling fiber's scheduler

// What an operation of signature void(Args...) completes with.
template <typename... Args>
struct FiberResult {
  std::optional<std::tuple<Args...>> values;
};

template <typename... Args>
class FiberHandler {
 public:
  // Where the reactor runs: within a completion there, that means at once. Intermediate handlers of composed operations run
  // there too.
  using executor_type = boost::asio::io_context::executor_type;

  FiberHandler(Suspension::Token token, boost::asio::io_context& reactor)
      : token_(token), executor_(reactor.get_executor()) {}

  executor_type get_executor() const noexcept { return executor_; }

  template <typename... Actual>
  void operator()(Actual&&... actual) {
    Suspension::Complete(token_, [&](void* slot) {
      static_cast<FiberResult<Args...>*>(slot)->values.emplace(std::forward<Actual>(actual)...);
    });
  }

 private:
  Suspension::Token token_;
  executor_type executor_;
};

// For a destructor that waits for I/O while its fiber is being unwound by a stopping scheduler: the operation completes with
// the error that Asio gives when a context goes away.
template <typename... Args>
void CompleteAborted(FiberResult<Args...>& result) {
  if constexpr (sizeof...(Args) > 0 && (std::is_default_constructible_v<Args> && ...)) {
    auto& first = std::get<0>(result.values.emplace());
    if constexpr (std::is_same_v<std::decay_t<decltype(first)>, boost::system::error_code>) {
      first = boost::asio::error::operation_aborted;
      return;
    }
  }
  FIBERSCOPE_CHECK(false, "a destructor waits for an operation that cannot report that the scheduler has stopped");
}

// Takes the leading error_code or exception_ptr off and deals with it.
template <typename First, typename... Rest>
auto UnwrapResult(const use_fiber_t& token, std::tuple<First, Rest...>& values) {
  const auto rest = [](auto&, auto&... each) {
    if constexpr (sizeof...(Rest) == 1) {
      return (std::move(each), ...);
    } else if constexpr (sizeof...(Rest) > 1) {
      return std::tuple<Rest...>(std::move(each)...);
    }
  };
  if constexpr (std::is_same_v<First, boost::system::error_code>) {
    const boost::system::error_code error = std::get<0>(values);
    if (token.error != nullptr) {
      *token.error = error;
    } else if (error) {
      throw boost::system::system_error(error);
    }
    return std::apply(rest, values);
  } else if constexpr (std::is_same_v<First, std::exception_ptr>) {
    if (std::get<0>(values)) std::rethrow_exception(std::get<0>(values));
    return std::apply(rest, values);
  } else if constexpr (sizeof...(Rest) == 0) {
    return std::move(std::get<0>(values));
  } else {
    return std::move(values);
  }
}
inline void UnwrapResult(const use_fiber_t&, std::tuple<>&) {}

}  // namespace internal
}  // namespace fiberscope

namespace boost::asio {

template <typename... Args>
class async_result<fiberscope::use_fiber_t, void(Args...)> {
 public:
  template <typename Initiation, typename... InitiationArgs>
  static auto initiate(Initiation&& initiation, fiberscope::use_fiber_t token, InitiationArgs&&... arguments) {
    using Result = fiberscope::internal::FiberResult<std::decay_t<Args>...>;
    Result result;
    // Not cancellable: who cancels an operation makes it complete early, so that nothing it has done gets lost.
    fiberscope::internal::Suspension suspension({.cancellable = false});
    suspension.set_slot(&result);
    std::forward<Initiation>(initiation)(
        fiberscope::internal::FiberHandler<std::decay_t<Args>...>(suspension.token(),
                                                                  fiberscope::internal::CurrentReactor()),
        std::forward<InitiationArgs>(arguments)...);
    if (suspension.Wait({.reason = fiberscope::WaitReason::kIo}) != fiberscope::internal::WaitOutcome::kDone) {
      fiberscope::internal::ThrowStopped();
      fiberscope::internal::CompleteAborted(result);
    }
    return fiberscope::internal::UnwrapResult(token, *result.values);
  }
};

}  // namespace boost::asio

#endif  // FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_
