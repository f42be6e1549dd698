// Memory of the runtime's own for small things that are never given back: mappings apart from the heap.
//
// Leak detection must not take the runtime's bookkeeping for the program's: nodes of waiting fibers live here, not on the heap,
// so that an object does not seem to be in use because somebody waits on it. Whoever allocates here keeps a free list.
//
// Thread-safe. Blocks the thread for a few instructions, and for an mmap once in 64 KiB.
#ifndef FIBERSCOPE_RUNTIME_RUNTIME_ARENA_H_
#define FIBERSCOPE_RUNTIME_RUNTIME_ARENA_H_

#include <cstddef>

namespace fiberscope::internal {

// Zeroed, aligned to 16 bytes. Ends the process when there is no memory: those who ask are about to wait and cannot be told.
void* ArenaAllocate(size_t bytes);

// How much was mapped so far.
size_t ArenaBytes();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_RUNTIME_ARENA_H_
