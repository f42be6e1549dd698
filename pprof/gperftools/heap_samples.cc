#include "pprof/gperftools/heap_samples.h"

#include <gperftools/malloc_extension.h>
#include <gperftools/malloc_hook_c.h>
#include <gperftools/stacktrace.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <span>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_format.h"
#include "runtime/own_stack.h"
#include "runtime/pause_log.h"
#include "runtime/unwind/stack_table.h"
#include "runtime/unwind/unwind_table.h"
#include "runtime/unwind/unwinder.h"

// The program links tcmalloc, or it does not.
__attribute__((weak)) MallocExtension* TheMallocExtension() __asm__("_ZN15MallocExtension8instanceEv");
#pragma weak MallocHook_AddNewHook
#pragma weak MallocHook_RemoveNewHook

// As gperftools' DEFINE_int64 spells it.
namespace FLAG__namespace_do_not_use_directly_use_DECLARE_int64_instead {
__attribute__((weak)) extern int64_t FLAGS_tcmalloc_sample_parameter;
}

namespace fiberscope::pprof {
namespace {

constexpr size_t kMaxFrames = 128;
constexpr size_t kMaxNodes = 1 << 19;  // of the StackTable: 50 MiB

// What is put behind the frames of a sample: not an address on any machine.
constexpr uintptr_t kTag = 0xf1be'0000'0000'0000;
constexpr uintptr_t kTagMask = 0xffff'0000'0000'0000;

// How tcmalloc calls GetStackTrace for a sample; see DoSampledAllocation in its tcmalloc.cc. Growth is called with other numbers.
constexpr int kSampleDepth = 31;
constexpr int kSampleSkip = 1;

// Outstanding samples are compared with those that live when they have doubled, at least so many.
constexpr size_t kMinOutstanding = 16 << 10;

// What the calling thread is at. Constant-initialised, and without a function call to get at it: within malloc.
struct Sampling {
  enum class Probe : uint8_t { kNone, kWaiting, kSeen };

  Probe probe = Probe::kNone;  // see SamplesComeHere()
  bool pending = false;  // a stack waits for its size
  bool busy = false;     // our own allocations are not sampled
  uint64_t number = 0;
  size_t depth = 0;
  std::array<uintptr_t, kMaxFrames> pcs{};
};
constinit thread_local Sampling t_sampling __attribute__((tls_model("initial-exec")));

constinit std::atomic<uint64_t> g_numbers{0};
constinit std::atomic<int64_t> g_lost{0};

class BusyScope {
 public:
  BusyScope() : before_(std::exchange(t_sampling.busy, true)) {}
  ~BusyScope() { t_sampling.busy = before_; }

 private:
  const bool before_;
};

int64_t& Rate() { return FLAG__namespace_do_not_use_directly_use_DECLARE_int64_instead::FLAGS_tcmalloc_sample_parameter; }

bool HasTcmalloc() {
  return TheMallocExtension != nullptr && MallocHook_AddNewHook != nullptr && MallocHook_RemoveNewHook != nullptr &&
         &FLAG__namespace_do_not_use_directly_use_DECLARE_int64_instead::FLAGS_tcmalloc_sample_parameter != nullptr;
}

// All samples of ours. Never destroyed: memory is allocated and freed until the process ends.
class Samples {
 public:
  static Samples& Instance() {
    static Samples& instance = Make();
    return instance;
  }

