// Stack memory that another thread may unmap at any moment, read without the risk of a fault: copied first, then walked.
//
// The stack of a plain thread goes away with the thread, and nobody tells. So it is never read in place from outside: the kernel
// copies what is readable (process_vm_readv on this very process) and says how much that was. The copy may be torn, or of what
// has taken the stack's place; whoever walks it reads nothing but the copy, and proves afterwards that the thread has slept all
// the time.
#ifndef FIBERSCOPE_RUNTIME_STACK_STACK_MEMORY_H_
#define FIBERSCOPE_RUNTIME_STACK_STACK_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/stack/stack_bounds.h"

namespace fiberscope {

// Where a walk reads the words of a stack: in place, or in a copy.
struct StackMemory {
  StackMemory() = default;
  // In place: must stay mapped while it is used. Not explicit: bounds alone have always meant that.
  StackMemory(StackBounds in_place) : bounds(in_place) {}
  // `copy` holds what stood at `low` and above. Not owned. At equal offsets to a multiple of 16 bytes.
  StackMemory(uintptr_t low, std::span<const std::byte> copy)
      : bounds{.low = low, .high = low + copy.size()}, distance(reinterpret_cast<uintptr_t>(copy.data()) - low) {}

  // The word of the stack at `address`, which bounds.ContainsWord(). Async-signal-safe.
  uintptr_t Load(uintptr_t address) const { return LoadStackWord(address + distance); }

  StackBounds bounds;
  uintptr_t distance = 0;  // from a word to its copy
};

// Below the stack pointer of an interrupted leaf function (x86-64 psABI 3.2.2), which may keep something there.
constexpr uintptr_t kRedZoneBytes = 128;

// Copies the stack whose pointer is `sp`, from its red zone up to the first page that cannot be read, or until `copy` is full. What
// comes back reads from `copy`. Empty where nothing can be read, or the process may not do it (a seccomp filter).
// `copy`: aligned to 16 bytes.
//
// Thread-safe. Async-signal-safe; may change errno. Waits for the kernel's lock on the address space, as a page fault does, no
// more.
StackMemory CopyStack(uintptr_t sp, std::span<std::byte> copy);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STACK_STACK_MEMORY_H_
