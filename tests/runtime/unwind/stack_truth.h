// The truth that our unwinder is held against: what libgcc's unwinder, which runs C++ exceptions, says about the same
// stack at the same moment.
#ifndef FIBERSCOPE_TESTS_RUNTIME_UNWIND_STACK_TRUTH_H_
#define FIBERSCOPE_TESTS_RUNTIME_UNWIND_STACK_TRUTH_H_

#include <pthread.h>
#include <unwind.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/str_format.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::testing {

// Program counters in a fixed array, so that a signal handler can fill it.
struct Pcs {
  std::array<uintptr_t, 512> values;
  size_t depth = 0;

  std::span<const uintptr_t> From(size_t first) const { return std::span(values).subspan(first, depth - first); }
};

// libgcc's stack, this function's frame first. Async-signal-safe once it has run before.
__attribute__((noinline)) inline void CaptureWithLibgcc(Pcs& pcs) {
  pcs.depth = 0;
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* argument) {
        auto& pcs = *static_cast<Pcs*>(argument);
        const uintptr_t pc = _Unwind_GetIP(context);
        // libgcc reports the frame beyond the outermost one as 0.
        if (pc == 0 || pcs.depth == pcs.values.size()) return _URC_END_OF_STACK;
        pcs.values[pcs.depth++] = pc;
        return _URC_NO_REASON;
      },
      &pcs);
  asm volatile("");  // not a tail call: this frame has to be there
}

// The stack of the calling thread, as the system made it. Async-signal-safe once it has run on that thread before.
inline StackBounds ThreadStack() {
  static thread_local StackBounds known;
  if (known.high != 0) return known;
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  void* low = nullptr;
  size_t size = 0;
  pthread_attr_getstack(&attributes, &low, &size);
  pthread_attr_destroy(&attributes);
  known = {reinterpret_cast<uintptr_t>(low), reinterpret_cast<uintptr_t>(low) + size};
  return known;
}

// Both views of one stack, taken by UnwindBothWays().
struct TwoViews {
  Pcs truth;
  Pcs ours;
  UnwindEnd end = UnwindEnd::kNoRule;

  bool Agree() const {
    if (end != UnwindEnd::kRoot || ours.depth < 2 || truth.depth != ours.depth + 1) return false;
    // Equal from the caller of UnwindBothWays() on, which made the two calls at different places.
    return std::ranges::equal(truth.From(2), ours.From(1));
  }
  std::string Describe() const {
    std::string text = absl::StrFormat("end %d, depth %d, truth %d\n", static_cast<int>(end), ours.depth, truth.depth);
    for (size_t i = 0; i < std::max(truth.depth, ours.depth + 1); ++i) {
      absl::StrAppendFormat(&text, "  %2d truth %12x ours %12x\n", i, i < truth.depth ? truth.values[i] : 0,
                            i > 0 && i <= ours.depth ? ours.values[i - 1] : 0);
    }
    return text;
  }
};

__attribute__((noinline)) inline void UnwindBothWays(TwoViews& views) {
  const StackBounds bounds = ThreadStack();
  CaptureWithLibgcc(views.truth);
  const Registers here = CaptureRegisters();
  const UnwindResult result = Unwind(*UnwindTable::Current(), here, bounds, views.ours.values);
  views.ours.depth = result.depth;
  views.end = result.end;
}

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_RUNTIME_UNWIND_STACK_TRUTH_H_
