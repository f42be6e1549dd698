// The Asio completion token that parks the calling fiber until the operation is done.
//
//   boost::system::error_code error;
//   size_t bytes = socket.async_read_some(buffer, use_fiber[error]);   // error receives the outcome
//   size_t bytes = socket.async_read_some(buffer, use_fiber);          // throws boost::system::system_error instead
//
// Returns what the operation completes with, the error_code left out: nothing, a value, or a std::tuple of several.
// Works with every Asio and Beast operation. Operations whose first argument is a std::exception_ptr rethrow it.
//
// While it waits the fiber is in state waiting, reason WaitReason::kIo. The operation's handler does nothing but write
// the results into the fiber's frame and make it runnable; it runs wherever the reactor runs, so I/O objects shared by
// several fibers need the protection that Asio asks for ("shared objects: unsafe").
//
// When the scheduler stops, the operation is cancelled (its cancellation slot, all types), and when it has completed,
// and so is done with the caller's buffers, the fiber is unwound (ForcedUnwind, runtime/park.h). A fiber whose
// operation cannot be cancelled and does not complete is left as it is, its destructors do not run.
//
// Fiber-only. Parks the fiber. Cost beyond Asio's: one park, no allocation.
#ifndef FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_
#define FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_

#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
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
  // Where the reactor runs: within a completion there, that means at once. Intermediate handlers of composed operations
  // run there too.
  using executor_type = boost::asio::io_context::executor_type;

  using cancellation_slot_type = boost::asio::cancellation_slot;

  FiberHandler(Suspension::Token token, cancellation_slot_type slot, boost::asio::io_context& reactor)
      : token_(token), slot_(slot), executor_(reactor.get_executor()) {}

  executor_type get_executor() const noexcept { return executor_; }
  cancellation_slot_type get_cancellation_slot() const noexcept { return slot_; }

  template <typename... Actual>
  void operator()(Actual&&... actual) {
    Suspension::Complete(token_, [&](void* slot) {
      static_cast<FiberResult<Args...>*>(slot)->values.emplace(std::forward<Actual>(actual)...);
    });
  }

 private:
  Suspension::Token token_;
  cancellation_slot_type slot_;
  executor_type executor_;
};

// What the caller gets for a completion of void(Args...): the values without a leading error_code or exception_ptr.
// Spelt out, because overload resolution within Asio asks for it with argument types that no body could be compiled
// for.
template <typename... Values>
struct FiberValues {
  using type = std::tuple<Values...>;
};
template <>
struct FiberValues<> {
  using type = void;
};
template <typename Value>
struct FiberValues<Value> {
  using type = Value;
};
template <typename... Args>
struct FiberReturn : FiberValues<Args...> {};
template <typename... Rest>
struct FiberReturn<boost::system::error_code, Rest...> : FiberValues<Rest...> {};
template <typename... Rest>
struct FiberReturn<std::exception_ptr, Rest...> : FiberValues<Rest...> {};

// Takes the leading error_code or exception_ptr off and deals with it.
template <typename First, typename... Rest>
typename FiberReturn<First, Rest...>::type UnwrapResult(const use_fiber_t& token, std::tuple<First, Rest...>& values) {
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
  static typename fiberscope::internal::FiberReturn<std::decay_t<Args>...>::type initiate(
      Initiation&& initiation, fiberscope::use_fiber_t token, InitiationArgs&&... arguments) {
    using Result = fiberscope::internal::FiberResult<std::decay_t<Args>...>;
    Result result;
    cancellation_signal signal;
    fiberscope::internal::Suspension suspension;
    suspension.set_slot(&result);
    std::forward<Initiation>(initiation)(fiberscope::internal::FiberHandler<std::decay_t<Args>...>(
                                             suspension.token(), signal.slot(), fiberscope::internal::CurrentReactor()),
                                         std::forward<InitiationArgs>(arguments)...);
    const bool completed = suspension.WaitThroughStop({.reason = fiberscope::WaitReason::kIo},
                                                      [&] { signal.emit(cancellation_type::all); });
    // A destructor that waits for I/O while its fiber is being unwound goes on with what the operation said.
    if (!completed) fiberscope::internal::ThrowStopped();
    return fiberscope::internal::UnwrapResult(token, *result.values);
  }
};

}  // namespace boost::asio

#endif  // FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_
