#include "runtime/crash_groups.h"

#include <algorithm>

namespace fiberscope::internal {
namespace {

// The finaliser of MurmurHash3 (Austin Appleby), which lets every bit act on every other.
uint64_t Mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53;
  return x ^ x >> 33;
}

uint64_t HashOf(const CrashFiber& fiber) {
  uint64_t hash = Mix(static_cast<uint64_t>(fiber.state) << 8 | static_cast<uint64_t>(fiber.reason));
  hash = Mix(hash + fiber.block->entry_pc.load(std::memory_order_relaxed));
  for (const uintptr_t pc : fiber.stack) hash = Mix(hash + pc);
  return hash;
}

}  // namespace

void CrashGroups::Add(const CrashFiber& fiber) {
  const uint64_t hash = HashOf(fiber);
  for (size_t slot = hash % kSlots;; slot = (slot + 1) % kSlots) {
    if (slots_[slot] == 0) {
      if (size_ == kMostGroups) {
        ++overflow_;
        return;
      }
      CrashGroup& group = groups_[size_];
      group.hash = hash;
      group.count = 1;
      group.block = fiber.block;
      group.id = fiber.id;
      group.oldest_ns = fiber.since_ns;
      group.state = fiber.state;
      group.reason = fiber.reason;
      group.depth = std::min(fiber.stack.size(), CrashGroup::kFrames);
      group.cut = fiber.stack.size() > group.depth;
      std::copy_n(fiber.stack.begin(), group.depth, group.pcs.begin());
      slots_[slot] = static_cast<uint32_t>(++size_);
      return;
    }
    CrashGroup& group = groups_[slots_[slot] - 1];
    if (group.hash != hash) continue;
    ++group.count;
    group.oldest_ns = std::min(group.oldest_ns, fiber.since_ns);
    return;
  }
}

std::span<const CrashGroup* const> CrashGroups::Sorted() {
  for (size_t i = 0; i < size_; ++i) sorted_[i] = &groups_[i];
  const auto end = sorted_.begin() + static_cast<std::ptrdiff_t>(size_);
  std::sort(sorted_.begin(), end, [](const CrashGroup* a, const CrashGroup* b) {
    return a->count != b->count ? a->count > b->count : a->id < b->id;
  });
  return {sorted_.data(), size_};
}

void CrashGroups::Clear() {
  size_ = 0;
  overflow_ = 0;
  slots_.fill(0);
}

}  // namespace fiberscope::internal
