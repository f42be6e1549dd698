// Where fibers wait for one another: the block profile and the mutex profile, as in Go's runtime.
//
//   block   every wait in a primitive of ours (channel, select, mutex, rw-mutex, semaphore, wait group, condition variable,
//           barrier, join), on the stack of whoever waited, by how long it waited; when the wait is over. Not sleep, not I/O.
//   mutex   the waits for a Mutex or an RwMutex, on the stack of the unlock that ended them: whoever held it for too long
//
// Waits of plain threads in these primitives count as well. Nothing else does: pthread's own are not touched.
//
// Both are off at first, and cost one load and a test per wait then (nothing where nobody waits). On, an event costs ~0.5 us, and
// no thread spends more than 5 % of its time on it, beyond some thousand events at once: under contention storms events are thinned
// out, and those that are recorded count for those that are not (event_thinner.h).
//
// Cumulative: counts and delays never go down while the process lives. Memory is bounded; what no longer fits is counted as lost.
//
// Thread-safe. Getters never block; setters do while an unwind table is made (unwind_table.h).
// Source: Go's runtime, SetBlockProfileRate and SetMutexProfileFraction (runtime/mprof.go), charging of mutexes (runtime/sema.go).
#ifndef FIBERSCOPE_RUNTIME_CONTENTION_H_
#define FIBERSCOPE_RUNTIME_CONTENTION_H_

#include <chrono>
#include <cstdint>
#include <vector>

namespace fiberscope {

// One event per `rate_ns` of waiting is recorded on average: longer waits always, shorter ones with probability wait / rate, and
// then for a whole rate_ns. 1: every wait. 0 or less: off.
void SetBlockProfileRate(int64_t rate_ns);
int64_t BlockProfileRate();

// One in `fraction` contended unlocks is recorded, and counts for all. 1: every one. 0: off. Less than 0: no change. Returns what
// it was before.
int64_t SetMutexProfileFraction(int64_t fraction);

enum class Contention : uint8_t { kBlock, kMutex };

struct ContentionRecord {
  std::vector<uintptr_t> stack;  // return addresses, innermost first, beginning in the primitive
  int64_t count = 0;             // of waits (block), of unlocks somebody waited for (mutex)
  int64_t delay_ns = 0;
};

struct ContentionSnapshot {
  std::vector<ContentionRecord> records;  // in order of first appearance
  int64_t events = 0;                     // recorded
  int64_t stood_for = 0;                  // of how many events they are the sample, because of thinning
  int64_t lost = 0;                       // events that were left out for lack of memory
};

// Blocks the thread for a short while, and those that have an event to record meanwhile. Cost: a copy of every stack.
ContentionSnapshot ReadContention(Contention kind);

// How many records there are.
int64_t ContentionStacks(Contention kind);

// What the records come to, without the stacks.
struct ContentionTotals {
  double count = 0;
  std::chrono::nanoseconds delay{0};
  int64_t lost = 0;  // as in ContentionSnapshot
};

// Never blocks for longer than an event takes to be recorded.
ContentionTotals ReadContentionTotals(Contention kind);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_CONTENTION_H_
