// Keeps the flight recorder's snapshots as files for `go tool trace`, in a directory that does not grow without bound.
//
//   TraceDirectory directory({.path = "/var/tmp/orders"}, symbolizer);
//   auto recorder = FlightRecorder::Start({.slow_task = 200ms, .on_snapshot = directory.Saver()});
//
// A file is there as a whole or not at all: it is written under another name first. What cannot be written is counted, and said
// once on standard error; the program goes on.
#ifndef FIBERSCOPE_PPROF_TRACE_TRACE_DIRECTORY_H_
#define FIBERSCOPE_PPROF_TRACE_TRACE_DIRECTORY_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "pprof/symbolizer.h"
#include "runtime/flight_recorder.h"

namespace fiberscope::pprof {

// Thread-compatible, but for the counters. Must outlive the recorder that it is given to.
class TraceDirectory {
 public:
  struct Options {
    std::string path;  // made if there is none, but not its parents
    // Of all snapshots in it: the oldest are removed for a new one. Files of other names are left alone.
    uint64_t max_bytes = 256 << 20;
  };

  // `symbolizer` must outlive it.
  TraceDirectory(Options options, Symbolizer& symbolizer) : options_(std::move(options)), symbolizer_(symbolizer) {}
  TraceDirectory(const TraceDirectory&) = delete;
  TraceDirectory& operator=(const TraceDirectory&) = delete;

  // Writes "fiberscope-20261127T221503.123456Z-slow-task-order-312-ms.trace" and returns its path. An error says what was attempted
  // and why it failed; it is counted already. Blocks the thread: symbolizes, writes.
  absl::StatusOr<std::string> Save(const FlightSnapshot& snapshot);

  // FlightRecorderOptions::on_snapshot.
  std::function<void(const FlightSnapshot&)> Saver() {
    return [this](const FlightSnapshot& snapshot) { Save(snapshot).status().IgnoreError(); };
  }

  uint64_t saved() const { return saved_.load(std::memory_order_relaxed); }
  uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }

 private:
  absl::StatusOr<std::string> Write(const FlightSnapshot& snapshot);
  void RemoveOldest(const std::string& newest) const;

  const Options options_;
  Symbolizer& symbolizer_;
  std::atomic<uint64_t> saved_{0};
  std::atomic<uint64_t> failed_{0};
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_TRACE_DIRECTORY_H_
