#include "runtime/processor.h"

#include "runtime/control_block.h"

namespace fiberscope::internal {

void Processor::PushBackOverflowing(ControlBlock& fiber) {
  do {
    ControlBlock* last = nullptr;
    ControlBlock* const first = run_queue_.PopHalf(&last);
    if (first == nullptr) continue;  // thieves made room
    uint32_t count = 1;
    for (ControlBlock* at = first; at != last; at = at->next) ++count;
    inject_.PushChain(*first, *last, count);
  } while (!run_queue_.Push(fiber));
}

}  // namespace fiberscope::internal
