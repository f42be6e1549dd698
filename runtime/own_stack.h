// The caller's own stack, as addresses: where was this called from?
#ifndef FIBERSCOPE_RUNTIME_OWN_STACK_H_
#define FIBERSCOPE_RUNTIME_OWN_STACK_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace fiberscope {

struct OwnStackOptions {
  // Frames to leave out, from the caller of CaptureOwnStack outwards. 0: begin with that function.
  size_t skip = 0;
  // Code that was loaded since the unwind table was made may be on the stack: make a new one then, which allocates and takes the
  // loader's lock. False: the stack ends there instead.
  bool may_refresh = true;
};

// Writes return addresses, innermost first, and returns how many. Outer frames beyond pcs.size() are left out. Of a fiber the whole
// stack, of a plain thread its own. On any other stack (sigaltstack, somebody else's coroutine) nothing.
//
// Thread-safe. Never parks. With may_refresh false it blocks only in a thread's first call, which asks for the bounds of the
// thread's stack: that allocates, and calls of this function from within the allocator return 0 meanwhile. Not async-signal-safe.
// Cost: 0.1 us and 30 ns per frame.
size_t CaptureOwnStack(std::span<uintptr_t> pcs, const OwnStackOptions& options = {});

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_OWN_STACK_H_
