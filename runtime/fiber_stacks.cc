#include "runtime/fiber_stacks.h"

#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "runtime/saved_registers.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::internal {
namespace {

// A frame has at least a return address and, in practice, a saved register.
constexpr size_t kMinFrameBytes = 16;

// What stacks of some thirty frames take. Twice as much costs more where a frame holds a large buffer than it brings elsewhere.
constexpr size_t kPrefetchBytes = 4096;
constexpr size_t kCacheLine = 64;

}  // namespace

// Never destroyed: a listing may outlast static objects.
struct FiberStacks::Shared {
  std::mutex mutex;
  std::unique_ptr<StackTable> table;                                        // GUARDED_BY(mutex)
  uint32_t table_id = 0;                                                    // GUARDED_BY(mutex)
  absl::flat_hash_map<const ControlBlock*, std::unique_ptr<Memo[]>> memos;  // GUARDED_BY(mutex); by a slab's first block
};

FiberStacks::Shared& FiberStacks::TheShared() {
  static Shared* const shared = new Shared;
  return *shared;
}

FiberStacks::FiberStacks() : lock_(TheShared().mutex, std::try_to_lock) {
  const UnwindTable& unwind_table = UnwindTable::Refresh();
  if (!lock_.owns_lock()) {
    own_ = std::make_unique<StackTable>(unwind_table);
    table_ = own_.get();
    return;
  }
  Shared& shared = TheShared();
  if (shared.table == nullptr || shared.table->full() || &shared.table->unwind_table() != &unwind_table) {
    shared.table = std::make_unique<StackTable>(unwind_table);
    ++shared.table_id;
  }
  table_ = shared.table.get();
  table_id_ = shared.table_id;
}

FiberStacks::~FiberStacks() = default;

void FiberStacks::EnterSlab(std::span<ControlBlock> slab) {
  slab_ = slab;
  if (!lock_.owns_lock()) return;
  std::unique_ptr<Memo[]>& memos = TheShared().memos[slab.data()];
  if (memos == nullptr) memos = std::make_unique<Memo[]>(slab.size());
  memos_ = memos.get();
}

void FiberStacks::Prefetch(size_t index) const {
  if (index >= slab_.size()) return;
  const ControlBlock& block = slab_[index];
  const StateWord word = block.state.Load();
  if (word.state() == FiberState::kDead || word.running()) return;
  if (memos_ != nullptr && memos_[index].word == word && memos_[index].table == table_id_) return;
  // As in SavedRegisters(): it may be of another time, and is no more than an address.
  const uintptr_t sp = LoadStackWord(reinterpret_cast<uintptr_t>(&block.context.saved_sp));
  if (sp < block.stack().low || sp >= block.stack_high) return;
  const uintptr_t end = std::min(sp + kPrefetchBytes, block.stack_high);
  for (uintptr_t line = sp; line < end; line += kCacheLine) __builtin_prefetch(reinterpret_cast<const void*>(line));
}

bool FiberStacks::Find(size_t index, StateWord word, Found& found) {
  if (memos_ != nullptr && memos_[index].word == word && memos_[index].table == table_id_) {
    found = {memos_[index].number, table_->Get(memos_[index].number)};
    return true;
  }
  const ControlBlock& block = slab_[index];
  const std::optional<Registers> registers = SavedRegisters(block, word.state());
  if (!registers) return false;
  const StackBounds bounds{registers->sp, block.stack_high};
  const size_t max_frames = std::min(block.stack().size() / kMinFrameBytes, kMaxFrames);
  found.number = table_->Walk(*registers, bounds, max_frames);
  if (found.number != StackTable::kNone) {
    found.stack = table_->Get(found.number);
    return true;
  }
  pcs_.resize(max_frames);
  const UnwindResult result = Unwind(table_->unwind_table(), *registers, bounds, pcs_);
  found.stack = {std::span(pcs_).first(result.depth), result.end != UnwindEnd::kRoot};
  return true;
}

void FiberStacks::Remember(size_t index, StateWord word, uint32_t number) {
  if (memos_ != nullptr && number != StackTable::kNone) memos_[index] = {word, number, table_id_};
}

FiberStacks::Found FiberStacks::Insert(std::span<const uintptr_t> pcs, bool truncated) {
  Found found{table_->Insert(pcs, truncated), {pcs, truncated}};
  if (found.number != StackTable::kNone) found.stack = table_->Get(found.number);
  return found;
}

}  // namespace fiberscope::internal
