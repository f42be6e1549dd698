#include "runtime/sync/channel.h"

#include <mutex>

#include "runtime/sync/wait_status.h"

namespace fiberscope::internal {

ChannelBase::~ChannelBase() {
  FIBERSCOPE_CHECK(senders_.empty() && receivers_.empty(), "channel %d (%s) destroyed while somebody waits on it",
                   object_.id(), NameOf(object_));
}

void ChannelBase::Close() {
  lock_.lock();
  FIBERSCOPE_CHECK(!closed_, "close of a closed channel (%s)", NameOf(object_));
  closed_ = true;
  // Collected under the lock, woken outside of it. Order of arrival.
  WakeList waiting;
  receivers_.ClaimAll(waiting);
  senders_.ClaimAll(waiting);
  lock_.unlock();
  WakeAll(waiting, WaitOutcome::kClosed);
}

size_t ChannelBase::size() const {
  std::lock_guard lock(lock_);
  return size_;
}

bool ChannelBase::closed() const {
  std::lock_guard lock(lock_);
  return closed_;
}

WaitOutcome ChannelBase::WaitToSend(void* value, const WaitLimits& limits) {
  return Wait(senders_, WaitReason::kChannelSend, value, limits);
}

WaitOutcome ChannelBase::WaitToReceive(void* value, const WaitLimits& limits) {
  return Wait(receivers_, WaitReason::kChannelReceive, value, limits);
}

WaitOutcome ChannelBase::Wait(WaitQueue& queue, WaitReason reason, void* value, const WaitLimits& limits) {
  const ParkInfo info{.reason = reason, .object_id = object_.EnsureId(), .owner_id = 0};
  return WaitIn(queue, lock_, info, value, limits);
}

absl::Status ChannelBase::SendStatus(WaitOutcome outcome) const { return WaitStatus(outcome, "send to channel", object_); }

absl::Status ChannelBase::ReceiveStatus(WaitOutcome outcome) const {
  return WaitStatus(outcome, "receive from channel", object_);
}

void WaitOnNothing(WaitReason reason) {
  ClaimedWait wait;
  ThrowInterrupted(wait.Wait({.reason = reason}));
}

}  // namespace fiberscope::internal
