// Memory fences for the sequence-word protocol (fiber_state.h), with a twin that ThreadSanitizer understands.
//
// gcc 12's ThreadSanitizer does not model std::atomic_thread_fence: code that is right looks like a race to it. Under
// it, each fence becomes a read-modify-write of one process-wide word with the same order, which it does model and
// which is at least as strong.
//
// Async-signal-safe. Never blocks. Cost: nothing on x86-64 (a compiler barrier), one dmb on aarch64; SeqCst is one
// locked instruction.
#ifndef FIBERSCOPE_RUNTIME_BASE_FENCE_H_
#define FIBERSCOPE_RUNTIME_BASE_FENCE_H_

#include <atomic>

namespace fiberscope {

#ifdef __SANITIZE_THREAD__
namespace internal {
inline std::atomic<unsigned> g_fence_word{0};
}
inline void AcquireFence() { internal::g_fence_word.fetch_add(0, std::memory_order_acquire); }
inline void ReleaseFence() { internal::g_fence_word.fetch_add(0, std::memory_order_release); }
inline void SeqCstFence() { internal::g_fence_word.fetch_add(0, std::memory_order_seq_cst); }
#else
inline void AcquireFence() { std::atomic_thread_fence(std::memory_order_acquire); }
inline void ReleaseFence() { std::atomic_thread_fence(std::memory_order_release); }
inline void SeqCstFence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
#endif

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_BASE_FENCE_H_
