// What lies at a saved stack pointer on x86-64, shared between context_switch_x86_64.S, the C++ code and the unwinder.
//
// SysV ABI: a call preserves rbx, rbp and r12 to r15. Included by assembly too, so the offsets are macros.
#ifndef FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_X86_64_H_
#define FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_X86_64_H_

#define FIBERSCOPE_FRAME_R15 0
#define FIBERSCOPE_FRAME_R14 8
#define FIBERSCOPE_FRAME_R13 16
#define FIBERSCOPE_FRAME_R12 24
#define FIBERSCOPE_FRAME_RBX 32
#define FIBERSCOPE_FRAME_RBP 40
#define FIBERSCOPE_FRAME_RIP 48
#define FIBERSCOPE_FRAME_BYTES 56

// Where a new fiber starts, from the beginning of fiberscope_fiber_entry.
#define FIBERSCOPE_ROOT_OFFSET 1

#ifndef __ASSEMBLER__

#include <cstddef>
#include <cstdint>

namespace fiberscope {

struct SavedFrame {
  uintptr_t r15, r14, r13, r12, rbx, rbp, rip;

  // The frame of a target that has not run yet: it goes to `trampoline` (fiberscope_fiber_entry), which calls `entry`.
  // The chain of frame pointers ends there.
  static SavedFrame AtRoot(uintptr_t trampoline, uintptr_t entry) {
    return {.r15 = 0, .r14 = 0, .r13 = 0, .r12 = entry, .rbx = 0, .rbp = 0, .rip = trampoline + FIBERSCOPE_ROOT_OFFSET};
  }
};
static_assert(sizeof(SavedFrame) == FIBERSCOPE_FRAME_BYTES);
static_assert(offsetof(SavedFrame, r15) == FIBERSCOPE_FRAME_R15);
static_assert(offsetof(SavedFrame, r14) == FIBERSCOPE_FRAME_R14);
static_assert(offsetof(SavedFrame, r13) == FIBERSCOPE_FRAME_R13);
static_assert(offsetof(SavedFrame, r12) == FIBERSCOPE_FRAME_R12);
static_assert(offsetof(SavedFrame, rbx) == FIBERSCOPE_FRAME_RBX);
static_assert(offsetof(SavedFrame, rbp) == FIBERSCOPE_FRAME_RBP);
static_assert(offsetof(SavedFrame, rip) == FIBERSCOPE_FRAME_RIP);

// The registers of a target that is not running, by gdb's names. Its stack pointer is where the frame ends.
struct SavedRegister {
  const char* name;
  uint64_t offset;
};
inline constexpr const char* kStackPointerName = "rsp";
inline constexpr SavedRegister kSavedRegisters[] = {
    {"rip", FIBERSCOPE_FRAME_RIP}, {"rbp", FIBERSCOPE_FRAME_RBP}, {"rbx", FIBERSCOPE_FRAME_RBX},
    {"r12", FIBERSCOPE_FRAME_R12}, {"r13", FIBERSCOPE_FRAME_R13}, {"r14", FIBERSCOPE_FRAME_R14},
    {"r15", FIBERSCOPE_FRAME_R15},
};

}  // namespace fiberscope

#endif  // __ASSEMBLER__

#endif  // FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_X86_64_H_
