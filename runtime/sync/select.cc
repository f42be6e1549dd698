#include "runtime/sync/select.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "runtime/base/clock.h"
#include "runtime/select_nodes.h"

namespace fiberscope {
namespace internal {
namespace {

// Marsaglia's xorshift64*, one per thread; reached through a function of its own because fibers change threads (worker.h).
__attribute__((noinline, noipa)) uint32_t NextRandom() {
  static constinit thread_local uint64_t state = 0;
  uint64_t x = state;
  if (x == 0) x = static_cast<uint64_t>(MonotonicNowNs()) ^ (reinterpret_cast<uintptr_t>(&state) << 20) ^ 1;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  state = x;
  return static_cast<uint32_t>(x * 0x2545'f491'4f6c'dd1d >> 32);
}

// Uniform in [0, bound): Lemire's multiplication; the bias is below bound / 2^32.
size_t RandomBelow(size_t bound) { return static_cast<size_t>(uint64_t{NextRandom()} * bound >> 32); }

using Order = absl::InlinedVector<uint32_t, 16>;

}  // namespace

// One call of a select.
class Selection {
 public:
  explicit Selection(std::span<const SelectCase> cases) : cases_(cases) {
    // The cases that can happen at all, shuffled (Fisher and Yates, inside out).
    for (uint32_t i = 0; i < cases_.size(); ++i) {
      if (cases_[i].channel_ == nullptr) continue;
      poll_order_.push_back(i);
      std::swap(poll_order_.back(), poll_order_[RandomBelow(poll_order_.size())]);
    }
  }

  // Asks one channel after the other. The case that was done, or kNoCase.
  size_t Poll() {
    for (const uint32_t i : poll_order_) {
      Waiter* partner = nullptr;
      FutexLock& lock = LockOf(i);
      lock.lock();
      const WaitOutcome outcome = cases_[i].attempt_(cases_[i], partner);
      lock.unlock();
      if (outcome == WaitOutcome::kPending) continue;
      Conclude(i, outcome, partner);
      return i;
    }
    return kNoCase;
  }

  // Asks all channels at the same moment.
  size_t PollAtOnce() {
    LockAll();
    return PollLocked([] {});
  }

  // kDone: `chosen` is the case that was done.
  WaitOutcome Wait(const WaitLimits& limits, size_t& chosen) {
    ClaimedWait wait(limits);
    if (poll_order_.size() > 1) nodes_ = &EnsureSelectNodes(wait.record(), poll_order_.size() - 1);
    ParkInfo info{.reason = cases_.empty() ? WaitReason::kSelectNoCases : WaitReason::kSelect};
    LockAll();
    chosen = PollLocked([&] {
      // Node n belongs to the case at position n of the poll order.
      for (size_t n = 0; n < poll_order_.size(); ++n) {
        const SelectCase& each = CaseOf(n);
        Waiter& node = NodeAt(wait, n);
        node.slot = each.slot_;
        node.claimed_wait = true;
        node.ended_wait = false;
        QueueOf(each).PushBack(node);
      }
      if (poll_order_.size() == 1) info.object_id = SelectAccess::EnsureId(*CaseOf(0).channel_);
    });
    if (chosen != kNoCase) return WaitOutcome::kDone;
    const WaitOutcome outcome = wait.Wait(info);
    const bool by_partner = outcome == WaitOutcome::kDone || outcome == WaitOutcome::kClosed;
    for (size_t n = 0; n < poll_order_.size(); ++n) {
      Waiter& node = NodeAt(wait, n);
      if (by_partner && node.ended_wait) {
        chosen = poll_order_[n];
      } else {
        Leave(CaseOf(n), node);
      }
    }
    if (!by_partner) return outcome;
    Conclude(chosen, outcome, nullptr);
    return WaitOutcome::kDone;
  }

