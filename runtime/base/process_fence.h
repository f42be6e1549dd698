// A full memory fence on every thread of this process at once: membarrier(2), PRIVATE_EXPEDITED.
//
// For protocols of a rare party and a frequent one: the rare one pays for both. The frequent one says what it does by a plain
// store, then looks, with only std::atomic_signal_fence(seq_cst) in between; the rare one stores, calls FenceAllThreads(), then
// looks. One of the two sees the other.
//
// Thread-safe. Blocks the thread for some microseconds. Not async-signal-safe.
#ifndef FIBERSCOPE_RUNTIME_BASE_PROCESS_FENCE_H_
#define FIBERSCOPE_RUNTIME_BASE_PROCESS_FENCE_H_

namespace fiberscope {

// Whether the kernel has it and allows it. Registers the process at the first call: before any FenceAllThreads().
bool CanFenceAllThreads();

// False: it did not happen.
bool FenceAllThreads();

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_BASE_PROCESS_FENCE_H_
