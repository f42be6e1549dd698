// Functions in assembly that no compiler makes. Those with a callee call it and return what it returns.
#ifndef FIBERSCOPE_TESTS_RUNTIME_UNWIND_FOREIGN_FRAMES_H_
#define FIBERSCOPE_TESTS_RUNTIME_UNWIND_FOREIGN_FRAMES_H_

extern "C" {
// The frame address is only known from rbx.
int CallWithCfaInRbx(int (*callee)());
// The frame address is only known from r12, which a further frame below has saved and overwritten.
int CallWithCfaInR12(int (*callee)());
// The frame address is computed from a word on the stack that holds half of it.
int CallWithCfaByExpression(int (*callee)());
// The return address has been moved from its place below the frame address into r13.
int CallWithMovedReturnAddress(int (*callee)());

// Between these two the processor raises SIGTRAP after every instruction (trap flag).
void StartSingleStepping();
void StopSingleStepping();
}

#endif  // FIBERSCOPE_TESTS_RUNTIME_UNWIND_FOREIGN_FRAMES_H_
