#include "runtime/fiber_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <mutex>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/base/check.h"

namespace fiberscope::internal {
namespace {

// Behind a slab's blocks and marks.
size_t TraceRegionsOffset(size_t count) {
  constexpr size_t kAlignment = alignof(TraceRegionNode*);
  return (count * (sizeof(ControlBlock) + sizeof(ListingMark)) + kAlignment - 1) / kAlignment * kAlignment;
}

// Once is enough: the figures are in StackSlab::stats().
void WarnOfMissingGuards() {
  static std::atomic<bool> warned{false};
  if (warned.exchange(true, std::memory_order_relaxed)) return;
  std::fputs(
      "fiberscope: some fiber stacks have no guard page: an overflow there is found only when the fiber ends. "
      "Linux 6.13 guards any number; before, vm.max_map_count is the limit, at two entries per stack\n",
      stderr);
}

// Stacks are a power of two apart, so their tops, which is what a fiber touches, would all compete for the same few sets of the
// caches. Each begins up to 15 cache lines further down than its neighbour; all of it still lies in the first page.
size_t StackColour(uint32_t slot) { return slot % 16 * 64; }

}  // namespace

constinit FiberPool FiberPool::instance_;
static_assert(std::is_trivially_destructible_v<FiberPool>);

FiberPool& FiberPool::Instance() { return instance_; }

PoolShard& FiberPool::BorrowShard() {
  for (PoolShard& shard : shards_) {
    bool free = false;
    // Acquire pairs with the release in ReturnShard: the last borrower's lists and counters are ours now.
    if (shard.borrowed_.compare_exchange_strong(free, true, std::memory_order_acquire)) {
      shard.traced_.number = static_cast<uint64_t>(&shard - shards_.data());
      return shard;
    }
  }
  FIBERSCOPE_CHECK(false, "more than %d processors in this process", kMaxShards);
  __builtin_unreachable();
}

void FiberPool::ReturnShard(PoolShard& shard) {
  shard.Drain();
  shard.borrowed_.store(false, std::memory_order_release);
}

absl::StatusOr<ControlBlock*> FiberPool::TakeShared(StackClass stack_class) { return TakeLot(stack_class, 1); }

absl::StatusOr<ControlBlock*> FiberPool::TakeLot(StackClass stack_class, uint32_t want) {
  SharedList& list = shared_[static_cast<int>(stack_class)];
  std::lock_guard lock(list.lock);
  if (list.head == nullptr) {
    if (absl::Status status = AddSlab(stack_class, list); !status.ok()) return status;
  }
  ControlBlock* const first = list.head;
  ControlBlock* last = first;
  for (uint32_t taken = 1; taken < want && last->next != nullptr; ++taken) last = last->next;
  list.head = std::exchange(last->next, nullptr);
  return first;
}

void FiberPool::GiveLot(StackClass stack_class, ControlBlock* first, ControlBlock* last) {
  SharedList& list = shared_[static_cast<int>(stack_class)];
  std::lock_guard lock(list.lock);
  last->next = list.head;
  list.head = first;
}

absl::Status FiberPool::AddSlab(StackClass stack_class, SharedList& list) {
  StackSlab& stacks = StackSlab::ForClass(stack_class);
  const uint32_t count = static_cast<uint32_t>(SlotsPerBatch(stack_class));
  const size_t bytes = TraceRegionsOffset(count) + count * sizeof(TraceRegionNode*);
  void* const memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrFormat("no memory for %d more fibers: mmap of %d bytes: errno %d",
                                                        count, bytes, errno));
  }
  absl::StatusOr<uint32_t> first_slot = stacks.AddBatch();
  if (!first_slot.ok() || *first_slot / count >= kMaxSlabs) {
    munmap(memory, bytes);  // no reader has seen it
    if (!first_slot.ok()) return first_slot.status();
    return absl::ResourceExhaustedError(absl::StrFormat("more than %d fibers of one stack size", kMaxSlabs * count));
  }
  auto* const blocks = static_cast<ControlBlock*>(memory);
  new (MarksOf({blocks, count})) ListingMark[count]{};
  bool all_guarded = true;
  for (uint32_t i = 0; i < count; ++i) {
    auto* block = new (&blocks[i]) ControlBlock;
    block->stack_class = stack_class;
    block->stack_slot = *first_slot + i;
    const StackBounds stack = stacks.Bounds(block->stack_slot);
    block->stack_high = stack.high - StackColour(block->stack_slot);
    block->stack_bytes = static_cast<uint32_t>(block->stack_high - stack.low);
    block->stack_guarded = stacks.IsGuard(stack.low - 1);
    all_guarded = all_guarded && block->stack_guarded;
    block->waiter.record = &block->wait;
    block->next = i + 1 < count ? &blocks[i + 1] : list.head;
  }
  list.head = blocks;
  // Release pairs with the acquire loads of ForEachBlock and BlockOfStack.
  slabs_[static_cast<int>(stack_class)][*first_slot / count].store(blocks, std::memory_order_release);
  if (!all_guarded) WarnOfMissingGuards();
  return absl::OkStatus();
}

