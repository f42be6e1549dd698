// The stacks of parked fibers as listings find them: walked with the help of what earlier listings saw.
//
// Process-wide there is one StackTable and, for each control block, a memo: the state word under which its stack was last walked,
// and the stack's number. A fiber that has not run since has the same word, so its stack is known without a look at it; most of
// the fibers of a large service are such.
//
// One listing at a time has the use of both. Another one at the same time gets a table of its own, for as long as it lasts, and no
// memos: slower, not less right. So nothing in here is shared between threads, and a listing that is held up by a slow reader does
// not hold up others.
//
// The table is replaced when an object was loaded or unloaded, or when it is full; the memos are void then.
//
// Thread-compatible. Allocates; not on a fiber.
// Memory: 16 bytes for each block of a slab that was listed once, and the table's (stack_table.h); kept for the next listing.
// Cost: 5 ns for a fiber that has not run since the last listing, else 10 ns per frame and what its memory costs.
#ifndef FIBERSCOPE_RUNTIME_FIBER_STACKS_H_
#define FIBERSCOPE_RUNTIME_FIBER_STACKS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/control_block.h"
#include "runtime/fiber_state.h"
#include "runtime/unwind/stack_table.h"

namespace fiberscope::internal {

class FiberStacks {
 public:
  FiberStacks();
  ~FiberStacks();
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;

  // Frames per stack are bounded by its size; by this too.
  static constexpr size_t kMaxFrames = 64 << 10;

  // Before the blocks of a slab are looked at, and before those of another one.
  void EnterSlab(std::span<ControlBlock> slab);

  // To be called some blocks before Find(slab[index]): fetches what that will read.
  void Prefetch(size_t index) const;

  // The stack of a fiber that is not running, seen under `word`. False: it cannot be (the fiber has been resumed meanwhile). The
  // caller checks afterwards that the word is unchanged, and throws the result away if not.
  //
  // The addresses are valid until the next call; those of a stack with a number as long as this object.
  struct Found {
    uint32_t number = StackTable::kNone;  // equal numbers, equal stacks; kNone: the table is full
    StackTable::Stack stack;
  };
  bool Find(size_t index, StateWord word, Found& found);
  // The word was unchanged: the stack just found may be remembered.
  void Remember(size_t index, StateWord word, uint32_t number);

  // A stack that was walked by other means.
  Found Insert(std::span<const uintptr_t> pcs, bool truncated);

 private:
  struct Shared;
  struct Memo {
    StateWord word;
    uint32_t number = StackTable::kNone;
    uint32_t table = 0;  // which one gave the number
  };

  static Shared& TheShared();

  std::unique_lock<std::mutex> lock_;  // of the shared ones, if they are ours
  std::unique_ptr<StackTable> own_;    // else
  StackTable* table_ = nullptr;        // either
  uint32_t table_id_ = 0;
  std::span<ControlBlock> slab_;
  Memo* memos_ = nullptr;              // of slab_; null without
  std::vector<uintptr_t> pcs_;         // of a stack without a number
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_FIBER_STACKS_H_
