// What a control block says about its fiber, as a snapshot without a stack.
//
// Thread-safe and async-signal-safe: loads, and nothing else. The caller has read `word` and the id before, and checks afterwards
// that they are unchanged (fiber_state.h, control_block.h), or owns the fiber. A LabelsReadScope must exist as long as the
// snapshot's labels are used. Cost: 10 ns.
#ifndef FIBERSCOPE_RUNTIME_READ_FIBER_H_
#define FIBERSCOPE_RUNTIME_READ_FIBER_H_

#include <array>
#include <cstdint>

#include "runtime/control_block.h"
#include "runtime/fiber_snapshot.h"

namespace fiberscope::internal {

using NameBuffer = std::array<char, AtomicName::kBytes>;

// `now_ns`: CoarseNowNs(); the fiber may have entered its state after it. `name` must outlive the snapshot's use.
FiberSnapshot ReadFiber(const ControlBlock& block, FiberId id, StateWord word, int64_t now_ns, NameBuffer& name);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_READ_FIBER_H_
