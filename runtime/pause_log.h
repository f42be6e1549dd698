// The pauses of the process: each time somebody kept fibers or threads from running, and the runtime knows for how long.
//
// As Go's debug.ReadGCStats, of what there is here in place of a collector. Short waits by design are no pauses: locks, system
// calls, hand-overs of processors.
#ifndef FIBERSCOPE_RUNTIME_PAUSE_LOG_H_
#define FIBERSCOPE_RUNTIME_PAUSE_LOG_H_

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "runtime/atomic_histogram.h"
#include "runtime/metrics.h"

namespace fiberscope {

enum class PauseKind : uint8_t {
  kListing,         // a listing of one instant (instant.h) held all threads that ran or were about to run a fiber: a dump does it
                    // once, a wall-clock profile at each look. The longest that any of them can have been held, to some us.
  kStallBlocked,    // a fiber held its worker in the kernel, unmarked (stall_report.h). Logged when it ends; as the monitor sees
  kStallComputing,  // it, that is every 10 ms. The same of one that computed.
  kMemoryRelease,   // the allocator gave memory back to the system, and let nobody allocate meanwhile
};
inline constexpr int kPauseKindCount = static_cast<int>(PauseKind::kMemoryRelease) + 1;

// "listing", "stall blocked", "stall computing", "memory release".
const char* PauseKindName(PauseKind kind);

struct Pause {
  PauseKind kind = PauseKind::kListing;
  std::chrono::system_clock::time_point end = {};
  std::chrono::nanoseconds duration{0};
  bool operator==(const Pause&) const = default;
};

struct PauseStats {
  std::array<DurationHistogram, kPauseKindCount> by_kind{};  // all there were, by PauseKind
  std::vector<Pause> latest = {};                            // newest first; PauseLog::kKept at most

  const DurationHistogram& of(PauseKind kind) const { return by_kind[static_cast<size_t>(kind)]; }
  uint64_t count() const;
  std::chrono::nanoseconds total() const;
};

// The shortest, those at 25, 50 and 75 %, and the longest, as Go picks them: each is one that there was. None: there is none.
using PauseQuantiles = std::array<std::chrono::nanoseconds, 5>;
std::optional<PauseQuantiles> QuantilesOf(std::span<const Pause> pauses);
// Of those of one kind.
std::optional<PauseQuantiles> QuantilesOf(std::span<const Pause> pauses, PauseKind kind);

// Thread-safe. Blocks the thread for some instructions, for the copy of kKept pauses at most. Never allocates to add one.
class PauseLog {
 public:
  static constexpr size_t kKept = 256;

  void Add(const Pause& pause);
  PauseStats Read() const;

 private:
  mutable std::mutex mutex_;  // a leaf: nothing else is locked under it
  std::array<internal::AtomicHistogram, kPauseKindCount> by_kind_;  // written under the mutex
  std::array<Pause, kKept> ring_{};                                 // GUARDED_BY(mutex_)
  uint64_t added_ = 0;                                              // GUARDED_BY(mutex_)
};

// Of the process. Thread-safe, as PauseLog; not async-signal-safe.
PauseStats ReadPauses();
void RecordPause(PauseKind kind, std::chrono::nanoseconds duration,
                 std::chrono::system_clock::time_point end = std::chrono::system_clock::now());

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_PAUSE_LOG_H_
