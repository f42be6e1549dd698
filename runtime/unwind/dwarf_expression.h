// Evaluates a DWARF expression: the small stack-machine programs with which hand-written assembly, lazy-binding stubs
// and signal trampolines say where a frame's registers are.
//
// Format: DWARF 5 section 2.5, those operations that call frame information may use (section 6.4.2).
//
// Async-signal-safe. Never blocks. Cost: bounded (256 operations).
#ifndef FIBERSCOPE_RUNTIME_UNWIND_DWARF_EXPRESSION_H_
#define FIBERSCOPE_RUNTIME_UNWIND_DWARF_EXPRESSION_H_

#include <cstdint>
#include <optional>
#include <span>

#include "runtime/stack/stack_memory.h"
#include "runtime/unwind/unwind_rule.h"

namespace fiberscope {

// What is on top of the stack at the end. `initial` is pushed first if given (the CFA, for a register's rule). Memory
// is read in `readable` only. Nothing: the expression is malformed, does not end, or needs what a walk does not
// have (a scratch register, one that is not `known`, memory elsewhere).
std::optional<uintptr_t> EvaluateExpression(std::span<const uint8_t> expression, const FrameRegisters& registers,
                                            const StackMemory& readable, std::optional<uintptr_t> initial,
                                            KnownRegisters known = KnownRegisters::All());

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_DWARF_EXPRESSION_H_
