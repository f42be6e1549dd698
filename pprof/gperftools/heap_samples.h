// Samples of the heap, by tcmalloc (gperftools 2.10): what was allocated where, and what of it is still in use.
//
// tcmalloc decides what is sampled: of the bytes that a thread allocates, one every `rate` bytes on average, at random, and the
// allocation that it lies in. It counts down in malloc() whether anybody asks or not, so sampling costs nothing but for what is
// sampled, and nothing at all in free(). What it keeps of a sample is too little for a profile: at most 31 frames, walked by an
// unwinder that does not know fibers, and nothing once the memory is freed. So:
//
//   malloc ── sampled ──► DoSampledAllocation ──► GetStackTrace: ours. Walks the stack (own_stack.h), makes up a number, and
//                                                 returns the frames with the number behind them
//          ◄───────────── InvokeNewHook ◄─────── a hook that GetStackTrace has added for just this call: ours. Now the size is
//                                                 known: records stack, size, number; takes the hook out
//   read:  MallocExtension::ReadStackTraces ──► the numbers of those that live. All others of ours have been freed since.
//
// This file therefore defines gperftools' GetStackTrace() and its three sisters, for whoever calls them, in place of the library's;
// linked shared or statically.
//
// A hook in place sends all threads' mallocs the slow way, for the ~1 us of a sample. At most 7 threads can be at that at the same
// time; an 8th sample is left out and counted.
//
// Works whatever the program links: without tcmalloc every function says so (kUnimplemented), and nothing is sampled.
//
// Thread-safe. Not async-signal-safe, like malloc. Blocks the thread shortly.
#ifndef FIBERSCOPE_PPROF_GPERFTOOLS_HEAP_SAMPLES_H_
#define FIBERSCOPE_PPROF_GPERFTOOLS_HEAP_SAMPLES_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fiberscope::pprof {

inline constexpr int64_t kDefaultHeapSampleRate = 512 * 1024;

// Mean number of bytes between samples; 0: off, 1: (nearly) every allocation. From off it takes effect on the calling thread and on
// threads that are made later at once, on others once they have allocated 16 MiB at most; otherwise on each at its next sample.
// Call it at the beginning of main(), or set TCMALLOC_SAMPLE_PARAMETER in the environment. kUnimplemented: no tcmalloc, or one
// whose GetStackTrace() is not ours. kInvalidArgument: negative.
absl::Status SetHeapSampleRate(int64_t bytes);

// 0: off, or no tcmalloc.
int64_t HeapSampleRate();

// Samples of one size that were allocated by the same stack, at the same rate.
struct HeapRecord {
  std::vector<uintptr_t> stack;  // return addresses, innermost first, beginning in the allocator
  int64_t size = 0;              // bytes asked for
  int64_t taken = 0;             // bytes that the allocator takes for it, which is what it samples by
  int64_t rate = 0;
  int64_t allocated = 0;  // samples, ever
  int64_t freed = 0;      // of them
};

// How many allocations one sample of the record stands for.
double AllocationsPerSample(const HeapRecord& record);

struct HeapSnapshot {
  std::vector<HeapRecord> records;
  int64_t rate = 0;  // now
  int64_t lost = 0;  // samples that are not in `records`
};

// Cumulative since the start of the process: `allocated` and `freed` never go down. kUnimplemented as above. Cost: ~0.5 us per
// sample that lives.
absl::StatusOr<HeapSnapshot> ReadHeapSamples();

// How many records there are. Cheap.
int64_t HeapRecordCount();

// Gives free memory back to the system. Blocks all allocations meanwhile, milliseconds per GiB, which is a pause
// (runtime/pause_log.h). Without tcmalloc: nothing.
void ReleaseFreeMemory();

// What the allocator says of itself, in bytes; all real. kUnimplemented as above.
struct HeapStats {
  int64_t allocated = 0;  // in use by the application
  int64_t system = 0;     // taken from the system
  int64_t free = 0;       // of it, in the page heap, still backed by memory
  int64_t released = 0;   // of it, in the page heap, given back
  int64_t thread_caches = 0;
  int64_t max_thread_caches = 0;
};
absl::StatusOr<HeapStats> ReadHeapStats();

// Where the heap has grown, since the start of the process.
struct HeapGrowth {
  std::vector<uintptr_t> stack;
  int64_t size = 0;
};
absl::StatusOr<std::vector<HeapGrowth>> ReadHeapGrowth();

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_GPERFTOOLS_HEAP_SAMPLES_H_
