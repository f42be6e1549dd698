// A trace as the bytes that `go tool trace` reads, from Go 1.22 on, or from 1.23 on: there idle fibers have stacks, too.
//
//   Go122Encoder encoder(frames, sink, TraceFormat::kGo122);
//   status = encoder.Begin();
//   ... status = encoder.Write(generation); for each, in order ...
//
// Written generation by generation, so that a reader, and who sends the file somewhere, never needs more than one in memory.
// Format: Go 1.22, internal/trace/v2 (header "go 1.22 trace"); judged by `go tool trace` in tests/conformance/trace_test.sh.
#ifndef FIBERSCOPE_PPROF_TRACE_GO122_ENCODER_H_
#define FIBERSCOPE_PPROF_TRACE_GO122_ENCODER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/trace/trace_frames.h"
#include "runtime/trace/trace_generation.h"

namespace fiberscope::pprof {

enum class TraceFormat { kGo122, kGo123 };

// Thread-compatible. Blocks the thread as long as the sink does, and while stacks are symbolized. Returns the sink's errors.
class Go122Encoder {
 public:
  // Both must outlive it.
  Go122Encoder(TraceFrames& frames, ByteSink& sink, TraceFormat format) : frames_(frames), sink_(sink), format_(format) {}

  // The file's head.
  absl::Status Begin();
  // One generation with its tables. One without events is left out, as readers refuse it. Bytes so far: for a limit.
  absl::Status Write(const TraceGeneration& generation);
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  absl::Status Put(std::string_view bytes);
  absl::Status PutBatch(uint64_t thread, uint64_t time, std::string_view data);
  absl::Status PutStatuses(const TraceGeneration& generation);

  TraceFrames& frames_;
  ByteSink& sink_;
  const TraceFormat format_;
  uint64_t generations_ = 0;
  uint64_t bytes_written_ = 0;
};

// All of a trace at once. Returns the sink's first error.
absl::Status WriteGo122Trace(const TraceGenerations& generations, TraceFormat format, TraceFrames& frames, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_GO122_ENCODER_H_
