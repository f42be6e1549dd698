// Waits for whichever of several channel operations is possible first, and does that one: Go's select.
//
//   std::optional<Order> order;
//   Reply reply = ...;
//   switch (Select(ReceiveCase(&orders, order), SendCase(&replies, reply))) {
//     case 0: if (!order) return; ... break;    // closed and empty
//     case 1: ... break;                        // `reply` was moved out
//   }
//
// With a default, TrySelect; with a timeout, SelectUntil or SelectFor. For a number of cases that is known only at run
// time, all take a span.
//
// If several operations are possible, one of them is chosen at random, each with equal probability. A null pointer in
// place of a channel stands for an operation that is never possible, so a case can be switched off. The same channel
// may occur several times. No value is lost or taken twice: exactly one of the cases has happened when Select returns,
// and the values and optionals of the others are untouched.
//
// How. First the channels are asked one after the other, in random order. If none is ready, all are locked, in the
// order of their addresses, asked again, and the caller queues at each before the locks are released: so it cannot miss
// a partner. It then parks in a claimed wait (wait_claim.h): the first partner to win the claim does the operation; the
// others drop the caller's node and go on to the next in their queue. The caller leaves the other queues, one lock at a
// time, before it returns.
//
// Thread-safe; for fibers and plain threads. Parks the fiber (WaitReason::kSelect; kSelectNoCases without cases) or
// blocks the thread. Select throws WaitCancelled when the fiber is cancelled while it waits. All channels must outlive
// the call. Cost: one lock round trip for each channel asked; when it has to wait, two more for each channel. Does not
// allocate on the heap for up to 16 cases.
#ifndef FIBERSCOPE_RUNTIME_SYNC_SELECT_H_
#define FIBERSCOPE_RUNTIME_SYNC_SELECT_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>

#include "absl/status/statusor.h"
#include "runtime/deadline.h"
#include "runtime/sync/channel.h"

namespace fiberscope {

namespace internal {
class Selection;
}

// One operation of a select. A value; copies refer to the same channel and variables.
class SelectCase {
 private:
  friend class internal::Selection;
  friend class internal::SelectAccess;
  template <typename T>
  friend SelectCase ReceiveCase(Channel<T>* channel, std::optional<T>& into);
  template <typename T>
  friend SelectCase SendCase(Channel<T>* channel, T& value, bool* sent);

  // Does the operation if it is possible now: kDone, kClosed, or kPending. The channel's lock is held; `partner` has to
  // be woken when all locks have been released.
  using Attempt = internal::WaitOutcome (*)(const SelectCase& self, internal::Waiter*& partner);
  // A receive was chosen because its channel is closed.
  using Empty = void (*)(const SelectCase& self);

  SelectCase(internal::ChannelBase* channel, bool sends, void* slot, bool* sent, Attempt attempt, Empty empty)
      : channel_(channel), slot_(slot), sent_(sent), attempt_(attempt), empty_(empty), sends_(sends) {}

  internal::ChannelBase* channel_;
  void* slot_;
  bool* sent_;
  Attempt attempt_;
  Empty empty_;  // null for sends
  bool sends_;
};

namespace internal {

// What a case may do to its channel.
class SelectAccess {
 public:
  template <typename T>
  static WaitOutcome TryReceive(const SelectCase& self, Waiter*& partner) {
    auto& channel = static_cast<Channel<T>&>(*self.channel_);
    if (channel.ReceiveNow(*static_cast<std::optional<T>*>(self.slot_), partner)) return WaitOutcome::kDone;
    return channel.closed_ ? WaitOutcome::kClosed : WaitOutcome::kPending;
  }
  template <typename T>
  static void Empty(const SelectCase& self) {
    static_cast<std::optional<T>*>(self.slot_)->reset();
  }

  template <typename T>
  static WaitOutcome TrySend(const SelectCase& self, Waiter*& partner) {
    auto& channel = static_cast<Channel<T>&>(*self.channel_);
    if (channel.closed_) return WaitOutcome::kClosed;
    return channel.SendNow(*static_cast<T*>(self.slot_), partner) ? WaitOutcome::kDone : WaitOutcome::kPending;
  }

  static FutexLock& Lock(ChannelBase& channel) { return channel.lock_; }
  static WaitQueue& Queue(ChannelBase& channel, bool sends) { return sends ? channel.senders_ : channel.receivers_; }
  static uint64_t EnsureId(ChannelBase& channel) { return channel.object_.EnsureId(); }
};

}  // namespace internal

// Receives into `into`, which is emptied when the channel is closed and empty.
template <typename T>
SelectCase ReceiveCase(Channel<T>* channel, std::optional<T>& into) {
  return SelectCase(channel, /*sends=*/false, &into, nullptr, &internal::SelectAccess::TryReceive<T>,
                    &internal::SelectAccess::Empty<T>);
}

// Sends `value`, which is moved out if this case is chosen, unless the channel is closed. `sent` tells which.
template <typename T>
SelectCase SendCase(Channel<T>* channel, T& value, bool* sent) {
  return SelectCase(channel, /*sends=*/true, &value, sent, &internal::SelectAccess::TrySend<T>, nullptr);
}
template <typename T>
SelectCase SendCase(Channel<T>* channel, T& value) {
  return SendCase(channel, value, static_cast<bool*>(nullptr));
}

// The index of the case that was chosen. Without any case that could become possible it waits for ever. kNoCase only in
// a destructor that runs because of an exception while the fiber is being ended.
inline constexpr size_t kNoCase = static_cast<size_t>(-1);
size_t Select(std::span<const SelectCase> cases);

// Nothing: none is possible now. Never parks.
std::optional<size_t> TrySelect(std::span<const SelectCase> cases);

// kDeadlineExceeded, or kCancelled: none was chosen.
[[nodiscard]] absl::StatusOr<size_t> SelectUntil(Deadline deadline, std::span<const SelectCase> cases);

template <typename... Cases>
requires(std::is_same_v<Cases, SelectCase>&&...) size_t Select(const Cases&... cases) {
  if constexpr (sizeof...(Cases) == 0) {
    return Select(std::span<const SelectCase>());
  } else {
    const std::array<SelectCase, sizeof...(Cases)> all{cases...};
    return Select(std::span<const SelectCase>(all));
  }
}
template <typename... Cases>
requires(std::is_same_v<Cases, SelectCase>&&...) std::optional<size_t> TrySelect(const SelectCase& first,
                                                                                 const Cases&... rest) {
  const std::array<SelectCase, sizeof...(Cases) + 1> all{first, rest...};
  return TrySelect(std::span<const SelectCase>(all));
}
template <typename... Cases>
requires(std::is_same_v<Cases, SelectCase>&&...)
    [[nodiscard]] absl::StatusOr<size_t> SelectUntil(Deadline deadline, const SelectCase& first, const Cases&... rest) {
  const std::array<SelectCase, sizeof...(Cases) + 1> all{first, rest...};
  return SelectUntil(deadline, std::span<const SelectCase>(all));
}
template <typename... Cases>
[[nodiscard]] absl::StatusOr<size_t> SelectFor(std::chrono::nanoseconds timeout, Cases&&... cases) {
  return SelectUntil(DeadlineAfter(timeout), std::forward<Cases>(cases)...);
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_SELECT_H_
