// A queue of values between fibers, as in Go: unbuffered (every send meets a receive) or with a capacity, and closable.
//
//   Channel<Order> orders(/*capacity=*/16, "orders");
//   orders.Send(order);              // parks while the channel is full
//   for (Order& next : orders) ...   // until closed and empty
//
// Values are delivered in the order of the sends; waiting receivers and senders are served in order of arrival. What a send did
// before is visible to the receiver after, and a receive from an unbuffered channel happens before the send returns. To wait
// on several channels at once, see select.h.
//
// T must be movable without throwing. A value is moved twice at most (into the buffer and out), once when a partner waits.
//
// Thread-safe; plain threads may use it too and then block. Parks the fiber (WaitReason::kChannelSend, kChannelReceive) or
// blocks the thread. Send and Receive throw WaitCancelled when the fiber is cancelled while it waits. Must outlive every use; the
// destructor CHECKs that nobody waits. Closing a closed channel is a CHECK failure; sending on one is not (unlike Go: a C++
// program should not end because two parties shut down in the wrong order).
// Cost: one futex-lock round trip per operation; nothing allocates after construction.
#ifndef FIBERSCOPE_RUNTIME_SYNC_CHANNEL_H_
#define FIBERSCOPE_RUNTIME_SYNC_CHANNEL_H_

#include <chrono>
#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/check.h"
#include "runtime/base/futex_lock.h"
#include "runtime/deadline.h"
#include "runtime/park.h"
#include "runtime/wait_object.h"

namespace fiberscope {

namespace internal {

class SelectAccess;

// What a channel does that does not depend on the type of the values.
class ChannelBase {
 public:
  ChannelBase(const ChannelBase&) = delete;
  ChannelBase& operator=(const ChannelBase&) = delete;

  // Receivers get what is buffered, then nothing; senders get false. Wakes all that wait. Closing twice is a CHECK failure.
  void Close();

  // Of some recent moment.
  size_t size() const;
  size_t capacity() const { return capacity_; }
  bool closed() const;

  // Identity in dumps.
  const WaitObject& wait_object() const { return object_; }

 protected:
  ChannelBase(size_t capacity, const char* name, uintptr_t creation_pc)
      : object_(WaitObjectKind::kChannel, name, creation_pc), capacity_(capacity) {}
  ~ChannelBase();

  // Park in a queue; the lock is held on entry and released. kDone: a partner took or brought the value.
  WaitOutcome WaitToSend(void* value, const WaitLimits& limits);
  WaitOutcome WaitToReceive(void* value, const WaitLimits& limits);
  absl::Status SendStatus(WaitOutcome outcome) const;
  absl::Status ReceiveStatus(WaitOutcome outcome) const;

  mutable FutexLock lock_;
  bool closed_ = false;   // GUARDED_BY(lock_)
  WaitQueue senders_;     // GUARDED_BY(lock_): each waiter's slot points at the value
  WaitQueue receivers_;   // GUARDED_BY(lock_): each waiter's slot points at a std::optional to fill
  size_t first_ = 0;      // GUARDED_BY(lock_): oldest element of the ring
  size_t size_ = 0;       // GUARDED_BY(lock_)

 private:
  friend class SelectAccess;

  WaitOutcome Wait(WaitQueue& queue, WaitReason reason, void* value, const WaitLimits& limits);

  WaitObject object_;
  const size_t capacity_;
};

// Parks for ever, as operations on no channel do; returns when the scheduler stops, or throws.
void WaitOnNothing(WaitReason reason);

}  // namespace internal

template <typename T>
class Channel : public internal::ChannelBase {
  static_assert(std::is_nothrow_move_constructible_v<T>, "a value must not get lost half-way");

 public:
  // Capacity 0: unbuffered. `name` must outlive the channel; it appears in dumps.
  __attribute__((always_inline)) explicit Channel(size_t capacity = 0, const char* name = nullptr)
      : Channel(capacity, name, CurrentPc()) {}

  ~Channel() {
    while (size_ > 0) static_cast<void>(TakeFront());  // a T may be [[nodiscard]]
  }

  // False: the channel is closed, `value` was not sent (and is destroyed).
  bool Send(T value) {
    const internal::WaitOutcome outcome = SendWithin(value, {});
    internal::ThrowInterrupted(outcome);
    return outcome == internal::WaitOutcome::kDone;
  }

  // As Send, but false instead of waiting; then `value` is as it was. Never parks.
  bool TrySend(T&& value) {
    internal::Waiter* receiver = nullptr;
    lock_.lock();
    const bool sent = !closed_ && SendNow(value, receiver);
    lock_.unlock();
    if (receiver != nullptr) internal::Wake(*receiver, internal::WaitOutcome::kDone);
    return sent;
  }

  // kDeadlineExceeded, kCancelled, or kFailedPrecondition when the channel is closed; then `value` is as it was.
  [[nodiscard]] absl::Status SendUntil(T&& value, Deadline deadline) {
    return SendStatus(SendWithin(value, {.deadline_ns = internal::DeadlineNs(deadline)}));
  }
  [[nodiscard]] absl::Status SendFor(T&& value, std::chrono::nanoseconds timeout) {
    return SendUntil(std::move(value), DeadlineAfter(timeout));
  }

  // Nothing: the channel is closed and empty.
  std::optional<T> Receive() {
    std::optional<T> value;
    internal::ThrowInterrupted(ReceiveWithin(value, {}));
    return value;
  }

