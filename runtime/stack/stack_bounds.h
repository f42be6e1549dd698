// A range of stack memory, and the one function through which a stack that is not ours is read.
#ifndef FIBERSCOPE_RUNTIME_STACK_STACK_BOUNDS_H_
#define FIBERSCOPE_RUNTIME_STACK_STACK_BOUNDS_H_

#include <cstddef>
#include <cstdint>

namespace fiberscope {

// [low, high): the usable bytes of one stack, its guard excluded. The stack grows from high down to low.
struct StackBounds {
  uintptr_t low = 0;
  uintptr_t high = 0;

  size_t size() const { return high - low; }
  // Whether the whole word at `address` lies inside.
  bool ContainsWord(uintptr_t address) const {
    return address >= low && address <= high - sizeof(uintptr_t) && high - low >= sizeof(uintptr_t);
  }
  bool operator==(const StackBounds&) const = default;
};

// The calling thread's own stack, whatever stack the caller is on. Of the main thread's, which grows on demand, the low
// part may not be mapped yet: only what lies above a stack pointer can be read. Blocks the thread (the main thread's
// bounds come from /proc/self/maps) and allocates: ask once per thread. Empty when the main thread asks without /proc.
StackBounds ThreadStackBounds();

// Reads the word at `address` of a stack whose owner may be writing to it at this moment. The value may be torn in
// time against its neighbours; the caller proves afterwards that nothing changed (fiber_state.h) or throws it away.
// The address must be mapped; bounds are the caller's business. Not instrumented: the bytes may be poisoned for
// AddressSanitizer, and the race is meant. (Compilers do not inline it into code that is.) Async-signal-safe.
__attribute__((no_sanitize("address", "thread"))) inline uintptr_t LoadStackWord(uintptr_t address) {
  return *reinterpret_cast<const volatile uintptr_t*>(address);
}

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STACK_STACK_BOUNDS_H_
