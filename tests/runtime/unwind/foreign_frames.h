// Functions in assembly that no compiler makes. Those with a callee call it and return what it returns.
#ifndef FIBERSCOPE_TESTS_RUNTIME_UNWIND_FOREIGN_FRAMES_H_
#define FIBERSCOPE_TESTS_RUNTIME_UNWIND_FOREIGN_FRAMES_H_

#include <cstdint>

extern "C" {
// The frame address is only known from rbx.
int CallWithCfaInRbx(int (*callee)());
// The frame address is only known from r12, which a further frame below has saved and overwritten.
int CallWithCfaInR12(int (*callee)());
// The frame address is computed from a word on the stack that holds half of it.
int CallWithCfaByExpression(int (*callee)());
// The return address has been moved from its place below the frame address into r13.
int CallWithMovedReturnAddress(int (*callee)());
// Saves rbp and overwrites it, without using it as a frame pointer.
int CallWithRbpOverwritten(int (*callee)());

// Calls g_thin_callee with an address in its own code and its stack pointer there, from a frame that saves nothing: as the C
// library's wrappers of most system calls look to whoever is told pc and sp of a thread that sleeps in one.
int CallThinly();
extern int (*g_thin_callee)(uintptr_t pc, uintptr_t sp);

// Between these two the processor raises SIGTRAP after every instruction (trap flag).
void StartSingleStepping();
void StopSingleStepping();
}

#endif  // FIBERSCOPE_TESTS_RUNTIME_UNWIND_FOREIGN_FRAMES_H_
