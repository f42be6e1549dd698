#include "pprof/sources/wall_groups.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/hash/hash.h"

namespace fiberscope::pprof {
namespace {

// A place in a form that absl::Hash knows.
struct HashedPlace {
  const WallPlace& place;

  template <typename H>
  friend H AbslHashValue(H state, const HashedPlace& hashed) {
    const WallPlace& place = hashed.place;
    state = H::combine_contiguous(std::move(state), place.stack.data(), place.stack.size());
    for (const Label& label : place.labels) state = H::combine(std::move(state), label.key, label.value);
    return H::combine(std::move(state), place.stack.size(), place.labels.size(), place.entry_pc, place.state, place.wait_reason);
  }
};

size_t BytesOf(const WallPlace& place) {
  size_t bytes = 256 + place.stack.size_bytes();  // the group itself, in a table that is half full
  for (const Label& label : place.labels) bytes += sizeof(Label) + label.key.size() + label.value.size();
  return bytes;
}

std::strong_ordering CompareLabels(std::span<const Label> a, std::span<const Label> b) {
  return std::lexicographical_compare_three_way(a.begin(), a.end(), b.begin(), b.end(), [](const Label& x, const Label& y) {
    return std::tie(x.key, x.value) <=> std::tie(y.key, y.value);
  });
}

bool ComesFirst(const WallGroup& a, const WallGroup& b) {
  const WallPlace& x = a.place;
  const WallPlace& y = b.place;
  const auto by_weight = std::tie(b.weight.time_ns, b.weight.samples) <=> std::tie(a.weight.time_ns, a.weight.samples);
  if (by_weight != 0) return by_weight < 0;
  const auto by_stack =
      std::lexicographical_compare_three_way(x.stack.begin(), x.stack.end(), y.stack.begin(), y.stack.end());
  if (by_stack != 0) return by_stack < 0;
  const auto by_labels = CompareLabels(x.labels, y.labels);
  if (by_labels != 0) return by_labels < 0;
  return std::tie(x.entry_pc, x.state, x.wait_reason) < std::tie(y.entry_pc, y.state, y.wait_reason);
}

}  // namespace

void WallGroups::Add(const WallPlace& place, WallWeight weight) {
  const auto known = groups_.find(place);
  if (known != groups_.end()) {
    known->second.samples += weight.samples;
    known->second.time_ns += weight.time_ns;
    return;
  }
  const bool is_bare = place.stack.empty() && place.labels.empty();
  if (is_bare || bytes_ + BytesOf(place) <= most_bytes_) return Insert(place, weight);
  left_out_ += weight.samples;
  Add({.stack = {}, .labels = {}, .entry_pc = place.entry_pc, .state = place.state, .wait_reason = place.wait_reason}, weight);
}

// There are no more bare places than functions that fibers begin with, times states.
void WallGroups::Insert(const WallPlace& place, WallWeight weight) {
  bytes_ += BytesOf(place);
  WallPlace rest = place;
  rest.stack = {};
  rest.labels = {};
  groups_.emplace(Key{{place.stack.begin(), place.stack.end()}, {place.labels.begin(), place.labels.end()}, rest}, weight);
}

std::vector<WallGroup> WallGroups::Sorted() const {
  std::vector<WallGroup> sorted;
  sorted.reserve(groups_.size());
  for (const auto& [key, weight] : groups_) sorted.push_back({key.Place(), weight});
  std::ranges::sort(sorted, ComesFirst);
  return sorted;
}

size_t WallGroups::Hash::operator()(const WallPlace& place) const { return absl::HashOf(HashedPlace{place}); }

bool WallGroups::Equal::operator()(const WallPlace& a, const WallPlace& b) const {
  return a.entry_pc == b.entry_pc && a.state == b.state && a.wait_reason == b.wait_reason &&
         std::ranges::equal(a.stack, b.stack) && std::ranges::equal(a.labels, b.labels);
}

}  // namespace fiberscope::pprof
