// The figures that tell how a process is doing: as they are at one moment, and as what became of them in a stretch of time.
#ifndef FIBERSCOPE_SERVER_WATCH_HEALTH_H_
#define FIBERSCOPE_SERVER_WATCH_HEALTH_H_

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>

#include "pprof/memory_stats.h"
#include "runtime/fiber_census.h"
#include "runtime/metrics.h"
#include "runtime/wait_reason.h"

namespace fiberscope::server {

// At one moment. What grows has grown since the process began.
struct HealthReading {
  std::chrono::system_clock::time_point time = {};
  std::chrono::nanoseconds at{0};  // of a clock that is never stepped
  FiberCensus census = {};
  SchedulerMetrics totals = {};                       // ProcessMetrics::totals
  std::chrono::nanoseconds cpu{0};                    // time of all threads, in user mode and in the kernel
  std::optional<pprof::HeapStats> heap = {};          // in a program that allocates with tcmalloc
  std::optional<uint64_t> resident_bytes = {};        // none: the kernel does not say
};

// Thread-safe. Blocks the thread for some system calls and the census: a millisecond per 100,000 fibers
// (tests/bench/metrics_bench.cc). Delays no fiber.
HealthReading ReadHealth();

// Of the time between two readings. Of several readings within, figures of a moment are the highest: a row of a minute has the peak
// of each, which need not be of the same second.
struct HealthRow {
  std::chrono::system_clock::time_point end = {};
  std::chrono::nanoseconds length{0};
  uint64_t fibers = 0;
  std::array<uint64_t, kFiberStateCount> by_state{};  // by FiberState
  std::chrono::nanoseconds oldest_wait{0};            // of all kinds, blocking calls included; 0: nobody waits
  const char* oldest_wait_reason = "";                // WaitReasonName(), or "blocking"; "": nobody waits
  uint64_t queued = 0;                                // in run queues
  std::optional<uint64_t> heap_bytes = {};            // in use by the application
  std::optional<uint64_t> heap_backed_bytes = {};     // taken from the system and not given back
  std::optional<uint64_t> resident_bytes = {};
  // Of the time between: fibers' waits from being made runnable to running (sampled, as all figures of them); none: none was.
  std::optional<std::chrono::nanoseconds> latency_p50 = {};
  std::optional<std::chrono::nanoseconds> latency_p99 = {};
  double cpus = 0;  // how many CPUs the process kept busy, on average

  bool operator==(const HealthRow&) const = default;
};

// Makes rows of readings. Thread-compatible.
class HealthRowBuilder {
 public:
  // The time of the row begins with `begin`.
  explicit HealthRowBuilder(const HealthReading& begin) { Begin(begin); }

  void Add(const HealthReading& reading);
  int readings() const { return readings_; }
  // After at least one reading. The next row begins with the last reading of this one.
  HealthRow Take();

 private:
  void Begin(const HealthReading& begin);

  // Only what is subtracted, of the first reading and the last one.
  struct Edge {
    std::chrono::nanoseconds at{0};
    std::chrono::nanoseconds cpu{0};
    DurationHistogram latency;
  };
  static Edge EdgeOf(const HealthReading& reading);

  Edge begin_;
  Edge last_;
  HealthRow row_;
  int readings_ = 0;
};

// What the given fraction of those counted does not exceed, interpolated within its bucket, which is a factor of two wide. What is
// in the last one, which has no end, counts as its beginning. None: nothing is counted.
std::optional<std::chrono::nanoseconds> QuantileOf(const DurationHistogram& durations, double fraction);

// A number to watch, of the newest reading and of the time since the one before; none: it is not known now. Any function will do;
// it is called on the watch's thread. Seconds, bytes, counts.
using HealthFigure = std::function<std::optional<double>(const HealthReading& newest, const HealthRow& since_last)>;

// Some of them.
HealthFigure FiberCountFigure();
HealthFigure OldestWaitFigure(WaitReason reason);  // in seconds
HealthFigure LatencyP99Figure();                   // in seconds
HealthFigure QueuedFigure();
HealthFigure ResidentBytesFigure();

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_WATCH_HEALTH_H_
