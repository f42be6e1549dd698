// The flight recorder: an execution trace of the last seconds, always at hand.
//
//   auto recorder = fiberscope::FlightRecorder::Start({.slow_task = 200ms, .on_snapshot = Save});
//   ...
//   Use((*recorder)->Snapshot());
//
// Why was that request late, the one that is over? The recorder traces all the time (execution_trace.h) and keeps what happened
// last, by age and size. A snapshot of it is a whole trace: its first generation names every fiber. It takes one by itself when a
// task (TraceTask, trace_annotations.h) took longer than it may, when a fiber stalls its worker (stall_report.h), or when the
// program says so: Trigger().
//
// Thread-safe. Has a thread of its own. Cost: that of a trace, and the memory that `max_bytes` allows.
#ifndef FIBERSCOPE_RUNTIME_FLIGHT_RECORDER_H_
#define FIBERSCOPE_RUNTIME_FLIGHT_RECORDER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/trace/trace_generation.h"

namespace fiberscope {

struct FlightSnapshot {
  std::string reason;  // "slow task order: 312 ms", "stall of fiber 7", or Trigger()'s
  TraceGenerations generations;
};

struct FlightRecorderOptions {
  // What is kept goes back this far, a second more or less, if `max_bytes` allows it. From 1 ms to 1 h.
  std::chrono::nanoseconds min_age = std::chrono::seconds(10);
  // Of records; the last second's are kept even if they are more. At least 64 KiB. A busy service records some MB per second.
  uint64_t max_bytes = 16 << 20;

  // A task that took longer is a reason for a snapshot; 0: none is.
  std::chrono::nanoseconds slow_task{0};
  // A fiber that stalls its worker is one.
  bool on_stall = true;
  // After one of those, no more for so long: those that come meanwhile are counted only.
  std::chrono::nanoseconds min_interval = std::chrono::seconds(10);
  // Gets the snapshots of these and of Trigger(), on the recorder's thread; may take its time. Empty: there are none.
  std::function<void(const FlightSnapshot&)> on_snapshot = {};

  // How many bytes the program has allocated, for the trace's heap counter; called about ten times a second. Empty: no counter.
  std::function<uint64_t()> heap_bytes = {};
};

class FlightRecorder {
 public:
  // Begins to record. kAlreadyExists: the process has one. kInvalidArgument: an option, by name. kUnimplemented,
  // kFailedPrecondition: as of a trace. kResourceExhausted: no thread.
  static absl::StatusOr<std::unique_ptr<FlightRecorder>> Start(FlightRecorderOptions options);
  // Takes the snapshot that is due, if any.
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  // What was recorded until now. Blocks the thread shortly.
  TraceGenerations Snapshot();

  // Asks for a snapshot for on_snapshot, soon; if one is due already, then that has to do. Never blocks for long; from any thread
  // or fiber, not from a signal handler. False: not taken, because of min_interval or for want of an on_snapshot.
  bool Trigger(std::string_view reason);

  // Snapshots given to on_snapshot, and reasons for one that came too soon after the last.
  uint64_t snapshots() const;
  uint64_t suppressed() const;

 private:
  class Impl;
  explicit FlightRecorder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_FLIGHT_RECORDER_H_
