// What lies at a saved stack pointer, lowest address first, on the CPU this is compiled for. The assembly, the C++ side
// of the switch and the unwinder share it.
#ifndef FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_H_
#define FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_H_

#if defined(__x86_64__)
#include "runtime/stack/saved_frame_x86_64.h"
#elif defined(__aarch64__)
#include "runtime/stack/saved_frame_aarch64.h"
#else
#error "no context switch for this CPU: write context_switch_CPU.S and saved_frame_CPU.h"
#endif

#endif  // FIBERSCOPE_RUNTIME_STACK_SAVED_FRAME_H_
