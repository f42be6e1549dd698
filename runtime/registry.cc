#include "runtime/registry.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/fiber_stacks.h"
#include "runtime/instant.h"
#include "runtime/read_fiber.h"
#include "runtime/running_fibers.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;

// A fiber that changes state all the time is listed as running after so many attempts to see it hold still: on the
// reference machine an attempt takes ~0.2 us, so a fiber must have switched five times within that, a hundred times over.
constexpr int kMaxAttempts = 100;

constexpr std::chrono::milliseconds kRunningTimeout{10};

// How many blocks ahead of the one that is visited memory is asked for: 4 stacks take about as long to walk as it takes to come.
// More push each other out of the first-level cache: stacks end at multiples of 64 KiB, so their lines compete for the same sets,
// of 8 or 12 lines each.
constexpr size_t kPrefetchBlocks = 4;

// A fiber found running after the instant is about to be recorded, or on its way out of a processor. Either is a matter of
// microseconds, unless its thread waits for a CPU.
constexpr int64_t kMostWaitedForNs = 10'000'000;

class Lister {
 public:
  Lister(const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit)
      : options_(options), visit_(visit), now_ns_(CoarseNowNs()) {
    if (options.stacks) stacks_.emplace();
    if (options.one_instant) instant_.emplace(options.record_bytes);
    if (instant_ && !instant_->is_open()) instant_.reset();
    if (instant_) {
      CaptureRunningFibers({.timeout = kRunningTimeout, .instant = &*instant_});
    } else if (options.stacks && options.running_stacks) {
      running_ = CaptureRunningFibers({.timeout = kRunningTimeout});
      // As return addresses, like those of parked fibers: whoever looks them up takes one off.
      for (RunningStack& stack : running_) ++stack.pcs.front();
    }
  }

  FiberListing List() {
    const auto& pool = internal::FiberPool::Instance();
    bool go_on = true;
    pool.ForEachSlab([&](std::span<ControlBlock> slab) { return go_on = VisitSlab(slab); });
    if (!instant_) return {.why_not = options_.one_instant ? "membarrier(2) is not available" : "it was not asked for"};
    go_on = go_on && VisitUnsettled();
    instant_->Close();
    if (go_on) VisitRecords();
    if (!instant_->declared_in_time()) return {.why_not = "not all running fibers could be stopped within 1 ms"};
    if (instant_->lost_records()) return {.why_not = "too many fibers ran before they were listed"};
    if (instant_->missed_one()) return {.why_not = "what a thread ran could not be seen"};
    if (has_hole_) return {.why_not = "a running fiber's thread did not answer"};
    return {.is_one_instant = true};
  }

 private:
  struct Unsettled {
    std::span<ControlBlock> slab;
    size_t index;
  };

  void EnterSlab(std::span<ControlBlock> slab) {
    slab_ = slab;
    marks_ = internal::FiberPool::MarksOf(slab);
    if (stacks_) stacks_->EnterSlab(slab);
  }

  bool VisitSlab(std::span<ControlBlock> slab) {
    EnterSlab(slab);
    for (size_t i = 0; i < slab.size(); ++i) {
      if (stacks_) stacks_->Prefetch(i + kPrefetchBlocks);
      if (!Visit(i)) return false;
    }
    return true;
  }