  void Record(const Sampling& sampling, size_t size) {
    const BusyScope busy;
    const std::lock_guard lock(mutex_);
    const uint32_t stack = stacks_.Insert(std::span(sampling.pcs).first(sampling.depth), false);
    if (stack == StackTable::kNone) {
      g_lost.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    const Key key{stack, size, Rate()};
    const auto [at, added] = index_.try_emplace(key, records_.size());
    if (added) records_.push_back({.key = key});
    ++records_[at->second].allocated;
    outstanding_.emplace(sampling.number, at->second);
    if (outstanding_.size() >= compare_at_) CompareWithLive();
  }

  HeapSnapshot Read() {
    const BusyScope busy;
    const std::lock_guard lock(mutex_);
    CompareWithLive();
    HeapSnapshot snapshot{.records = {}, .rate = Rate(), .lost = g_lost.load(std::memory_order_relaxed)};
    snapshot.records.reserve(records_.size());
    for (const Counts& counts : records_) {
      const auto& [stack, size, rate] = counts.key;
      const std::span<const uintptr_t> pcs = stacks_.Get(stack).pcs;
      snapshot.records.push_back({.stack = {pcs.begin(), pcs.end()},
                                  .size = static_cast<int64_t>(size),
                                  .taken = static_cast<int64_t>(TheMallocExtension()->GetEstimatedAllocatedSize(size)),
                                  .rate = rate,
                                  .allocated = counts.allocated,
                                  .freed = counts.freed});
    }
    return snapshot;
  }

  int64_t record_count() {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(records_.size());
  }

  static void BeforeFork() { Instance().mutex_.lock(); }
  static void AfterFork() { Instance().mutex_.unlock(); }

 private:
  using Key = std::tuple<uint32_t, size_t, int64_t>;  // stack, size, rate
  struct Counts {
    Key key;
    int64_t allocated = 0;
    int64_t freed = 0;
  };

  // A sample taken in here would come back for the instance.
  static Samples& Make() {
    const BusyScope busy;
    return *new Samples;
  }

  Samples() { pthread_atfork(&BeforeFork, &AfterFork, &AfterFork); }

  // mutex_ held, so that all outstanding samples are in tcmalloc's list, if they live.
  void CompareWithLive() {
    int period = 0;
    const std::unique_ptr<void*[]> entries(TheMallocExtension()->ReadStackTraces(&period));
    if (entries == nullptr) return;  // no memory for the list: next time
    absl::flat_hash_set<uint64_t> live;
    live.reserve(outstanding_.size());
    // Count, size, depth, and the frames, of each.
    for (void** entry = entries.get(); *entry != nullptr;) {
      const auto depth = reinterpret_cast<uintptr_t>(entry[2]);
      const uintptr_t last = depth == 0 ? 0 : reinterpret_cast<uintptr_t>(entry[2 + depth]);
      if ((last & kTagMask) == kTag) live.insert(last & ~kTagMask);
      entry += 3 + depth;
    }
    absl::erase_if(outstanding_, [&](const auto& sample) {
      if (live.contains(sample.first)) return false;
      ++records_[sample.second].freed;
      return true;
    });
    compare_at_ = std::max(kMinOutstanding, 2 * outstanding_.size());
  }

  std::mutex mutex_;
  // All: GUARDED_BY(mutex_).
  StackTable stacks_{UnwindTable::Refresh(), kMaxNodes};
  absl::flat_hash_map<Key, size_t> index_;                 // position in records_
  std::vector<Counts> records_;
  absl::flat_hash_map<uint64_t, size_t> outstanding_;      // by number: position in records_
  size_t compare_at_ = kMinOutstanding;
};

// The end of an allocation on any thread, while some thread samples.
void OnNew(const void* memory, size_t size) {
  Sampling& sampling = t_sampling;
  if (!sampling.pending) return;
  sampling.pending = false;
  const int saved_errno = errno;
  MallocHook_RemoveNewHook(&OnNew);
  if (memory != nullptr) Samples::Instance().Record(sampling, size);
  errno = saved_errno;
}

// The stack of an allocation that is sampled, whose size we are told in a moment. Returns the depth of what `frames` gets.
int BeginSample(std::span<void*> frames) {
  Sampling& sampling = t_sampling;
  if (sampling.probe == Sampling::Probe::kWaiting) {
    sampling.probe = Sampling::Probe::kSeen;
    return 0;
  }
  if (sampling.busy || sampling.pending) return 0;
  {
    const BusyScope busy;  // the first call of a thread asks for its stack's bounds
    sampling.depth = CaptureOwnStack(sampling.pcs, {.may_refresh = false});
  }
  if (sampling.depth == 0 || MallocHook_AddNewHook(&OnNew) == 0) {
    g_lost.fetch_add(1, std::memory_order_relaxed);
    return 0;
  }
  sampling.pending = true;
  sampling.number = g_numbers.fetch_add(1, std::memory_order_relaxed) & ~kTagMask;
  const size_t kept = std::min(sampling.depth, frames.size() - 1);
  for (size_t i = 0; i < kept; ++i) frames[i] = reinterpret_cast<void*>(sampling.pcs[i]);
  frames[kept] = reinterpret_cast<void*>(kTag | sampling.number);
  return static_cast<int>(kept + 1);
}

// What gperftools' functions are for: the caller's stack. Not inlined, nor called last by those below: it leaves out two frames.
__attribute__((noinline)) int OwnFrames(void** result, int max_depth, int skip) {
  std::array<uintptr_t, 64> pcs;
  const OwnStackOptions options{.skip = static_cast<size_t>(std::max(skip, 0)) + 2, .may_refresh = false, .may_ask = false};
  const size_t kept = std::min(CaptureOwnStack(pcs, options), static_cast<size_t>(std::max(max_depth, 0)));
  for (size_t i = 0; i < kept; ++i) result[i] = reinterpret_cast<void*>(pcs[i]);
  return static_cast<int>(kept);
}

int FramesOf(const void* context, void** result, int max_depth, int skip) {
  std::array<uintptr_t, 64> pcs;
  const size_t depth = CaptureInterruptedStack(context, pcs);
  const size_t left_out = std::min(static_cast<size_t>(std::max(skip, 0)), depth);
  const size_t kept = std::min(depth - left_out, static_cast<size_t>(std::max(max_depth, 0)));
  for (size_t i = 0; i < kept; ++i) result[i] = reinterpret_cast<void*>(pcs[left_out + i]);
  return static_cast<int>(kept);
}

// Whether a sample that tcmalloc takes comes to us: the calling thread allocates until it takes one. A thread that has found the
// rate to be 0 looks again after 16 MiB; so it also makes the new rate count for this thread. The memory is not touched.
bool SamplesComeHere() {
  constexpr size_t kBytes = (16 << 20) + 1;
  Sampling& sampling = t_sampling;
  sampling.probe = Sampling::Probe::kWaiting;
  void* (*volatile allocate)(size_t) = &std::malloc;  // not to be left out
  std::free(allocate(kBytes));
  return std::exchange(sampling.probe, Sampling::Probe::kNone) == Sampling::Probe::kSeen;
}

absl::Status NoTcmalloc() {
  return absl::UnimplementedError(
      "this program does not allocate with tcmalloc: link it with -ltcmalloc (Debian: libgoogle-perftools-dev)");
}

}  // namespace

absl::Status SetHeapSampleRate(int64_t bytes) {
  if (bytes < 0) return absl::InvalidArgumentError(absl::StrFormat("heap sample rate: %d bytes; 0 is off", bytes));
  if (!HasTcmalloc()) return NoTcmalloc();
  UnwindTable::Refresh();
  std::array<uintptr_t, 1> none;
  (void)CaptureOwnStack(none);  // asks for this thread's bounds
  const int64_t before = std::exchange(Rate(), bytes);
  if (bytes == 0 || before != 0 || SamplesComeHere()) return absl::OkStatus();
  Rate() = before;
  return absl::UnimplementedError(
      "heap profile: tcmalloc walks stacks with its own GetStackTrace() instead of the program's. It must be linked, not "
      "preloaded, and the program must export that symbol");
}

int64_t HeapSampleRate() { return HasTcmalloc() ? Rate() : 0; }

absl::StatusOr<HeapSnapshot> ReadHeapSamples() {
  if (!HasTcmalloc()) return NoTcmalloc();
  UnwindTable::Refresh();  // samples from now on see code that was loaded lately
  return Samples::Instance().Read();
}

int64_t HeapRecordCount() { return HasTcmalloc() ? Samples::Instance().record_count() : 0; }

double AllocationsPerSample(const HeapRecord& record) {
  if (record.rate <= 1) return 1;
  return 1 / -std::expm1(-static_cast<double>(record.taken) / static_cast<double>(record.rate));
}

void ReleaseFreeMemory() {
  if (!HasTcmalloc()) return;
  const auto begin = std::chrono::steady_clock::now();
  TheMallocExtension()->ReleaseFreeMemory();
  RecordPause(PauseKind::kMemoryRelease, std::chrono::steady_clock::now() - begin);
}

absl::StatusOr<HeapStats> ReadHeapStats() {
  if (!HasTcmalloc()) return NoTcmalloc();
  const auto property = [](const char* name) {
    size_t value = 0;
    TheMallocExtension()->GetNumericProperty(name, &value);
    return static_cast<int64_t>(value);
  };
  return HeapStats{.allocated = property("generic.current_allocated_bytes"),
                   .system = property("generic.heap_size"),
                   .free = property("tcmalloc.pageheap_free_bytes"),
                   .released = property("tcmalloc.pageheap_unmapped_bytes"),
                   .thread_caches = property("tcmalloc.current_total_thread_cache_bytes"),
                   .max_thread_caches = property("tcmalloc.max_total_thread_cache_bytes")};
}

absl::StatusOr<std::vector<HeapGrowth>> ReadHeapGrowth() {
  if (!HasTcmalloc()) return NoTcmalloc();
  const std::unique_ptr<void*[]> entries(TheMallocExtension()->ReadHeapGrowthStackTraces());
  std::vector<HeapGrowth> growth;
  for (void** entry = entries.get(); entry != nullptr && *entry != nullptr;) {
    const auto depth = reinterpret_cast<uintptr_t>(entry[2]);
    HeapGrowth& one = growth.emplace_back();
    one.size = static_cast<int64_t>(reinterpret_cast<uintptr_t>(entry[1]));
    for (size_t i = 0; i < depth; ++i) one.stack.push_back(reinterpret_cast<uintptr_t>(entry[3 + i]));
    entry += 3 + depth;
  }
  return growth;
}

}  // namespace fiberscope::pprof

// ---- gperftools/stacktrace.h, all of it, so that a static link does not take the library's.

int GetStackTrace(void** result, int max_depth, int skip_count) {
  using namespace fiberscope::pprof;
  const bool is_sample = max_depth == kSampleDepth && skip_count == kSampleSkip;
  const int depth = is_sample ? BeginSample({result, static_cast<size_t>(max_depth)}) : OwnFrames(result, max_depth, skip_count);
  asm volatile("" ::: "memory");  // no tail call
  return depth;
}

int GetStackFrames(void** result, int* sizes, int max_depth, int skip_count) {
  const int depth = fiberscope::pprof::OwnFrames(result, max_depth, skip_count);
  std::fill_n(sizes, depth, 0);  // unknown
  return depth;
}

int GetStackTraceWithContext(void** result, int max_depth, int skip_count, const void* uc) {
  using namespace fiberscope::pprof;
  const int depth = uc == nullptr ? OwnFrames(result, max_depth, skip_count) : FramesOf(uc, result, max_depth, skip_count);
  asm volatile("" ::: "memory");
  return depth;
}

int GetStackFramesWithContext(void** result, int* sizes, int max_depth, int skip_count, const void* uc) {
  const int depth = GetStackTraceWithContext(result, max_depth, skip_count, uc);
  std::fill_n(sizes, depth, 0);
  return depth;
}
