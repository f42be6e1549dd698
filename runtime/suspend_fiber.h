// Turns any API that calls back into one that waits.
//
//   absl::StatusOr<Reply> reply = SuspendFor<Reply>(std::chrono::seconds(1), [&](Resume<Reply> resume) {
//     client.Call(request, [resume](Reply reply) { resume(std::move(reply)); });
//   });
//
// `start` runs at once, on the caller's stack, and hands its Resume to whoever will call back: on any thread, before,
// while or after the caller parks, even before `start` returns. The wait ends exactly once: by the first resume, by the
// deadline, by cancelling the fiber (context.h), or by the stop of the scheduler. A resume that comes too late, or
// second, returns false, and its value is destroyed; so does one after the caller has long gone. A Resume of which all
// copies are destroyed without having been called would leave the caller waiting for ever; therefore that ends the wait
// too, with kAborted.
//
// When a wait ends without its result, the operation behind it goes on: tell its API that nobody waits any more, if it
// can be told. What `start` refers to must live as long as the callback may run.
//
// Fibers and plain threads. Parks the fiber (WaitReason::kSuspend) or blocks the thread. Cost: one allocation, one
// park.
#ifndef FIBERSCOPE_RUNTIME_SUSPEND_FIBER_H_
#define FIBERSCOPE_RUNTIME_SUSPEND_FIBER_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/one_shot.h"

namespace fiberscope {

template <typename T>
class Resume;

namespace internal {

// What an operation that returns T brings.
template <typename T>
struct SuspendResult {
  template <typename... Value>
  static constexpr bool kMadeFrom = std::is_constructible_v<T, Value...>;
  std::optional<T> value;
};
template <>
struct SuspendResult<void> {
  template <typename... Value>
  static constexpr bool kMadeFrom = sizeof...(Value) == 0;
};

template <typename T>
struct SuspendState final : OneShot {
  SuspendResult<T> result;
  std::exception_ptr error;
  bool dropped = false;
  std::atomic<uint32_t> resumes{0};  // copies of the Resume
};

// The wait of a suspension with the claim settled: OK exactly if the result was published. Unwinds the fiber when the
// scheduler stops.
absl::Status AwaitSuspended(OneShot& state, int64_t deadline_ns);
// Cancelled: throws WaitCancelled.
void ThrowSuspended(const absl::Status& status);
int64_t SuspendDeadlineNs(std::chrono::nanoseconds timeout);

}  // namespace internal

// Ends the wait of one Suspend. Thread-safe; copies are equal. Never blocks.
template <typename T = void>
class Resume {
 public:
  // The value is what Suspend returns. True: it was this call that ended the wait.
  template <typename... Value>
  requires(internal::SuspendResult<T>::template kMadeFrom<Value...>) bool operator()(Value&&... value) const {
    internal::SuspendState<T>& state = *state_;
    if (!state.Claim()) return false;
    if constexpr (!std::is_void_v<T>) {
      try {
        state.result.value.emplace(std::forward<Value>(value)...);
      } catch (...) {
        state.error = std::current_exception();
      }
    }
    state.Publish();
    return true;
  }

  // Suspend throws that exception instead of returning.
  bool Fail(std::exception_ptr error) const {
    internal::SuspendState<T>& state = *state_;
    if (!state.Claim()) return false;
    state.error = std::move(error);
    state.Publish();
    return true;
  }

  // Whether the wait has ended, so that a result need not be made. It may end right after false.
  bool ended() const { return state_->claimed(); }

  Resume(const Resume& other) : Resume(other.state_) {}
  Resume& operator=(const Resume& other) {
    Resume copy(other);
    std::swap(state_, copy.state_);
    return *this;
  }
  ~Resume() {
    // acq_rel: a claim of another copy comes first.
    if (state_->resumes.fetch_sub(1, std::memory_order_acq_rel) != 1 || !state_->Claim()) return;
    state_->dropped = true;
    state_->Publish();
  }

  // For Suspend.
  explicit Resume(internal::OneShotRef<internal::SuspendState<T>> state) : state_(std::move(state)) {
    state_->resumes.fetch_add(1, std::memory_order_relaxed);
  }

 private:
  internal::OneShotRef<internal::SuspendState<T>> state_;
};

namespace internal {

template <typename T, typename Start>
absl::StatusOr<std::conditional_t<std::is_void_v<T>, std::monostate, T>> SuspendUntilNs(int64_t deadline_ns,
                                                                                        Start&& start) {
  const OneShotRef<SuspendState<T>> state(new SuspendState<T>);
  std::forward<Start>(start)(Resume<T>(state));
  if (absl::Status status = AwaitSuspended(*state, deadline_ns); !status.ok()) return status;
  if (state->error) std::rethrow_exception(state->error);
  if (state->dropped) return absl::AbortedError("suspended, and nobody is left to resume it");
  if constexpr (std::is_void_v<T>) {
    return std::monostate();
  } else {
    return *std::move(state->result.value);
  }
}

template <typename T, typename Start>
auto SuspendStatus(int64_t deadline_ns, Start&& start) {
  auto result = SuspendUntilNs<T>(deadline_ns, std::forward<Start>(start));
  if constexpr (std::is_void_v<T>) {
    return result.status();
  } else {
    return result;
  }
}

}  // namespace internal

// Calls `start(Resume<T>)` and waits for its resume. Throws WaitCancelled when the fiber is cancelled,
// std::future_error (broken_promise) when nobody is left to resume it, what Fail() was given, and what `start` throws.
template <typename T = void, typename Start>
T Suspend(Start&& start) {
  auto result = internal::SuspendUntilNs<T>(internal::WaitLimits::kNoDeadline, std::forward<Start>(start));
  internal::ThrowSuspended(result.status());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

// The same, no longer than `timeout`, with a status (absl::StatusOr<T>, or absl::Status for void): kDeadlineExceeded,
// kCancelled with the context's cause in its message, or kAborted. Throws what Fail() was given and what `start`
// throws.
template <typename T = void, typename Start>
auto SuspendFor(std::chrono::nanoseconds timeout, Start&& start) {
  return internal::SuspendStatus<T>(internal::SuspendDeadlineNs(timeout), std::forward<Start>(start));
}

template <typename T = void, typename Start>
auto SuspendUntil(std::chrono::steady_clock::time_point deadline, Start&& start) {
  return internal::SuspendStatus<T>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count(),
      std::forward<Start>(start));
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SUSPEND_FIBER_H_