  // Nothing: empty at the moment, or closed and empty. Never parks.
  std::optional<T> TryReceive() {
    std::optional<T> value;
    internal::Waiter* sender = nullptr;
    lock_.lock();
    ReceiveNow(value, sender);
    lock_.unlock();
    if (sender != nullptr) internal::Wake(*sender, internal::WaitOutcome::kDone);
    return value;
  }

  // kDeadlineExceeded, kCancelled, or kFailedPrecondition when the channel is closed and empty.
  [[nodiscard]] absl::StatusOr<T> ReceiveUntil(Deadline deadline) {
    std::optional<T> value;
    const internal::WaitOutcome outcome = ReceiveWithin(value, {.deadline_ns = internal::DeadlineNs(deadline)});
    if (outcome != internal::WaitOutcome::kDone) return ReceiveStatus(outcome);
    return std::move(*value);
  }
  [[nodiscard]] absl::StatusOr<T> ReceiveFor(std::chrono::nanoseconds timeout) {
    return ReceiveUntil(DeadlineAfter(timeout));
  }

  // For `for (T& value : channel)`: receives until the channel is closed and empty. The value lives until the next step.
  class Iterator {
   public:
    explicit Iterator(Channel& channel) : channel_(channel), value_(channel.Receive()) {}
    T& operator*() { return *value_; }
    Iterator& operator++() {
      // By hand: a T need not be assignable.
      value_.reset();
      if (std::optional<T> next = channel_.Receive()) value_.emplace(std::move(*next));
      return *this;
    }
    bool operator==(std::default_sentinel_t) const { return !value_.has_value(); }

   private:
    Channel& channel_;
    std::optional<T> value_;
  };
  Iterator begin() { return Iterator(*this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class internal::SelectAccess;

  union Cell {
    Cell() {}
    ~Cell() {}
    T value;
  };

  Channel(size_t capacity, const char* name, uintptr_t creation_pc)
      : ChannelBase(capacity, name, creation_pc), ring_(capacity == 0 ? nullptr : new Cell[capacity]) {}

  internal::WaitOutcome SendWithin(T& value, const internal::WaitLimits& limits) {
    internal::Waiter* receiver = nullptr;
    lock_.lock();
    if (closed_) {
      lock_.unlock();
      return internal::WaitOutcome::kClosed;
    }
    if (!SendNow(value, receiver)) return WaitToSend(&value, limits);
    lock_.unlock();
    if (receiver != nullptr) internal::Wake(*receiver, internal::WaitOutcome::kDone);
    return internal::WaitOutcome::kDone;
  }

  internal::WaitOutcome ReceiveWithin(std::optional<T>& value, const internal::WaitLimits& limits) {
    internal::Waiter* sender = nullptr;
    lock_.lock();
    if (!ReceiveNow(value, sender)) {
      if (!closed_) return WaitToReceive(&value, limits);
      lock_.unlock();
      return internal::WaitOutcome::kClosed;
    }
    lock_.unlock();
    if (sender != nullptr) internal::Wake(*sender, internal::WaitOutcome::kDone);
    return internal::WaitOutcome::kDone;
  }

  // Both: lock held; true: done. The partner, if there was one, has to be woken when the lock has been released.
  bool SendNow(T& value, internal::Waiter*& receiver) {
    receiver = receivers_.ClaimFront();
    if (receiver != nullptr) {
      static_cast<std::optional<T>*>(receiver->slot)->emplace(std::move(value));
      return true;
    }
    if (size_ == capacity()) return false;
    PutBack(value);
    return true;
  }

  bool ReceiveNow(std::optional<T>& value, internal::Waiter*& sender) {
    if (size_ > 0) {
      value.emplace(TakeFront());
      sender = senders_.ClaimFront();
      // The ring was full: the oldest sender's value takes the free place at its end.
      if (sender != nullptr) PutBack(*static_cast<T*>(sender->slot));
      return true;
    }
    sender = senders_.ClaimFront();
    if (sender == nullptr) return false;
    value.emplace(std::move(*static_cast<T*>(sender->slot)));
    return true;
  }

  size_t Wrapped(size_t index) const { return index >= capacity() ? index - capacity() : index; }

  void PutBack(T& value) {
    new (&ring_[Wrapped(first_ + size_)].value) T(std::move(value));
    ++size_;
  }

  T TakeFront() {
    T& front = ring_[first_].value;
    T value(std::move(front));
    front.~T();
    first_ = Wrapped(first_ + 1);
    --size_;
    return value;
  }

  std::unique_ptr<Cell[]> ring_;  // GUARDED_BY(lock_): elements first_ .. first_ + size_ are alive
};

// Operations on a channel that may not be there, as Go's on nil: without one they wait for ever (WaitReason::kChannelReceiveNil,
// kChannelSendNil), and closing none is a CHECK failure. With one they are its methods.
template <typename T>
std::optional<T> Receive(Channel<T>* channel) {
  if (channel != nullptr) return channel->Receive();
  internal::WaitOnNothing(WaitReason::kChannelReceiveNil);
  return std::nullopt;
}
template <typename T>
bool Send(Channel<T>* channel, std::type_identity_t<T> value) {
  if (channel != nullptr) return channel->Send(std::move(value));
  internal::WaitOnNothing(WaitReason::kChannelSendNil);
  return false;
}
inline void Close(internal::ChannelBase* channel) {
  FIBERSCOPE_CHECK(channel != nullptr, "close of no channel");
  channel->Close();
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_CHANNEL_H_
