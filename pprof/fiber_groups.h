// Fibers counted by what they have in common: stack, labels, and what else a request wants them told apart by.
#ifndef FIBERSCOPE_PPROF_FIBER_GROUPS_H_
#define FIBERSCOPE_PPROF_FIBER_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/fiber_id.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/fiber_state.h"
#include "runtime/labels.h"
#include "runtime/wait_reason.h"

namespace fiberscope::pprof {

// What becomes a label of a sample, besides the fibers' own.
struct FiberTags {
  bool state = false;    // "state", and "wait_reason" of those that wait
  bool wait = false;     // "wait_ns": for how long
  bool creator = false;  // "created_by": the function that spawned it
  bool id = false;       // "goroutine_id": every fiber is a sample of its own
  bool operator==(const FiberTags&) const = default;
  bool empty() const { return *this == FiberTags(); }
};

struct FiberGroup {
  uint32_t stack = 0;   // FiberGroups::StackOf
  uint32_t labels = 0;  // FiberGroups::LabelsOf
  uintptr_t entry_pc = 0;
  // Of the tags: as in FiberSnapshot, and all zero where not wanted.
  FiberState state = FiberState::kDead;
  WaitReason wait_reason = WaitReason::kNone;
  int64_t wait_ns = 0;
  uintptr_t creator_pc = 0;
  FiberId id;

  int64_t count = 0;
};

// Stacks are compared by their numbers where the listing gives them numbers, else word by word; labels by where they lie: equal
// ones of different origin make different groups.
//
// To be filled during one listing; groups, stacks and labels can be read after it. Thread-compatible. Memory grows with the
// distinct stacks, up to a limit: beyond it fibers whose stack has no number count at their entry function, and left_out() says how
// many. Cost: ~10 ns per fiber of a group that is there.
class FiberGroups {
 public:
  // Of a stack so many innermost frames count, as in Go since 1.23.
  static constexpr size_t kMostFrames = 128;
  static constexpr size_t kMostAddresses = 8 << 20;  // of stacks without numbers: 64 MiB

  explicit FiberGroups(FiberTags tags = {}, size_t most_addresses = kMostAddresses)
      : tags_(tags), most_addresses_(most_addresses) {}
  FiberGroups(const FiberGroups&) = delete;
  FiberGroups& operator=(const FiberGroups&) = delete;

  void Add(const FiberSnapshot& fiber);

  std::span<const FiberGroup> groups() const { return groups_; }  // in order of first appearance
  std::span<const uintptr_t> StackOf(const FiberGroup& group) const { return stacks_[group.stack]; }
  std::span<const Label> LabelsOf(const FiberGroup& group) const { return labels_[group.labels]; }

  int64_t left_out() const { return left_out_; }

 private:
  // A group without its count.
  struct Key {
    FiberGroup group;
    auto Parts() const {
      return std::tie(group.stack, group.labels, group.entry_pc, group.state, group.wait_reason, group.wait_ns, group.creator_pc,
                      group.id.value);
    }
    bool operator==(const Key& other) const { return Parts() == other.Parts(); }
    template <typename H>
    friend H AbslHashValue(H state, const Key& key) {
      return H::combine(std::move(state), key.Parts());
    }
  };

  uint32_t StackIndex(const FiberSnapshot& fiber);
  uint32_t UnnumberedStackIndex(std::span<const uintptr_t> innermost);
  uint32_t LabelsIndex(std::span<const Label> labels);

  const FiberTags tags_;
  const size_t most_addresses_;
  std::vector<FiberGroup> groups_;
  std::vector<std::vector<uintptr_t>> stacks_ = {{}};  // 0: none
  std::vector<std::vector<Label>> labels_ = {{}};
  absl::flat_hash_map<Key, size_t> group_index_;
  absl::flat_hash_map<uint32_t, uint32_t> stack_index_;  // by number
  absl::flat_hash_map<std::vector<uintptr_t>, uint32_t> unnumbered_index_;
  absl::flat_hash_map<const Label*, uint32_t> labels_index_;
  std::vector<uintptr_t> scratch_;
  size_t address_count_ = 0;  // of stacks without numbers
  int64_t left_out_ = 0;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_FIBER_GROUPS_H_
