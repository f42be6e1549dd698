// What lies at a saved stack pointer on aarch64, shared between context_switch_aarch64.S, the C++ code and the
// unwinder.
//
// AAPCS64: a call preserves x19 to x29 and the low halves of v8 to v15; x30 holds the return address. Included by
// assembly too, so the offsets are macros.
#ifndef FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_AARCH64_H_
#define FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_AARCH64_H_

#define FIBERSCOPE_FRAME_D8 0
#define FIBERSCOPE_FRAME_D10 16
#define FIBERSCOPE_FRAME_D12 32
#define FIBERSCOPE_FRAME_D14 48
#define FIBERSCOPE_FRAME_X19 64
#define FIBERSCOPE_FRAME_X21 80
#define FIBERSCOPE_FRAME_X23 96
#define FIBERSCOPE_FRAME_X25 112
#define FIBERSCOPE_FRAME_X27 128
#define FIBERSCOPE_FRAME_X29 144
#define FIBERSCOPE_FRAME_BYTES 160

// Where a new fiber starts, from the beginning of fiberscope_fiber_entry.
#define FIBERSCOPE_ROOT_OFFSET 4

#ifndef __ASSEMBLER__

#include <cstddef>
#include <cstdint>

namespace fiberscope {

struct SavedFrame {
  uint64_t d8, d9, d10, d11, d12, d13, d14, d15;
  uintptr_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
  uintptr_t x29;  // frame pointer
  uintptr_t x30;  // where the target continues

  // The frame of a target that has not run yet: it goes to `trampoline` (fiberscope_fiber_entry), which calls `entry`.
  // The chain of frame pointers ends there.
  static SavedFrame AtRoot(uintptr_t trampoline, uintptr_t entry) {
    SavedFrame frame{};
    frame.x19 = entry;
    frame.x30 = trampoline + FIBERSCOPE_ROOT_OFFSET;
    return frame;
  }
};
static_assert(sizeof(SavedFrame) == FIBERSCOPE_FRAME_BYTES);
static_assert(sizeof(SavedFrame) % 16 == 0, "sp must be a multiple of 16 whenever it is used");
static_assert(offsetof(SavedFrame, d8) == FIBERSCOPE_FRAME_D8);
static_assert(offsetof(SavedFrame, d10) == FIBERSCOPE_FRAME_D10);
static_assert(offsetof(SavedFrame, d12) == FIBERSCOPE_FRAME_D12);
static_assert(offsetof(SavedFrame, d14) == FIBERSCOPE_FRAME_D14);
static_assert(offsetof(SavedFrame, x19) == FIBERSCOPE_FRAME_X19);
static_assert(offsetof(SavedFrame, x21) == FIBERSCOPE_FRAME_X21);
static_assert(offsetof(SavedFrame, x23) == FIBERSCOPE_FRAME_X23);
static_assert(offsetof(SavedFrame, x25) == FIBERSCOPE_FRAME_X25);
static_assert(offsetof(SavedFrame, x27) == FIBERSCOPE_FRAME_X27);
static_assert(offsetof(SavedFrame, x29) == FIBERSCOPE_FRAME_X29);
static_assert(offsetof(SavedFrame, x30) == FIBERSCOPE_FRAME_X29 + 8);

// The registers of a target that is not running, by gdb's names. Its stack pointer is where the frame ends. Left out: the
// halves of v8 to v15, which gdb takes only as whole registers.
struct SavedRegister {
  const char* name;
  uint64_t offset;
};
inline constexpr const char* kStackPointerName = "sp";
inline constexpr SavedRegister kSavedRegisters[] = {
    {"pc", FIBERSCOPE_FRAME_X29 + 8},  {"x30", FIBERSCOPE_FRAME_X29 + 8}, {"x29", FIBERSCOPE_FRAME_X29},
    {"x19", FIBERSCOPE_FRAME_X19},     {"x20", FIBERSCOPE_FRAME_X19 + 8}, {"x21", FIBERSCOPE_FRAME_X21},
    {"x22", FIBERSCOPE_FRAME_X21 + 8}, {"x23", FIBERSCOPE_FRAME_X23},     {"x24", FIBERSCOPE_FRAME_X23 + 8},
    {"x25", FIBERSCOPE_FRAME_X25},     {"x26", FIBERSCOPE_FRAME_X25 + 8}, {"x27", FIBERSCOPE_FRAME_X27},
    {"x28", FIBERSCOPE_FRAME_X27 + 8},
};

}  // namespace fiberscope

#endif  // __ASSEMBLER__

#endif  // FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_AARCH64_H_
