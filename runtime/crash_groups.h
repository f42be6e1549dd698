// Fibers grouped by what they are doing, in memory that is there already.
//
// Not thread-safe. Async-signal-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_CRASH_GROUPS_H_
#define FIBERSCOPE_RUNTIME_CRASH_GROUPS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/control_block.h"
#include "runtime/fiber_state.h"
#include "runtime/wait_reason.h"

namespace fiberscope::internal {

// One fiber, as it was seen.
struct CrashFiber {
  const ControlBlock* block = nullptr;
  uint64_t id = 0;
  FiberState state = FiberState::kDead;
  WaitReason reason = WaitReason::kNone;
  int64_t since_ns = 0;  // 0: neither waits nor blocks
  std::span<const uintptr_t> stack;
};

struct CrashGroup {
  static constexpr size_t kFrames = 64;
  uint64_t hash = 0;
  uint64_t count = 0;
  const ControlBlock* block = nullptr;  // of the first one
  uint64_t id = 0;                      // the first one's
  int64_t oldest_ns = 0;
  FiberState state = FiberState::kDead;
  WaitReason reason = WaitReason::kNone;
  bool cut = false;  // there are more frames
  size_t depth = 0;
  std::array<uintptr_t, kFrames> pcs{};
};

class CrashGroups {
 public:
  static constexpr size_t kMostGroups = 4096;

  // Fibers of more groups than fit are counted in overflow().
  void Add(const CrashFiber& fiber);
  uint64_t overflow() const { return overflow_; }

  // Largest first; of equal ones the older first. Ends the collecting until Clear().
  std::span<const CrashGroup* const> Sorted();
  void Clear();

 private:
  static constexpr size_t kSlots = 2 * kMostGroups;  // a power of 2

  size_t size_ = 0;
  uint64_t overflow_ = 0;
  std::array<uint32_t, kSlots> slots_{};  // by hash, linear probing: 1 + index of the group; 0: free
  std::array<const CrashGroup*, kMostGroups> sorted_{};
  std::array<CrashGroup, kMostGroups> groups_{};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_CRASH_GROUPS_H_