 private:
  const SelectCase& CaseOf(size_t n) const { return cases_[poll_order_[n]]; }
  Waiter& NodeAt(ClaimedWait& wait, size_t n) { return n == 0 ? wait.node() : (*nodes_)[n - 1]; }
  FutexLock& LockOf(uint32_t i) { return SelectAccess::Lock(*cases_[i].channel_); }
  static WaitQueue& QueueOf(const SelectCase& each) { return SelectAccess::Queue(*each.channel_, each.sends_); }

  static void Leave(const SelectCase& each, Waiter& node) {
    FutexLock& lock = SelectAccess::Lock(*each.channel_);
    lock.lock();
    if (node.queue != nullptr) QueueOf(each).Remove(node);
    lock.unlock();
  }

  // Each channel once, by address: the order in which everybody who takes several of these locks takes them.
  void LockAll() {
    if (lock_order_.empty()) {
      lock_order_ = poll_order_;
      std::sort(lock_order_.begin(), lock_order_.end(), [this](uint32_t a, uint32_t b) {
        return std::less<>()(cases_[a].channel_, cases_[b].channel_);
      });
      lock_order_.erase(std::unique(lock_order_.begin(), lock_order_.end(),
                                    [this](uint32_t a, uint32_t b) { return cases_[a].channel_ == cases_[b].channel_; }),
                        lock_order_.end());
    }
    for (const uint32_t i : lock_order_) LockOf(i).lock();
  }
  void UnlockAll() {
    for (auto i = lock_order_.rbegin(); i != lock_order_.rend(); ++i) LockOf(*i).unlock();
  }

  // All locks are held, and released. `otherwise` runs before that if no case is possible.
  size_t PollLocked(absl::FunctionRef<void()> otherwise) {
    for (const uint32_t i : poll_order_) {
      Waiter* partner = nullptr;
      const WaitOutcome outcome = cases_[i].attempt_(cases_[i], partner);
      if (outcome == WaitOutcome::kPending) continue;
      UnlockAll();
      Conclude(i, outcome, partner);
      return i;
    }
    otherwise();
    UnlockAll();
    return kNoCase;
  }

  // No lock is held.
  void Conclude(size_t chosen, WaitOutcome outcome, Waiter* partner) {
    const SelectCase& each = cases_[chosen];
    if (partner != nullptr) internal::Wake(*partner, WaitOutcome::kDone);
    if (each.sent_ != nullptr) *each.sent_ = outcome == WaitOutcome::kDone;
    if (outcome == WaitOutcome::kClosed && each.empty_ != nullptr) each.empty_(each);
  }

  const std::span<const SelectCase> cases_;
  Order poll_order_;
  Order lock_order_;
  SelectNodes* nodes_ = nullptr;
};

}  // namespace internal

size_t Select(std::span<const SelectCase> cases) {
  internal::Selection selection(cases);
  size_t chosen = selection.Poll();
  if (chosen == kNoCase) internal::ThrowInterrupted(selection.Wait({}, chosen));
  return chosen;
}

std::optional<size_t> TrySelect(std::span<const SelectCase> cases) {
  internal::Selection selection(cases);
  size_t chosen = selection.Poll();
  // Asked one after the other, each may have been possible while another was being asked.
  if (chosen == kNoCase && cases.size() > 1) chosen = selection.PollAtOnce();
  return chosen == kNoCase ? std::nullopt : std::optional(chosen);
}

absl::StatusOr<size_t> SelectUntil(Deadline deadline, std::span<const SelectCase> cases) {
  internal::Selection selection(cases);
  size_t chosen = selection.Poll();
  if (chosen != kNoCase) return chosen;
  const internal::WaitOutcome outcome = selection.Wait({.deadline_ns = internal::DeadlineNs(deadline)}, chosen);
  if (outcome == internal::WaitOutcome::kDone) return chosen;
  if (outcome == internal::WaitOutcome::kStopped) internal::ThrowStopped();
  if (outcome == internal::WaitOutcome::kTimedOut) return absl::DeadlineExceededError("select: the deadline passed");
  return absl::CancelledError("select: cancelled");
}

}  // namespace fiberscope
