// Stacks of traced events, each with a number.
//
// Walking a stack costs 30 ns per frame; a trace takes millions, of few different ones. So a stack that was walked once is kept
// with the places of its return addresses, counted from where the event was; the next time, it is enough to look whether the
// same addresses are in the same places, all the way up to the top of the stack: ~1 ns per frame. Where a function's frame has
// a size of its own each time (alloca) the places differ, and the stack is another one of the same addresses.
//
// Kept for the life of the process, 32 MiB at most; what comes then has no number and is counted.
//
// Thread-safe, but for TraceStackMemo, which belongs to one thread.
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACE_STACKS_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACE_STACKS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/stack/stack_bounds.h"
#include "runtime/trace/trace_generation.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::internal {

struct KeptTraceStack {
  uint32_t number = 0;
  uint32_t depth = 0;
  uintptr_t above = 0;  // from the innermost frame's stack pointer to the top of the stack
  // The generations in which it was used last: an even and an odd one, as two may be written at the same time.
  std::array<std::atomic<uint32_t>, 2> used{};
  std::unique_ptr<uintptr_t[]> pcs;
  std::unique_ptr<uint32_t[]> places;  // of pcs[i], i > 0: from the innermost frame's stack pointer
};

class TraceStackMemo {
 public:
  // Where the caller's caller stands: `pc` and `sp` of that frame; its registers, if the caller has them (null: they are found by
  // walking from here). 0: no stack.
  uint64_t Number(uint32_t generation, StackBounds stack, uintptr_t pc, uintptr_t sp, const Registers* registers);
  // Of a stack of one address that is no return address of anybody.
  uint64_t NumberOf(uint32_t generation, uintptr_t pc);

 private:
  static constexpr size_t kEntries = 512;

  KeptTraceStack*& Entry(uintptr_t pc, uintptr_t above) {
    if (entries_ == nullptr) entries_ = std::make_unique<KeptTraceStack*[]>(kEntries);
    return entries_[((pc * 0x9e3779b97f4a7c15u ^ above * 0xff51afd7ed558ccdu) >> 55) % kEntries];
  }

  std::unique_ptr<KeptTraceStack*[]> entries_;  // made when first needed
};

// Those that were used in that generation. No thread writes it any more.
std::vector<TraceStack> TraceStacksOf(uint32_t generation);

// How often there was no room so far.
uint64_t LostTraceStacks();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACE_STACKS_H_
