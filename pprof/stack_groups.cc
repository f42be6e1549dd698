#include "pprof/stack_groups.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"

namespace fiberscope::pprof {
namespace {

// The parts of a key in a form that absl::Hash knows.
struct HashedKey {
  std::span<const uintptr_t> stack;
  std::span<const Label> labels;

  template <typename H>
  friend H AbslHashValue(H state, const HashedKey& key) {
    state = H::combine_contiguous(std::move(state), key.stack.data(), key.stack.size());
    for (const Label& label : key.labels) state = H::combine(std::move(state), label.key, label.value);
    return H::combine(std::move(state), key.stack.size(), key.labels.size());
  }
};

}  // namespace

size_t StackGroups::Hash::operator()(const Key& key) const { return absl::HashOf(HashedKey{key.stack, key.labels}); }

size_t StackGroups::Hash::operator()(size_t index) const {
  const StackGroup& group = (*groups)[index];
  return (*this)(Key{group.stack, group.labels});
}

bool StackGroups::Equal::operator()(size_t index, const Key& key) const {
  const StackGroup& group = (*groups)[index];
  return std::ranges::equal(group.stack, key.stack) && std::ranges::equal(group.labels, key.labels);
}

void StackGroups::Add(std::span<const uintptr_t> stack, std::span<const Label> labels, int64_t count) {
  const auto known = index_.find(Key{stack, labels});
  if (known != index_.end()) {
    groups_[*known].count += count;
    return;
  }
  groups_.push_back({{stack.begin(), stack.end()}, {labels.begin(), labels.end()}, count});
  index_.insert(groups_.size() - 1);
}

std::vector<StackGroup> StackGroups::Take() && { return std::move(groups_); }

}  // namespace fiberscope::pprof
