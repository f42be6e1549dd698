// The nodes of a fiber that waits on several objects at once, beyond the one in its control block.
//
// They come from the runtime's arena (waiter.h says why not from the stack), are taken at a fiber's first wait that needs them and
// kept until it ends, so a loop around a select takes them once. Sizes are rounded up to one less than a power of two, from 3
// on, and a shared list keeps what fibers have given back.
//
// Thread-safe. Blocks the thread for a few instructions.
#ifndef FIBERSCOPE_RUNTIME_SELECT_NODES_H_
#define FIBERSCOPE_RUNTIME_SELECT_NODES_H_

#include <cstddef>
#include <cstdint>

#include "runtime/waiter.h"

namespace fiberscope::internal {

struct SelectNodes {
  SelectNodes* next_free = nullptr;
  uint32_t count = 0;

  Waiter& operator[](size_t index) { return reinterpret_cast<Waiter*>(this + 1)[index]; }
};

// At least `count` nodes whose record is `record`, which keeps them.
SelectNodes& EnsureSelectNodes(WaitRecord& record, size_t count);

// Gives them back. When the record's fiber or thread ends.
void ReleaseSelectNodes(WaitRecord& record);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SELECT_NODES_H_
