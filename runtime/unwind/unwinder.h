// Walks a stack from a set of registers to its root.
//
// Reads only words inside the given bounds, always through LoadStackWord, so a parked fiber can be walked while it may
// be resumed at any moment: the result is then garbage in known places (never a fault), and the caller's sequence check
// throws it away. A stack that may be unmapped meanwhile is walked in a copy (stack_memory.h).
//
// Thread-safe. Async-signal-safe. Never blocks. Cost: ~30 ns per frame.
#ifndef FIBERSCOPE_RUNTIME_UNWIND_UNWINDER_H_
#define FIBERSCOPE_RUNTIME_UNWIND_UNWINDER_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/stack/stack_memory.h"
#include "runtime/unwind/unwind_table.h"

namespace fiberscope {

// What a frame's rules may refer to: program counter, stack pointer and the registers a call preserves (x86-64 SysV).
struct Registers {
  uintptr_t pc = 0;
  uintptr_t sp = 0;
  uintptr_t rbp = 0;
  uintptr_t rbx = 0;
  uintptr_t r12 = 0;
  uintptr_t r13 = 0;
  uintptr_t r14 = 0;
  uintptr_t r15 = 0;
  // False: pc is a return address, so the instruction that counts is the one before. True: pc was interrupted.
  bool pc_is_exact = false;
};

enum class UnwindEnd : uint8_t {
  kRoot,        // the outermost frame was reached: the whole stack is there
  kBufferFull,  // more frames than fit
  kNoRule,      // a frame without unwind information; the pcs up to and including it are right
  kBadFrame,    // a frame address that cannot be (outside the bounds, not growing): corrupt, or read while it changed
  kUnknownRegister,  // a frame whose rule needs a register that nobody knows; the pcs up to and including it are right
};

struct UnwindResult {
  size_t depth = 0;  // pcs written
  UnwindEnd end = UnwindEnd::kRoot;
};

// Writes the program counters of the frames, innermost first: registers.pc, then return addresses. `stack` is its
// readable part; nothing below registers.sp is read, save the 128-byte red zone when pc_is_exact.
UnwindResult Unwind(const UnwindTable& table, const Registers& registers, const StackMemory& stack, std::span<uintptr_t> pcs);

// The same, with each frame's stack pointer as it is after the call: on x86-64, pcs[i] was read just below sps[i]. `sps` has as
// many elements as `pcs`, or none.
UnwindResult UnwindWithSps(const UnwindTable& table, const Registers& registers, const StackMemory& stack,
                           std::span<uintptr_t> pcs, std::span<uintptr_t> sps);

// The same from a pc that is exact and its sp alone, which is what the kernel tells of a thread that sleeps in a system call. The
// other registers become known where a frame has saved them on the stack; a rule that needs one before that ends the walk
// (kUnknownRegister): code with frame pointers, if what it called has not saved its own.
UnwindResult UnwindFromPcAndSp(const UnwindTable& table, uintptr_t pc, uintptr_t sp, const StackMemory& stack,
                               std::span<uintptr_t> pcs);

// The caller's own registers, as if it had just been returned to: Unwind() from them starts with the caller's frame.
// Only meaningful while that frame is still active.
Registers CaptureRegisters();

// Those of the code that a signal interrupted. `context`: the third argument of its handler (SA_SIGINFO).
Registers InterruptedRegisters(const void* context);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_UNWINDER_H_
