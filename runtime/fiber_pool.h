// Where control blocks and their stacks come from, and where they wait to be used again.
//
// Process-wide and never destroyed: a dump may look at any block at any time. Blocks come in slabs, parallel to the
// batches of StackSlab: block i of a class's slab s owns stack slot s * slots_per_batch + i. The directory of slabs can
// be read without a lock and from a signal handler.
//
// Each processor borrows a shard: its own last-in-first-out list of free blocks per stack class, so that spawn and exit
// take no lock and find a warm stack. Surplus goes to, and shortage is met from, a shared list in lots of 64. The shards
// also count spawned and finished fibers; their sum is FiberCount().
#ifndef FIBERSCOPE_RUNTIME_FIBER_POOL_H_
#define FIBERSCOPE_RUNTIME_FIBER_POOL_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/control_block.h"
#include "runtime/trace/traced_state.h"

namespace fiberscope::internal {

// Which listing has taken the block's fiber last (instant.h). Apart from the blocks, so that a listing does not write to each of
// them.
using ListingMark = std::atomic<uint32_t>;

struct TraceRegionNode;

// A processor's share of the pool. Worker-confined, but for the counters, which anyone may read.
class PoolShard {
 public:
  // A free block of the class, its stack ready. kResourceExhausted, naming the limit, when there is no memory for one.
  absl::StatusOr<ControlBlock*> Take(StackClass stack_class);
  // Takes back a dead block.
  void Give(ControlBlock& block);
  // Hands all free blocks to the shared list.
  void Drain();

  // Single writer: plain load, add, store.
  void CountSpawned() { Increment(spawned_); }
  void CountFinished() { Increment(finished_); }
  // Of all borrowers so far.
  uint64_t spawned() const { return spawned_.load(std::memory_order_relaxed); }
  uint64_t finished() const { return finished_.load(std::memory_order_relaxed); }

  // The processor that has the shard, in traces: the number outlives schedulers, and so does what a trace knows of it.
  TracedProcessor& traced() { return traced_; }

 private:
  friend class FiberPool;
  struct FreeList {
    ControlBlock* head = nullptr;
    uint32_t size = 0;
  };

  static void Increment(std::atomic<uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  std::array<FreeList, kStackClassCount> free_;
  alignas(64) std::atomic<uint64_t> spawned_{0};
  std::atomic<uint64_t> finished_{0};
  std::atomic<bool> borrowed_{false};
  TracedProcessor traced_;
};

struct DebuggerLayoutAccess;

// Thread-safe.
class FiberPool {
 public:
  static FiberPool& Instance();

  // Lends a shard until it is returned. Its counters go on from where the last borrower left them.
  PoolShard& BorrowShard();
  void ReturnShard(PoolShard& shard);

  // For threads that have no shard. The locks make it slower than PoolShard::Take.
  absl::StatusOr<ControlBlock*> TakeShared(StackClass stack_class);
  void GiveShared(ControlBlock& block) { GiveLot(block.stack_class, &block, &block); }
  void CountSpawnedShared() { spawned_elsewhere_.fetch_add(1, std::memory_order_relaxed); }

  uint64_t spawned() const;
  uint64_t finished() const;

  // Every block there is, free ones included, in slab order, until `visit` returns false. Never blocks;
  // async-signal-safe if `visit` is.
  void ForEachBlock(absl::FunctionRef<bool(ControlBlock&)> visit) const;
  // The same, a slab at a time.
  void ForEachSlab(absl::FunctionRef<bool(std::span<ControlBlock>)> visit) const;

  // Of the blocks of a slab, in the same order; of one block. Async-signal-safe.
  static ListingMark* MarksOf(std::span<ControlBlock> slab) { return reinterpret_cast<ListingMark*>(slab.data() + slab.size()); }
  static ListingMark& MarkOf(const ControlBlock& block);

  // What the block's fiber, or one before it, has open of a trace's regions, innermost first (trace_annotations.cc). For the fiber
  // itself. Apart from the block, because hardly any fiber ever has some.
  static TraceRegionNode*& TraceRegionsOf(const ControlBlock& block);

  // The block whose stack, guard page included, contains `address`; null when there is none. Async-signal-safe.
  ControlBlock* BlockOfStack(uintptr_t address) const;

 private:
  friend class PoolShard;
  friend struct DebuggerLayoutAccess;  // debugger_layout.h
  static constexpr uint32_t kLot = 64;        // blocks moved between a shard and the shared list at a time
  static constexpr uint32_t kMaxShards = 512;  // processors of all schedulers of the process together
  static constexpr uint32_t kMaxSlabs = 1 << 14;  // per class: 16 M fibers of 1024 a slab

  struct SharedList {
    FutexLock lock;
    ControlBlock* head = nullptr;  // GUARDED_BY(lock)
  };

  constexpr FiberPool() = default;
  // Zero until used and trivially destructible: costs no memory before its time, and readers may outlive every static
  // destructor.
  static FiberPool instance_;

  // Takes up to `want` blocks off the shared list, making a new slab when it is empty. Returns a chain through `next`.
  absl::StatusOr<ControlBlock*> TakeLot(StackClass stack_class, uint32_t want);
  void GiveLot(StackClass stack_class, ControlBlock* first, ControlBlock* last);
  absl::Status AddSlab(StackClass stack_class, SharedList& list);  // list.lock held

  std::array<SharedList, kStackClassCount> shared_;
  std::array<PoolShard, kMaxShards> shards_;
  std::atomic<uint64_t> spawned_elsewhere_{0};

  // slabs_[class][s]: slots_per_batch blocks. Release store once, acquire loads.
  std::array<std::array<std::atomic<ControlBlock*>, kMaxSlabs>, kStackClassCount> slabs_{};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_FIBER_POOL_H_
