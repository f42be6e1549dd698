// A queue of values between fibers, as in Go: unbuffered (every send meets a receive) or with a capacity, and closable.
//
//   Channel<Order> orders(/*capacity=*/16, "orders");
//   orders.Send(order);                                    // parks while the channel is full
//   while (std::optional<Order> next = orders.Receive()) ...  // until closed and empty
//
// Values are delivered in the order of the sends; waiting receivers and senders are served in order of arrival. What a send did
// before is visible to the receiver after, and a receive from an unbuffered channel happens before the send returns.
//
// T must be movable without throwing. A value is moved twice at most (into the buffer and out), once when a partner waits.
//
// Thread-safe; plain threads may use it too and then block. Parks the fiber (WaitReason::kChannelSend, kChannelReceive) or
// blocks the thread. Must outlive every use; the destructor CHECKs that nobody waits.
// Cost: one futex-lock round trip per operation; nothing allocates after construction.
#ifndef FIBERSCOPE_RUNTIME_SYNC_CHANNEL_H_
#define FIBERSCOPE_RUNTIME_SYNC_CHANNEL_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/futex_lock.h"
#include "runtime/park.h"
#include "runtime/wait_object.h"

namespace fiberscope {

namespace internal {

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

  // Parks in a queue; the lock is held on entry and released. True: a partner took or brought the value. A stop unwinds.
  bool WaitToSend(void* value);
  bool WaitToReceive(void* value);

  mutable FutexLock lock_;
  bool closed_ = false;          // GUARDED_BY(lock_)
  WaitQueue senders_;            // GUARDED_BY(lock_): each waiter's slot points at the value
  WaitQueue receivers_;          // GUARDED_BY(lock_): each waiter's slot points at a std::optional to fill
  size_t first_ = 0;             // GUARDED_BY(lock_): oldest element of the ring
  size_t size_ = 0;              // GUARDED_BY(lock_)

 private:
  bool Wait(WaitQueue& queue, WaitReason reason, void* value);

  WaitObject object_;
  const size_t capacity_;
};

}  // namespace internal

template <typename T>
class Channel : public internal::ChannelBase {
  static_assert(std::is_nothrow_move_constructible_v<T>, "a value must not get lost half-way");

 public:
  // Capacity 0: unbuffered. `name` must outlive the channel; it appears in dumps.
  __attribute__((always_inline)) explicit Channel(size_t capacity = 0, const char* name = nullptr)
      : Channel(capacity, name, CurrentPc()) {}

  ~Channel() {
    while (size_ > 0) TakeFront();
  }

  // False: the channel is closed, `value` was not sent (and is destroyed).
  bool Send(T value) {
    lock_.lock();
    if (closed_) {
      lock_.unlock();
      return false;
    }
    if (SendNow(value)) return true;
    return WaitToSend(&value);
  }

  // As Send, but false instead of waiting; then `value` is as it was. Never parks.
  bool TrySend(T&& value) {
    lock_.lock();
    if (!closed_ && SendNow(value)) return true;
    lock_.unlock();
    return false;
  }

  // Nothing: the channel is closed and empty.
  std::optional<T> Receive() {
    std::optional<T> value;
    lock_.lock();
    if (ReceiveNow(value)) return value;
    if (closed_) {
      lock_.unlock();
      return value;
    }
    WaitToReceive(&value);
    return value;
  }

  // Nothing: empty at the moment, or closed and empty. Never parks.
  std::optional<T> TryReceive() {
    std::optional<T> value;
    lock_.lock();
    if (!ReceiveNow(value)) lock_.unlock();
    return value;
  }

 private:
  union Cell {
    Cell() {}
    ~Cell() {}
    T value;
  };

  Channel(size_t capacity, const char* name, uintptr_t creation_pc)
      : ChannelBase(capacity, name, creation_pc), ring_(capacity == 0 ? nullptr : new Cell[capacity]) {}

  // Both: lock held; true: done, and released.
  bool SendNow(T& value) {
    if (internal::Waiter* const receiver = receivers_.ClaimFront()) {
      static_cast<std::optional<T>*>(receiver->slot)->emplace(std::move(value));
      lock_.unlock();
      internal::Wake(*receiver, internal::WaitOutcome::kDone);
      return true;
    }
    if (size_ == capacity()) return false;
    new (&ring_[(first_ + size_) % capacity()].value) T(std::move(value));
    ++size_;
    lock_.unlock();
    return true;
  }

  bool ReceiveNow(std::optional<T>& value) {
    internal::Waiter* sender = nullptr;
    if (size_ > 0) {
      value.emplace(TakeFront());
      sender = senders_.ClaimFront();
      if (sender != nullptr) {  // the ring was full: the oldest sender's value takes the free place at its end
        new (&ring_[(first_ + size_) % capacity()].value) T(std::move(*static_cast<T*>(sender->slot)));
        ++size_;
      }
    } else {
      sender = senders_.ClaimFront();
      if (sender == nullptr) return false;
      value.emplace(std::move(*static_cast<T*>(sender->slot)));
    }
    lock_.unlock();
    if (sender != nullptr) internal::Wake(*sender, internal::WaitOutcome::kDone);
    return true;
  }

  T TakeFront() {
    T& front = ring_[first_].value;
    T value(std::move(front));
    front.~T();
    first_ = (first_ + 1) % capacity();
    --size_;
    return value;
  }

  std::unique_ptr<Cell[]> ring_;  // GUARDED_BY(lock_): elements first_ .. first_ + size_ are alive
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_CHANNEL_H_
