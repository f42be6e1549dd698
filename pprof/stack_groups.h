// Counts equal things by stack and labels: what a count profile is made of.
#ifndef FIBERSCOPE_PPROF_STACK_GROUPS_H_
#define FIBERSCOPE_PPROF_STACK_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "runtime/labels.h"

namespace fiberscope::pprof {

struct StackGroup {
  std::vector<uintptr_t> stack;  // return addresses, innermost first
  std::vector<Label> labels;     // sorted by key
  int64_t count = 0;
  bool operator==(const StackGroup&) const = default;
};

// Thread-compatible. Memory grows with the distinct stacks, not with what is added. Cost: ~50 ns per known stack ten
// deep.
class StackGroups {
 public:
  StackGroups() = default;
  StackGroups(const StackGroups&) = delete;  // the index points at this object's groups
  StackGroups& operator=(const StackGroups&) = delete;

  void Add(std::span<const uintptr_t> stack, std::span<const Label> labels, int64_t count = 1);

  // In order of first appearance. Ends this object.
  std::vector<StackGroup> Take() &&;

 private:
  struct Key {
    std::span<const uintptr_t> stack;
    std::span<const Label> labels;
  };
  struct Hash {
    using is_transparent = void;
    const std::vector<StackGroup>* groups;
    size_t operator()(const Key& key) const;
    size_t operator()(size_t index) const;
  };
  struct Equal {
    using is_transparent = void;
    const std::vector<StackGroup>* groups;
    bool operator()(size_t index, const Key& key) const;
    bool operator()(size_t a, size_t b) const { return a == b; }
  };

  std::vector<StackGroup> groups_;
  absl::flat_hash_set<size_t, Hash, Equal> index_{0, Hash{&groups_}, Equal{&groups_}};  // positions in groups_
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_STACK_GROUPS_H_
