#include "runtime/registry.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <span>
#include <vector>

#include "runtime/base/clock.h"
#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/fiber_stacks.h"
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

class Lister {
 public:
  Lister(const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit)
      : options_(options), visit_(visit), now_ns_(CoarseNowNs()) {
    if (options.stacks) stacks_.emplace();
    if (options.stacks && options.running_stacks) running_ = CaptureRunningFibers({.timeout = kRunningTimeout});
    // As return addresses, like those of parked fibers: whoever looks them up takes one off.
    for (RunningStack& stack : running_) ++stack.pcs.front();
  }

  bool VisitSlab(std::span<ControlBlock> slab) {
    if (!stacks_) return std::ranges::all_of(slab, [this](ControlBlock& block) { return Visit(block, 0); });
    stacks_->EnterSlab(slab);
    for (size_t i = 0; i < slab.size(); ++i) {
      stacks_->Prefetch(i + kPrefetchBlocks);
      if (!Visit(slab[i], i)) return false;
    }
    return true;
  }

 private:
  // `index`: in its slab.
  bool Visit(ControlBlock& block, size_t index) {
    for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
      const StateWord word = block.state.Load();
      // A fiber that has ended but still stands on its stack has no id any more.
      const uint64_t id = block.id.load(std::memory_order_acquire);
      if (word.state() == FiberState::kDead || id == 0) return true;
      FiberSnapshot snapshot;
      snapshot.id = {id};
      snapshot.state = word.state();
      CopyIdentity(block, snapshot);
      CopyAccounting(block, word, snapshot);
      if (!word.running()) CopyWait(block, snapshot);
      const bool wanted = IsWanted(snapshot);
      if (wanted && word.running()) {
        CopyRunningStack(snapshot);
      } else if (wanted && stacks_) {
        CopyStack(index, word, snapshot);
      }
      if (!block.state.Unchanged(word) || block.id.load(std::memory_order_relaxed) != id) continue;
      if (!wanted) return true;
      if (stacks_ && !word.running()) stacks_->Remember(index, word, snapshot.stack_number);
      return visit_(snapshot);
    }
    return VisitRestless(block);
  }

  // One fiber's identity, whatever its state word does: the id before and after is the same.
  bool VisitRestless(ControlBlock& block) {
    for (;;) {
      FiberSnapshot snapshot;
      const uint64_t id = block.id.load(std::memory_order_acquire);
      if (id == 0) return true;
      snapshot.id = {id};
      snapshot.state = FiberState::kRunning;
      CopyIdentity(block, snapshot);
      const bool wanted = IsWanted(snapshot);
      if (wanted) CopyRunningStack(snapshot);
      AcquireFence();  // pairs with the release fence in StartFiber: fields of another fiber come with another id
      if (block.id.load(std::memory_order_relaxed) == id) return !wanted || visit_(snapshot);
    }
  }

  bool IsWanted(const FiberSnapshot& snapshot) const { return !options_.wanted || options_.wanted(snapshot); }

  void CopyIdentity(const ControlBlock& block, FiberSnapshot& snapshot) {
    snapshot.parent_id = {block.parent_id.load(std::memory_order_relaxed)};
    snapshot.creator_pc = block.creator_pc.load(std::memory_order_relaxed);
    snapshot.entry_pc = block.entry_pc.load(std::memory_order_relaxed);
    snapshot.name = block.name.Load(name_);
    // Acquire pairs with SetLabels: the pairs behind the pointer. They live as long as labels_scope_.
    snapshot.labels = Labels::PairsOf(block.labels.load(std::memory_order_acquire));
  }

  void CopyWait(const ControlBlock& block, FiberSnapshot& snapshot) {
    if (snapshot.state == FiberState::kBlocking) snapshot.waited = SinceOf(block);
    if (snapshot.state != FiberState::kWaiting) return;
    snapshot.wait_reason = block.wait_reason.load(std::memory_order_relaxed);
    snapshot.wait_object_id = block.wait_object_id.load(std::memory_order_relaxed);
    snapshot.wait_owner = {block.wait_owner_id.load(std::memory_order_relaxed)};
    snapshot.waited = SinceOf(block);
  }

  // How long the fiber has been in its state. It may have entered it after the listing began.
  std::chrono::nanoseconds SinceOf(const ControlBlock& block) const {
    return std::chrono::nanoseconds(
        std::max<int64_t>(0, now_ns_ - block.since_ns.load(std::memory_order_relaxed)));
  }

  void CopyAccounting(const ControlBlock& block, StateWord word, FiberSnapshot& snapshot) {
    snapshot.locked_to_thread = block.locked_to_thread.load(std::memory_order_relaxed);
    snapshot.run_time = std::chrono::nanoseconds(block.run_ns.load(std::memory_order_relaxed));
    snapshot.runnable_time = std::chrono::nanoseconds(block.runnable_ns.load(std::memory_order_relaxed));
    // Two steps a slice.
    snapshot.slices = (word.sequence() - block.first_sequence.load(std::memory_order_relaxed) + 1) / 2;
    const uint64_t parks = block.parks.load(std::memory_order_relaxed);
    snapshot.wakeups = parks - (word.state() == FiberState::kWaiting && parks != 0 ? 1 : 0);
  }

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
  std::optional<internal::FiberStacks> stacks_;  // none: not asked for
  std::vector<RunningStack> running_;            // one per thread that ran a fiber, at most
  const LabelsReadScope labels_scope_;
  std::array<char, internal::AtomicName::kBytes> name_;
};

}  // namespace

void ForEachFiber(const RegistryOptions& options, absl::FunctionRef<bool(const FiberSnapshot&)> visit) {
  Lister lister(options, visit);
  internal::FiberPool::Instance().ForEachSlab([&](std::span<ControlBlock> slab) { return lister.VisitSlab(slab); });
}

int64_t FiberCount() {
  const internal::FiberPool& pool = internal::FiberPool::Instance();
  // Finished first: a fiber that is spawned and ends in between must not make the difference negative.
  const uint64_t finished = pool.finished();
  return static_cast<int64_t>(pool.spawned() - finished);
}

}  // namespace fiberscope
