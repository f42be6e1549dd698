#include "runtime/unwind/stack_table.h"

#include <algorithm>
#include <optional>

#include "runtime/unwind/digest_frame.h"

namespace fiberscope {
namespace {

// Stacks share most of their frames, but not the list of their addresses.
constexpr size_t kAddressesPerNode = 2;

}  // namespace

StackTable::StackTable(const UnwindTable& unwind_table, size_t max_nodes)
    : unwind_table_(unwind_table), max_nodes_(std::max<size_t>(max_nodes, 1)), nodes_(1), listed_(1) {}

uint32_t StackTable::Walk(const Registers& registers, StackBounds bounds, size_t max_frames) {
  const uintptr_t low = std::max(bounds.low, registers.sp);
  const internal::StackReader stack(low < bounds.high ? StackBounds{low, bounds.high} : StackBounds{});
  internal::DigestFrame frame(registers.pc, registers.sp, registers.rbp, /*pc_is_exact=*/false);
  uint32_t node = kStart;
  for (size_t depth = 1;; ++depth) {
    node = Child(node, frame.pc());
    if (node == 0) return kNone;
    switch (frame.GoToCaller(nodes_[node].rule, stack)) {
      case internal::Step::kCaller:
        if (frame.pc() == 0) return Number(node, depth, /*truncated=*/false);
        if (depth == max_frames) return Number(node, depth, /*truncated=*/true);
        break;
      case internal::Step::kRoot:
        return Number(node, depth, /*truncated=*/false);
      case internal::Step::kNeedsAllRegisters: {
        walked_.resize(max_frames);
        const UnwindResult result = Unwind(unwind_table_, registers, bounds, walked_);
        return Insert(std::span(walked_).first(result.depth), result.end != UnwindEnd::kRoot);
      }
      case internal::Step::kNoRule:
      case internal::Step::kBadFrame:
      case internal::Step::kUnknownRegister:
        return Number(node, depth, /*truncated=*/true);
    }
  }
}

uint32_t StackTable::Insert(std::span<const uintptr_t> pcs, bool truncated) {
  uint32_t node = kStart;
  for (const uintptr_t pc : pcs) {
    node = Child(node, pc);
    if (node == 0) return kNone;
  }
  return node == kStart ? kNone : Number(node, pcs.size(), truncated);
}

uint32_t StackTable::FindOrAddChild(uint32_t parent, uintptr_t pc) {
  const auto known = children_.find({parent, pc});
  if (known != children_.end()) return nodes_[parent].last_child = known->second;
  if (nodes_.size() > max_nodes_) return Full();
  const auto child = static_cast<uint32_t>(nodes_.size());
  const UnwindRule* const rule = unwind_table_.Find(pc - 1);
  nodes_.push_back({.pc = pc, .rule = rule != nullptr ? *rule : UnwindRule(), .parent = parent});
  listed_.emplace_back();
  children_.emplace(std::pair(parent, pc), child);
  return nodes_[parent].last_child = child;
}

uint32_t StackTable::Number(uint32_t node, size_t depth, bool truncated) {
  if (listed_[node].empty()) {
    if (address_count_ + depth > kAddressesPerNode * max_nodes_) return Full();
    address_count_ += depth;
    std::vector<uintptr_t>& addresses = addresses_.emplace_back(depth);
    uint32_t at = node;
    for (size_t i = depth; i > 0; --i, at = nodes_[at].parent) addresses[i - 1] = nodes_[at].pc;
    listed_[node] = addresses;
  }
  return node << 1 | (truncated ? 1 : 0);
}

uint32_t StackTable::Full() {
  full_ = true;
  return kNone;
}

}  // namespace fiberscope
