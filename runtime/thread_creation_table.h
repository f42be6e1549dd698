// Counts threads by the stack that made them, in memory of its own: it works before main(), and while an allocator is being set up.
#ifndef FIBERSCOPE_RUNTIME_THREAD_CREATION_TABLE_H_
#define FIBERSCOPE_RUNTIME_THREAD_CREATION_TABLE_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/thread_creation.h"

namespace fiberscope::internal {

// Constant-initialised, with zeroes: a global one needs no constructor to have run, and takes no space in the program's file.
// Thread-compatible.
template <size_t kMaxStacks>
class ThreadCreationTable {
 public:
  static constexpr size_t kMaxFrames = 128;

  // Of `stack` the first kMaxFrames count. One that is empty, or new when the table is full, adds to the unknown.
  void Add(std::span<const uintptr_t> stack) {
    ++seen_;
    stack = stack.first(std::min(stack.size(), kMaxFrames));
    if (stack.empty()) return;
    const uint64_t hash = Hash(stack);
    // In a row: a hundred times faster than making a thread even when full.
    size_t i = 0;
    while (i < size_ && !(hashes_[i] == hash && std::ranges::equal(stacks_[i].Pcs(), stack))) ++i;
    if (i == kMaxStacks) return;
    if (i == size_) {
      ++size_;
      hashes_[i] = hash;
      stacks_[i].depth = stack.size();
      std::ranges::copy(stack, stacks_[i].pcs.begin());
      stacks_[i].count = 0;
    }
    ++stacks_[i].count;
    ++known_;
  }

  // There are that many threads, at least, that were not seen being made.
  void Notice(int64_t unseen) { unseen_ = std::max(unseen_, unseen); }

  int64_t total() const { return seen_ + std::max(unseen_, kMainThread); }

  ThreadCreationSnapshot Read() const {
    ThreadCreationSnapshot snapshot{.records = {}, .unknown = total() - known_};
    snapshot.records.reserve(size_);
    for (const Stack& stack : std::span(stacks_).first(size_)) {
      const std::span<const uintptr_t> pcs = stack.Pcs();
      snapshot.records.push_back({{pcs.begin(), pcs.end()}, stack.count});
    }
    return snapshot;
  }

  void Clear() {
    size_ = 0;
    seen_ = known_ = unseen_ = 0;
  }

 private:
  static constexpr int64_t kMainThread = 1;

  struct Stack {
    int64_t count = 0;
    size_t depth = 0;
    std::array<uintptr_t, kMaxFrames> pcs{};

    std::span<const uintptr_t> Pcs() const { return std::span(pcs).first(depth); }
  };

  // FNV-1a over words.
  static uint64_t Hash(std::span<const uintptr_t> stack) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const uintptr_t pc : stack) hash = (hash ^ pc) * 0x100000001b3;
    return hash;
  }

  size_t size_ = 0;  // of the two arrays
  int64_t seen_ = 0;
  int64_t known_ = 0;  // of those seen, with a stack in the table
  int64_t unseen_ = 0;
  std::array<uint64_t, kMaxStacks> hashes_{};
  std::array<Stack, kMaxStacks> stacks_{};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_THREAD_CREATION_TABLE_H_
