#include "runtime/stack/context_switch.h"

#include <new>

#include "runtime/base/check.h"

namespace fiberscope {

// The outermost frame of a fiber; never called from C++.
extern "C" void fiberscope_fiber_entry();

#if !defined(FIBERSCOPE_HAS_ASAN) && !defined(FIBERSCOPE_HAS_TSAN)
static_assert(sizeof(SwitchTarget) == sizeof(void*), "part of a control block's first cache line");
#endif

void PrepareTarget(SwitchTarget& target, StackBounds stack, EntryFunction entry) {
  // Two words that nobody uses, then the stack as the ABI wants it at a call: a multiple of 16.
  struct UnusedTop {
    uintptr_t words[2];
  };
  static_assert(sizeof(UnusedTop) % 16 == 0);
  const uintptr_t top = (stack.high & ~uintptr_t{15}) - sizeof(UnusedTop);
  const uintptr_t sp = top - sizeof(SavedFrame);
  FIBERSCOPE_CHECK(sp >= stack.low && sp < stack.high, "a stack of %d bytes is too small", stack.size());

  target.sanitizer.Prepare(stack);
  new (reinterpret_cast<void*>(top)) UnusedTop{};
  target.saved_sp = new (reinterpret_cast<void*>(sp)) SavedFrame(
      SavedFrame::AtRoot(reinterpret_cast<uintptr_t>(&fiberscope_fiber_entry), reinterpret_cast<uintptr_t>(entry)));
}

}  // namespace fiberscope
