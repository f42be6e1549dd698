#include "pprof/fiber_groups.h"

#include <algorithm>

namespace fiberscope::pprof {

void FiberGroups::Add(const FiberSnapshot& fiber) {
  Key key;
  key.group.stack = StackIndex(fiber);
  key.group.labels = LabelsIndex(fiber.labels);
  key.group.entry_pc = fiber.entry_pc;
  if (tags_.state) key.group.state = fiber.state;
  if (tags_.state) key.group.wait_reason = fiber.wait_reason;
  if (tags_.wait) key.group.wait_ns = fiber.waited.count();
  if (tags_.creator) key.group.creator_pc = fiber.creator_pc;
  if (tags_.id) key.group.id = fiber.id;
  // Fibers that were spawned together usually wait together.
  const bool as_before = !groups_.empty() && key == Key{groups_.back()};
  if (as_before) {
    ++groups_.back().count;
    return;
  }
  const auto [at, added] = group_index_.try_emplace(key, groups_.size());
  if (added) groups_.push_back(key.group);
  ++groups_[at->second].count;
}

uint32_t FiberGroups::StackIndex(const FiberSnapshot& fiber) {
  const auto innermost = fiber.stack.first(std::min(fiber.stack.size(), kMostFrames));
  if (innermost.empty()) return 0;
  if (fiber.stack_number == 0) return UnnumberedStackIndex(innermost);
  const auto [at, added] = stack_index_.try_emplace(fiber.stack_number, static_cast<uint32_t>(stacks_.size()));
  if (added) stacks_.emplace_back(innermost.begin(), innermost.end());
  return at->second;
}

uint32_t FiberGroups::UnnumberedStackIndex(std::span<const uintptr_t> innermost) {
  scratch_.assign(innermost.begin(), innermost.end());
  const auto known = unnumbered_index_.find(scratch_);
  if (known != unnumbered_index_.end()) return known->second;
  if (address_count_ + innermost.size() > most_addresses_) {
    ++left_out_;
    return 0;
  }
  address_count_ += innermost.size();
  const auto index = static_cast<uint32_t>(stacks_.size());
  stacks_.push_back(scratch_);
  unnumbered_index_.emplace(scratch_, index);
  return index;
}

uint32_t FiberGroups::LabelsIndex(std::span<const Label> labels) {
  if (labels.empty()) return 0;
  const auto [at, added] = labels_index_.try_emplace(labels.data(), static_cast<uint32_t>(labels_.size()));
  if (added) labels_.emplace_back(labels.begin(), labels.end());
  return at->second;
}

}  // namespace fiberscope::pprof
