// Which functions are Fiberscope's own, so that profiles show the user's code first.
//
// Two kinds, told apart by name, or by file where the compiler gives an inlined function no full name:
//   machinery       park, switch, slow paths of primitives: everything in namespace fiberscope, everything written in
//                   runtime/, and assembly symbols that begin with "fiberscope_". Treated as Go treats runtime.*: the
//                   text forms hide it at the leaf end of a stack unless nothing else is left; address lists and
//                   profile.proto keep it.
//   root machinery  what lies below the function the user spawned: the assembly trampoline, the C++ entry glue, and what scopes
//                   and pools add to it. Never shown anywhere unless nothing else is left.
#ifndef FIBERSCOPE_PPROF_MACHINERY_H_
#define FIBERSCOPE_PPROF_MACHINERY_H_

#include <cstdint>
#include <span>
#include <vector>

#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

bool IsMachinery(const Frame& frame);
bool IsRootMachinery(const Frame& frame);

// `frames` of one code address without the root machinery at the outer end: a user's function may be inlined into the
// entry glue. All of them if they are nothing but that. A spawned lambda that was inlined there, of which the debug
// information knows no more than "operator()", gets its full name from the glue, which is an instance for its type.
std::vector<Frame> UserFrames(std::span<const Frame> frames);

// What to show of a fiber. Normally `stack`, return addresses innermost first, without those at the outer end that are
// nothing but root machinery. If nothing is left, because the fiber has not begun or its stack is not to be had, its
// entry function: entry_pc + 1, so that it can be treated like a return address. If that is 0, all of `stack`.
// Symbolizes from the outer end until it meets a user's function.
std::vector<uintptr_t> UserStack(std::span<const uintptr_t> stack, uintptr_t entry_pc, Symbolizer& symbolizer);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_MACHINERY_H_
