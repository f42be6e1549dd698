#include "runtime/sync/channel.h"

#include <mutex>

namespace fiberscope::internal {

ChannelBase::~ChannelBase() {
  FIBERSCOPE_CHECK(senders_.empty() && receivers_.empty(), "channel %d (%s) destroyed while somebody waits on it",
                   object_.id(), object_.name() != nullptr ? object_.name() : "unnamed");
}

void ChannelBase::Close() {
  lock_.lock();
  FIBERSCOPE_CHECK(!closed_, "close of a closed channel (%s)", object_.name() != nullptr ? object_.name() : "unnamed");
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

bool ChannelBase::WaitToSend(void* value) { return Wait(senders_, WaitReason::kChannelSend, value); }
bool ChannelBase::WaitToReceive(void* value) { return Wait(receivers_, WaitReason::kChannelReceive, value); }

bool ChannelBase::Wait(WaitQueue& queue, WaitReason reason, void* value) {
  const ParkInfo info{.reason = reason, .object_id = object_.EnsureId(), .owner_id = 0};
  const WaitOutcome outcome = WaitIn(queue, lock_, info, value);
  ThrowInterrupted(outcome);
  return outcome == WaitOutcome::kDone;
}

}  // namespace fiberscope::internal