uint64_t FiberPool::spawned() const {
  uint64_t sum = spawned_elsewhere_.load(std::memory_order_relaxed);
  for (const PoolShard& shard : shards_) sum += shard.spawned_.load(std::memory_order_relaxed);
  return sum;
}

uint64_t FiberPool::finished() const {
  uint64_t sum = 0;
  for (const PoolShard& shard : shards_) sum += shard.finished_.load(std::memory_order_relaxed);
  return sum;
}

void FiberPool::ForEachSlab(absl::FunctionRef<bool(std::span<ControlBlock>)> visit) const {
  for (int c = 0; c < kStackClassCount; ++c) {
    for (const std::atomic<ControlBlock*>& slab : slabs_[c]) {
      ControlBlock* const blocks = slab.load(std::memory_order_acquire);
      if (blocks == nullptr) break;  // slabs are made in order
      if (!visit({blocks, SlotsPerBatch(static_cast<StackClass>(c))})) return;
    }
  }
}

void FiberPool::ForEachBlock(absl::FunctionRef<bool(ControlBlock&)> visit) const {
  ForEachSlab([visit](std::span<ControlBlock> slab) { return std::ranges::all_of(slab, visit); });
}

ListingMark& FiberPool::MarkOf(const ControlBlock& block) {
  const size_t count = SlotsPerBatch(block.stack_class);
  const size_t index = block.stack_slot % count;
  return MarksOf({const_cast<ControlBlock*>(&block) - index, count})[index];
}

TraceRegionNode*& FiberPool::TraceRegionsOf(const ControlBlock& block) {
  const size_t count = SlotsPerBatch(block.stack_class);
  const size_t index = block.stack_slot % count;
  auto* const slab = reinterpret_cast<char*>(const_cast<ControlBlock*>(&block) - index);
  return reinterpret_cast<TraceRegionNode**>(slab + TraceRegionsOffset(count))[index];
}

ControlBlock* FiberPool::BlockOfStack(uintptr_t address) const {
  const std::optional<StackLocation> location = FindStack(address);
  if (!location.has_value()) return nullptr;
  const uint32_t count = static_cast<uint32_t>(SlotsPerBatch(location->stack_class));
  ControlBlock* const blocks =
      slabs_[static_cast<int>(location->stack_class)][location->slot / count].load(std::memory_order_acquire);
  return blocks == nullptr ? nullptr : &blocks[location->slot % count];
}

absl::StatusOr<ControlBlock*> PoolShard::Take(StackClass stack_class) {
  FreeList& list = free_[static_cast<int>(stack_class)];
  if (list.head == nullptr) {
    absl::StatusOr<ControlBlock*> lot = FiberPool::Instance().TakeLot(stack_class, FiberPool::kLot);
    if (!lot.ok()) return lot.status();
    list.head = *lot;
    for (ControlBlock* block = *lot; block != nullptr; block = block->next) ++list.size;
  }
  ControlBlock* const block = list.head;
  list.head = std::exchange(block->next, nullptr);
  --list.size;
  return block;
}

void PoolShard::Give(ControlBlock& block) {
  FreeList& list = free_[static_cast<int>(block.stack_class)];
  block.next = list.head;
  list.head = &block;
  // Twice a lot before one is given away, so that a spawn/exit pair at the border does not take the lock every time.
  if (++list.size < 2 * FiberPool::kLot) return;
  // The oldest, coldest ones lie at the end; finding them costs a walk over a lot, once in kLot exits.
  ControlBlock* last_kept = list.head;
  for (uint32_t i = 1; i < FiberPool::kLot; ++i) last_kept = last_kept->next;
  ControlBlock* const first = std::exchange(last_kept->next, nullptr);
  ControlBlock* last = first;
  while (last->next != nullptr) last = last->next;
  list.size = FiberPool::kLot;
  FiberPool::Instance().GiveLot(block.stack_class, first, last);
}

void PoolShard::Drain() {
  for (int c = 0; c < kStackClassCount; ++c) {
    FreeList& list = free_[c];
    if (list.head == nullptr) continue;
    ControlBlock* last = list.head;
    while (last->next != nullptr) last = last->next;
    FiberPool::Instance().GiveLot(static_cast<StackClass>(c), list.head, last);
    list = FreeList{};
  }
}

}  // namespace fiberscope::internal
