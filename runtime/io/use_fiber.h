// The Asio completion token that parks the calling fiber until the operation is done.
//
//   boost::system::error_code error;
//   size_t bytes = socket.async_read_some(buffer, use_fiber[error]);   // error receives the outcome
//   size_t bytes = socket.async_read_some(buffer, use_fiber);          // throws boost::system::system_error instead
//   size_t bytes = socket.async_read_some(buffer, use_fiber[error].timeout(std::chrono::seconds(5)));
//
// Returns what the operation completes with, the error_code left out: nothing, a value, or a std::tuple of several.
// Works with every Asio and Beast operation. Operations whose first argument is a std::exception_ptr rethrow it.
//
// While it waits the fiber is in state waiting, reason WaitReason::kIo. The operation's handler does nothing but store
// the results and make the fiber runnable; it runs wherever the reactor runs, so I/O objects shared by several fibers
// need the protection that Asio asks for ("shared objects: unsafe").
//
// Cancellation. When the fiber is cancelled (context.h, scope.h), when the timeout passes, or when the slot of
// asio::bind_cancellation_slot(slot, use_fiber) is emitted, the operation is asked to stop, through its own
// cancellation slot, and the fiber goes on waiting until it has completed. So nothing it has done gets lost, and the
// buffers are the caller's again when the call returns:
//   - it completed all the same, because it was faster: its results are returned as ever
//   - it was cancelled: boost::asio::error::operation_aborted, with the bytes transferred so far; after a timeout
//     boost::asio::error::timed_out instead
// An operation that knows no cancellation (a resolver's, some of other libraries) is waited for to its end. A fiber
// that is cancelled already starts no operation: error operation_aborted, or WaitCancelled if the operation reports no
// error_code. The fiber's cancellation and the timeout ask for total, partial and terminal cancellation at once, so the
// operation does the gentlest that it can; afterwards a stream may be in an unknown state and should be closed.
//
// Where the slot is emitted. Asio's slots and signals are not thread-safe: emission must not overlap the operation's
// start, which fills the slot, the intermediate handlers of composed operations, which fill it anew, or the completion,
// after which the I/O object may go. All of these except the start run on the operation's associated executor, and that
// is the reactor's: of a scheduler at most one worker at a time runs the reactor, with a release and an acquire between
// one and the next (scheduler_core.h), so its handlers form one strand. Requests to cancel come from the waiting fiber,
// or from any thread by the bound slot; they never emit, but post the emission to the reactor, and only after the start
// has returned. The posted handler runs in that strand, and emits unless the operation has completed, which it knows
// from a flag that only the strand touches. An operation bound to another executor (asio::bind_executor around
// use_fiber) leaves that strand; do not cancel such operations.
//
// When the scheduler stops, the operation is cancelled as well, and when it has completed, and so is done with the
// caller's buffers, the fiber is unwound (ForcedUnwind, runtime/park.h). A fiber whose operation cannot be cancelled
// and does not complete is left as it is; its destructors do not run. A destructor that waits for I/O meanwhile goes on
// with what the operation says.
//
// The I/O object must live until the call returns, as Asio asks for where cancellation slots are emitted.
//
// Fiber-only. Parks the fiber. Cost beyond Asio's: one allocation, one park; with a timeout, a timer.
#ifndef FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_
#define FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_

#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "runtime/base/futex_lock.h"
#include "runtime/context.h"
#include "runtime/one_shot.h"
#include "runtime/park.h"
#include "runtime/wait_cancelled.h"

namespace fiberscope {

struct use_fiber_t {
  // The error goes here instead of into an exception.
  boost::system::error_code* error = nullptr;
  // From the start of the operation; max(): none.
  std::chrono::nanoseconds timeout_after = std::chrono::nanoseconds::max();

  constexpr use_fiber_t operator[](boost::system::error_code& where) const { return {&where, timeout_after}; }
  // Zero or less: what cannot complete at once times out.
  constexpr use_fiber_t timeout(std::chrono::nanoseconds after) const { return {error, after}; }
};
inline constexpr use_fiber_t use_fiber{};

namespace internal {

boost::asio::io_context& CurrentReactor();  // of the calling fiber's scheduler

// One operation: shared by the fiber that waits for it, its handler, and requests to cancel it. Published when it has
// completed.
class FiberOperation : public OneShot {
 public:
  explicit FiberOperation(boost::asio::io_context& reactor) : reactor_(reactor) {}

  // What the operation's handler says its slot is.
  boost::asio::cancellation_slot slot() { return signal_.slot(); }

  // Asks the operation to stop, once it has been started; after its completion nothing happens. Any thread, at any time
  // while there is a reference, also after the scheduler has gone.
  void RequestCancel(boost::asio::cancellation_type type);
  // The fiber, when the initiating function has returned.
  void SetStarted();
  // The fiber, before it leaves the call: there will be no more emissions.
  void SetOver();

  // The strand of the reactor: the handler runs.
  void Complete() {
    completed_ = true;
    Publish();
  }

  enum class Ended : uint8_t { kNormally, kAfterCancel, kAfterTimeout, kStopped };
  // Waits for the completion, and asks the operation to stop when the fiber is cancelled, the timeout passes, or the
  // scheduler stops. In any case it has completed then.
  Ended AwaitCompletion(std::chrono::nanoseconds timeout);

 private:
  void PostEmission(boost::asio::cancellation_type type);

