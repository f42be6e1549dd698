// Who made the threads of this process: every successful pthread_create(), by the stack of its caller.
//
// A program that links this has a pthread_create() of ours before the C library's (thread_creation_hook.cc). It calls the next one,
// that of a sanitizer or of a preloaded library included, then records where it was called from: std::thread, the workers of a
// Scheduler, Asio's and everybody else's threads. Weak: a pthread_create() of the application's own takes its place, and then no
// thread is seen here. Sanitizer builds leave it out: pthread_create() is theirs.
//
// Not seen: the main thread, threads of clone() and of thrd_create(), those that the C library makes for itself (timers of
// SIGEV_THREAD), and those from before a library with this code was loaded. They are counted as far as can be told: see `unknown`.
//
// Cumulative: counts never go down while the process lives, joined threads count. A child of fork() begins anew. Memory: 0.5 MiB of
// zeroes, touched as needed. Cost: a thread's creation takes 0.4 us and 30 ns per frame longer, of ~10 us; the first one makes an
// unwind table (unwind_table.h).
#ifndef FIBERSCOPE_RUNTIME_THREAD_CREATION_H_
#define FIBERSCOPE_RUNTIME_THREAD_CREATION_H_

#include <cstdint>
#include <vector>

namespace fiberscope {

struct ThreadCreationRecord {
  std::vector<uintptr_t> stack;  // return addresses, innermost first, from the caller of pthread_create() on
  int64_t count = 0;             // of threads
  bool operator==(const ThreadCreationRecord&) const = default;
};

struct ThreadCreationSnapshot {
  std::vector<ThreadCreationRecord> records;  // in order of first appearance
  // Threads without a stack: the main one, those that were not seen (as many as were ever there at the same time when somebody
  // looked here), those made from no stack that can be walked, and those beyond the first 512 distinct stacks.
  int64_t unknown = 0;
};

// Thread-safe. Blocks the thread for a short while. Not async-signal-safe.
ThreadCreationSnapshot ReadThreadCreation();

// How many threads that snapshot would have. Cost: one system call.
int64_t ThreadsCreated();

namespace internal {

// What the hook calls around the real pthread_create(). Both leave errno alone. The second one takes its caller's caller's stack.
void BeginThreadCreation();
void EndThreadCreation(bool is_made);

}  // namespace internal
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_THREAD_CREATION_H_