  // The fiber of a block of the slab. With an instant, one that runs is put off, unless `is_last`.
  bool Visit(size_t index, bool is_last = false) {
    ControlBlock& block = slab_[index];
    for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
      if (instant_ && instant_->IsTaken(marks_[index])) return true;
      const StateWord word = block.state.Load();
      // A fiber that has ended but still stands on its stack has no id any more.
      const FiberId id = {block.id.load(std::memory_order_acquire)};
      if (word.state() == FiberState::kDead || !id) {
        if (instant_) instant_->Take(marks_[index]);
        return true;
      }
      if (instant_ && word.running() && !is_last) {
        unsettled_.push_back({slab_, index});
        return true;
      }
      FiberSnapshot snapshot = ReadFiber(block, id, AtTheInstant(word, index), now_ns_, name_);
      const bool wanted = IsWanted(snapshot);
      if (wanted && word.running()) {
        CopyRunningStack(snapshot);
      } else if (wanted && stacks_) {
        CopyStack(index, word, snapshot);
      }
      if (!block.state.Unchanged(word) || block.id.load(std::memory_order_relaxed) != id.value) continue;
      if (!Take(index, word)) return true;
      if (!wanted) return true;
      if (stacks_ && !word.running()) stacks_->Remember(index, word, snapshot.stack_number);
      return visit_(snapshot);
    }
    return VisitRestless(index);
  }

  // A fiber that has been made runnable since the instant waited at it.
  StateWord AtTheInstant(StateWord word, size_t index) const {
    if (!instant_ || word.state() != FiberState::kRunnable || !instant_->IsWoken(marks_[index])) return word;
    return StateWord::Of(FiberState::kWaiting, word.sequence());
  }

  // False: it is recorded.
  bool Take(size_t index, StateWord word) {
    if (!instant_) return true;
    if (instant_->Take(marks_[index]) == internal::Instant::Taken::kNo) return false;
    has_hole_ = has_hole_ || word.running();
    return true;
  }

  // One fiber's identity, whatever its state word does: the id before and after is the same.
  bool VisitRestless(size_t index) {
    ControlBlock& block = slab_[index];
    for (;;) {
      const FiberId id = {block.id.load(std::memory_order_acquire)};
      if (!id) return true;
      const StateWord word = StateWord::Of(FiberState::kRunning, block.state.Load().sequence());
      FiberSnapshot snapshot = ReadFiber(block, id, word, now_ns_, name_);
      const bool wanted = IsWanted(snapshot);
      if (wanted) CopyRunningStack(snapshot);
      AcquireFence();  // pairs with the release fence in StartFiber: fields of another fiber come with another id
      if (block.id.load(std::memory_order_relaxed) != id.value) continue;
      return !Take(index, word) || !wanted || visit_(snapshot);
    }
  }

  bool VisitUnsettled() {
    const int64_t deadline_ns = MonotonicNowNs() + kMostWaitedForNs;
    for (const Unsettled& unsettled : unsettled_) {
      EnterSlab(unsettled.slab);
      const auto is_settled = [&] {
        return instant_->IsTaken(marks_[unsettled.index]) || !slab_[unsettled.index].state.Load().running();
      };
      while (!is_settled() && MonotonicNowNs() < deadline_ns) std::this_thread::yield();
      if (!Visit(unsettled.index, /*is_last=*/true)) return false;
    }
    return true;
  }

  void VisitRecords() {
    instant_->ForEachRecord([this](FiberSnapshot& snapshot) {
      if (!IsWanted(snapshot)) return true;
      if (stacks_ && snapshot.stack_available) {
        Set(snapshot, stacks_->Insert(snapshot.stack, snapshot.stack_truncated));
      } else {
        snapshot.stack_available = false;
        snapshot.stack = {};
      }
      return visit_(snapshot);
    });
  }

  bool IsWanted(const FiberSnapshot& snapshot) const { return !options_.wanted || options_.wanted(snapshot); }

  void CopyRunningStack(FiberSnapshot& snapshot) {
    const auto found = std::ranges::find(running_, snapshot.id, &RunningStack::fiber);
    if (found != running_.end()) Set(snapshot, stacks_->Insert(found->pcs, found->end != UnwindEnd::kRoot));
  }

  void CopyStack(size_t index, StateWord word, FiberSnapshot& snapshot) {
    internal::FiberStacks::Found found;
    if (stacks_->Find(index, word, found)) Set(snapshot, found);
  }

  static void Set(FiberSnapshot& snapshot, const internal::FiberStacks::Found& found) {
    snapshot.stack_available = true;
    snapshot.stack_truncated = found.stack.truncated;
    snapshot.stack = found.stack.pcs;
    snapshot.stack_number = found.number;
  }

  const RegistryOptions& options_;
  absl::FunctionRef<bool(const FiberSnapshot&)> visit_;
  const int64_t now_ns_;
  const LabelsReadScope labels_scope_;
  std::optional<internal::FiberStacks> stacks_;  // none: not asked for
  std::optional<internal::Instant> instant_;     // none: not asked for, or not to be had
  std::vector<RunningStack> running_;            // one per thread that ran a fiber, at most
  std::vector<Unsettled> unsettled_;
  bool has_hole_ = false;
  std::span<ControlBlock> slab_;
  internal::ListingMark* marks_ = nullptr;  // of slab_
  internal::NameBuffer name_;
};

}  // namespace

FiberListing ForEachFiber(const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit) {
  return Lister(options, visit).List();
}

int64_t FiberCount() {
  const internal::FiberPool& pool = internal::FiberPool::Instance();
  // Finished first: a fiber that is spawned and ends in between must not make the difference negative.
  const uint64_t finished = pool.finished();
  return static_cast<int64_t>(pool.spawned() - finished);
}

}  // namespace fiberscope
