// Every distinct stack once, with a number: equal numbers, equal stacks.
//
//   const uint32_t number = table.Walk(registers, bounds);      // of a parked fiber
//   if (number != 0) Use(table.Get(number).pcs);
//
// A trie of frames, from the innermost outwards: a node stands for all stacks that begin with the same return addresses.
//
//        (start) ── Park ── Channel::Receive ─┬─ Worker ── Run        number 4
//                                             └─ Reader ─┬─ Serve     number 6
//                                                        └─ Retry     number 8
//
// A node keeps the unwind rule that leads from its frame to the caller, and the child that was found last. So a walk down a stack
// that is known loads a return address, compares, and follows: no search in the unwind table, no hash, and when it ends there is
// nothing left to compare, because the node it ends at is the stack. Deduplication is exact.
//
// Rules belong to one unwind table: make a new StackTable when UnwindTable::Refresh() returns another.
//
// Memory is bounded: `max_nodes` of ~80 bytes, and 16 bytes of listed addresses for each. When that is used up the table is full:
// it knows what it knows, and says 0 of every other stack, which is then walked without it (Unwind) and has no number. Nothing
// is dropped.
//
// Thread-compatible. Allocates: not async-signal-safe. Never blocks. Reads of stacks as in unwinder.h: a stack that changes
// meanwhile yields garbage that the caller throws away; what it added to the table stays there unused.
// Cost: 10 ns per frame that is known and in the cache, 60 ns per new one.
#ifndef FIBERSCOPE_RUNTIME_UNWIND_STACK_TABLE_H_
#define FIBERSCOPE_RUNTIME_UNWIND_STACK_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/unwind/unwind_rule.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope {

class StackTable {
 public:
  static constexpr uint32_t kNone = 0;
  static constexpr size_t kDefaultMaxNodes = 1 << 19;  // 40 MiB, and 8 MiB of addresses

  // `unwind_table` must outlive this object; those of UnwindTable::Refresh() do.
  explicit StackTable(const UnwindTable& unwind_table, size_t max_nodes = kDefaultMaxNodes);
  StackTable(const StackTable&) = delete;
  StackTable& operator=(const StackTable&) = delete;

  // The number of the stack that Unwind() would find, of at most `max_frames`. registers.pc is a return address. kNone: full.
  uint32_t Walk(const Registers& registers, StackBounds bounds, size_t max_frames);

  // The number of a stack that was walked by other means. kNone: full.
  uint32_t Insert(std::span<const uintptr_t> pcs, bool truncated);

  struct Stack {
    std::span<const uintptr_t> pcs;  // innermost first; valid as long as the table
    bool truncated = false;          // the walk did not reach the root
  };
  // Of a number from Walk or Insert.
  Stack Get(uint32_t number) const { return {listed_[number >> 1], (number & 1) != 0}; }

  const UnwindTable& unwind_table() const { return unwind_table_; }
  bool full() const { return full_; }
  size_t node_count() const { return nodes_.size(); }

 private:
  struct Node {
    uintptr_t pc = 0;         // return address
    UnwindRule rule;          // from this frame to the caller's
    uint32_t parent = 0;      // the next frame inwards
    uint32_t last_child = 0;  // 0: none yet
  };
  static_assert(sizeof(Node) == 32, "two nodes in a cache line");

  static constexpr uint32_t kStart = 0;  // parent of the innermost frames

  // 0: full.
  uint32_t Child(uint32_t parent, uintptr_t pc) {
    const uint32_t last = nodes_[parent].last_child;
    return last != 0 && nodes_[last].pc == pc ? last : FindOrAddChild(parent, pc);
  }
  uint32_t FindOrAddChild(uint32_t parent, uintptr_t pc);
  // The number of the stack of `depth` frames that ends at `node`; lists its addresses if nobody has yet.
  uint32_t Number(uint32_t node, size_t depth, bool truncated);
  uint32_t Full();

  const UnwindTable& unwind_table_;
  const size_t max_nodes_;
  std::vector<Node> nodes_;
  absl::flat_hash_map<std::pair<uint32_t, uintptr_t>, uint32_t> children_;
  std::vector<std::span<const uintptr_t>> listed_;  // by node: the addresses up to it, where a stack ends
  std::deque<std::vector<uintptr_t>> addresses_;    // what listed_ points at
  size_t address_count_ = 0;
  std::vector<uintptr_t> walked_;  // of the slow way
  bool full_ = false;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_STACK_TABLE_H_
