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
  // The bounds of a plain thread's stack are asked for in its first call, which allocates. False: then there is no stack until some
  // other call has asked.
  bool may_ask = true;
};

// Writes return addresses, innermost first, and returns how many. Outer frames beyond pcs.size() are left out. Of a fiber the whole
// stack, of a plain thread its own. On any other stack (sigaltstack, somebody else's coroutine) nothing.
//
// Thread-safe. Never parks. With both options false it never blocks, nor allocates: it may be called from within the allocator. So
// it may with may_ask alone: calls from within the one that asks return 0. Not async-signal-safe.
// Cost: 0.1 us and 30 ns per frame.
size_t CaptureOwnStack(std::span<uintptr_t> pcs, const OwnStackOptions& options = {});

// The same for the code that a signal interrupted, in its handler; `context` is the handler's third argument. The first address is
// the exact pc. Never asks, never refreshes. Async-signal-safe.
size_t CaptureInterruptedStack(const void* context, std::span<uintptr_t> pcs);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_OWN_STACK_H_