  boost::asio::io_context& reactor_;
  boost::asio::cancellation_signal signal_;  // touched by the start, then by the reactor's strand
  bool completed_ = false;                   // touched by the reactor's strand
  enum class Phase : uint8_t { kStarting, kStarted, kOver };
  FutexLock phase_lock_;
  Phase phase_ = Phase::kStarting;  // GUARDED_BY(phase_lock_)
  boost::asio::cancellation_type wanted_ =
      boost::asio::cancellation_type::none;  // GUARDED_BY(phase_lock_): while starting
};

// A fiber in a call of an operation, however it leaves.
class FiberOperationCall {
 public:
  explicit FiberOperationCall(FiberOperation& operation) : operation_(operation) {}
  ~FiberOperationCall() { operation_.SetOver(); }
  FiberOperationCall(const FiberOperationCall&) = delete;
  FiberOperationCall& operator=(const FiberOperationCall&) = delete;

 private:
  FiberOperation& operation_;
};

// True when the calling fiber is cancelled, so that an operation should not even be started.
bool FiberIsCancelled();

// An operation that completes with void(Args...).
template <typename... Args>
struct FiberResult final : FiberOperation {
  using FiberOperation::FiberOperation;
  std::optional<std::tuple<Args...>> values;
};

template <typename... Args>
class FiberHandler {
 public:
  // Where the reactor runs: within a completion there, that means at once. Intermediate handlers of composed operations
  // run there too.
  using executor_type = boost::asio::io_context::executor_type;
  using cancellation_slot_type = boost::asio::cancellation_slot;

  FiberHandler(OneShotRef<FiberResult<Args...>> result, boost::asio::io_context& reactor)
      : result_(std::move(result)), executor_(reactor.get_executor()) {}

  executor_type get_executor() const noexcept { return executor_; }
  cancellation_slot_type get_cancellation_slot() const noexcept { return result_->slot(); }

  template <typename... Actual>
  void operator()(Actual&&... actual) {
    result_->values.emplace(std::forward<Actual>(actual)...);
    result_->Complete();
  }

 private:
  OneShotRef<FiberResult<Args...>> result_;
  executor_type executor_;
};

// The values of an operation that was not started. Signatures without an error_code throw WaitCancelled.
template <typename... Args>
std::tuple<Args...> AbortedValues() {
  if constexpr (sizeof...(Args) > 0 && (std::is_default_constructible_v<Args> && ...)) {
    std::tuple<Args...> values;
    if constexpr (std::is_same_v<std::tuple_element_t<0, std::tuple<Args...>>, boost::system::error_code>) {
      std::get<0>(values) = boost::asio::error::operation_aborted;
      return values;
    }
  }
  throw WaitCancelled();
}

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

// Starts an operation of signature void(Args...), waits for it, and returns or throws what it brought.
template <typename... Args, typename Slot, typename Initiation, typename... InitiationArgs>
typename FiberReturn<Args...>::type RunOperation(const use_fiber_t& token, Slot slot, Initiation&& initiation,
                                                 InitiationArgs&&... arguments) {
  if (FiberIsCancelled()) {
    std::tuple<Args...> values = AbortedValues<Args...>();
    return UnwrapResult(token, values);
  }
  boost::asio::io_context& reactor = CurrentReactor();
  const OneShotRef<FiberResult<Args...>> result(new FiberResult<Args...>(reactor));
  const FiberOperationCall call(*result);
  if (slot.is_connected()) {
    slot.assign([result](boost::asio::cancellation_type type) { result->RequestCancel(type); });
  }
  std::forward<Initiation>(initiation)(FiberHandler<Args...>(result, reactor),
                                       std::forward<InitiationArgs>(arguments)...);
  result->SetStarted();
  const FiberOperation::Ended ended = result->AwaitCompletion(token.timeout_after);
  if (ended == FiberOperation::Ended::kStopped) ThrowStopped();
  if constexpr (sizeof...(Args) > 0) {
    auto& first = std::get<0>(*result->values);
    if constexpr (std::is_same_v<std::decay_t<decltype(first)>, boost::system::error_code>) {
      if (ended == FiberOperation::Ended::kAfterTimeout && first == boost::asio::error::operation_aborted) {
        first = boost::asio::error::timed_out;
      }
    }
  }
  return UnwrapResult(token, *result->values);
}

}  // namespace internal
}  // namespace fiberscope

namespace boost::asio {

template <typename... Args>
class async_result<fiberscope::use_fiber_t, void(Args...)> {
 public:
  template <typename Initiation, typename... InitiationArgs>
  static typename fiberscope::internal::FiberReturn<std::decay_t<Args>...>::type initiate(
      Initiation&& initiation, fiberscope::use_fiber_t token, InitiationArgs&&... arguments) {
    return fiberscope::internal::RunOperation<std::decay_t<Args>...>(
        token, cancellation_slot(), std::forward<Initiation>(initiation), std::forward<InitiationArgs>(arguments)...);
  }
};

// asio::bind_cancellation_slot(slot, use_fiber): the slot joins the fiber's own cancellation and the timeout instead of
// replacing them. It may be emitted on any thread, if the emission and the start of the operation are in order (a
// signal is not thread-safe).
template <typename Slot, typename... Args>
class async_result<cancellation_slot_binder<fiberscope::use_fiber_t, Slot>, void(Args...)> {
 public:
  template <typename Initiation, typename Token, typename... InitiationArgs>
  static typename fiberscope::internal::FiberReturn<std::decay_t<Args>...>::type initiate(
      Initiation&& initiation, Token&& token, InitiationArgs&&... arguments) {
    return fiberscope::internal::RunOperation<std::decay_t<Args>...>(token.get(), token.get_cancellation_slot(),
                                                                     std::forward<Initiation>(initiation),
                                                                     std::forward<InitiationArgs>(arguments)...);
  }
};

}  // namespace boost::asio

#endif  // FIBERSCOPE_RUNTIME_IO_USE_FIBER_H_
