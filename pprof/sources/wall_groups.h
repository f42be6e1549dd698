// Time summed up by stack, labels and state: what a wall-clock profile is made of.
#ifndef FIBERSCOPE_PPROF_SOURCES_WALL_GROUPS_H_
#define FIBERSCOPE_PPROF_SOURCES_WALL_GROUPS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/fiber_state.h"
#include "runtime/labels.h"
#include "runtime/wait_reason.h"

namespace fiberscope::pprof {

// Where a fiber was, and what it did there.
struct WallPlace {
  std::span<const uintptr_t> stack = {};  // return addresses, innermost first
  std::span<const Label> labels = {};     // sorted by key
  uintptr_t entry_pc = 0;
  FiberState state = FiberState::kDead;
  WaitReason wait_reason = WaitReason::kNone;
};

struct WallWeight {
  int64_t samples = 0;
  int64_t time_ns = 0;
};

struct WallGroup {
  WallPlace place;
  WallWeight weight;
};

// Thread-compatible. Memory grows with the distinct places, up to a limit: what comes beyond it counts at its entry function,
// without labels, and left_out() says how much. Cost: ~100 ns per known place.
class WallGroups {
 public:
  static constexpr size_t kMostBytes = 64 << 20;

  explicit WallGroups(size_t most_bytes = kMostBytes) : most_bytes_(most_bytes) {}

  void Add(const WallPlace& place, WallWeight weight);

  // By time, the most first; then by what tells them apart, so that the same groups are always in the same order. The places are
  // valid as long as this object is and nothing is added.
  std::vector<WallGroup> Sorted() const;

  int64_t left_out() const { return left_out_; }  // samples

 private:
  struct Key {
    std::vector<uintptr_t> stack;
    std::vector<Label> labels;
    WallPlace rest;  // without these two
    WallPlace Place() const { return {stack, labels, rest.entry_pc, rest.state, rest.wait_reason}; }
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const WallPlace& place) const;
    size_t operator()(const Key& key) const { return (*this)(key.Place()); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const WallPlace& a, const WallPlace& b) const;
    bool operator()(const Key& a, const WallPlace& b) const { return (*this)(a.Place(), b); }
    bool operator()(const Key& a, const Key& b) const { return (*this)(a.Place(), b.Place()); }
  };

  void Insert(const WallPlace& place, WallWeight weight);

  const size_t most_bytes_;
  size_t bytes_ = 0;
  int64_t left_out_ = 0;
  absl::flat_hash_map<Key, WallWeight, Hash, Equal> groups_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_WALL_GROUPS_H_
