// The two futex(2) calls the runtime needs. Private to the process.
//
// Thread-safe. FutexWake is async-signal-safe.
#ifndef FIBERSCOPE_RUNTIME_BASE_FUTEX_H_
#define FIBERSCOPE_RUNTIME_BASE_FUTEX_H_

#include <atomic>
#include <chrono>
#include <cstdint>

namespace fiberscope {

// Blocks the thread while `word` holds `expected`, until woken. May return early (signal, spurious): call in a loop
// that re-reads the word.
void FutexWait(std::atomic<uint32_t>& word, uint32_t expected);

// As FutexWait, but no longer than `timeout`. Returns false when the time ran out.
bool FutexWaitFor(std::atomic<uint32_t>& word, uint32_t expected, std::chrono::nanoseconds timeout);

// Wakes up to `count` threads that wait on `word`.
void FutexWake(std::atomic<uint32_t>& word, int count);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_BASE_FUTEX_H_
