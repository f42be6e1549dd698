// Every fiber with its state and stack as text: debug=2, the format of a Go panic's goroutine dump.
#ifndef FIBERSCOPE_PPROF_ENCODE_GOROUTINE_TEXT_H_
#define FIBERSCOPE_PPROF_ENCODE_GOROUTINE_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/encode/text_frames.h"
#include "pprof/symbolizer.h"
#include "runtime/fiber_snapshot.h"

namespace fiberscope::pprof {

// Format: Go 1.27's tracebacks; frozen by tests/golden/goroutine_debug2.txt.
//
//   goroutine 7 [chan receive, 3 minutes] {name: worker, route: "GET /x"}:
//   shop::Worker(...)
//   	/src/shop.cc:42 +0x1d
//   created by shop::Start in goroutine 1
//   	/src/shop.cc:60 +0x88
//
// - Blocks are separated by an empty line; there is none after the last, and nothing at all without a fiber.
// - Functions are short names, arguments always "(...)"; an inlined call has no "+0x". The offset is that of the return
//   address; a fiber that has not run yet is shown at its entry function, without one.
// - Machinery is hidden at the leaf end, root machinery everywhere (machinery.h).
// - Of more than 100 logical frames the 50 innermost and 50 outermost are shown, "...N frames elided..." between them.
// A
//   stack whose walk ended early ends with "...additional frames elided...", which readers know from older Go.
// - A running fiber of which there is no stack has Go's "goroutine running on other thread; stack unavailable".
// - "in goroutine N" is missing when a plain thread spawned the fiber.
// - What a fiber waits on is not shown: readers that group by state would see as many states as objects.
//
// Stacks are told apart by FiberSnapshot::stack_number where they have one, so all fibers must be of one listing.
//
// Thread-compatible. Holds one fiber's text, the text of each distinct code address, and of the distinct stacks as many as fit into
// 8 MiB. Blocks the thread as long as `sink` and `symbolizer` do.
class GoroutineTextEncoder {
 public:
  // Both must outlive the encoder.
  GoroutineTextEncoder(Symbolizer& symbolizer, ByteSink& sink)
      : frames_(symbolizer), symbolizer_(symbolizer), sink_(sink) {}
  GoroutineTextEncoder(const GoroutineTextEncoder&) = delete;
  GoroutineTextEncoder& operator=(const GoroutineTextEncoder&) = delete;

  // Writes the next block, in one Write. Returns the sink's error.
  absl::Status Write(const FiberSnapshot& fiber);

 private:
  void AppendHeader(const FiberSnapshot& fiber);
  void AppendStack(const FiberSnapshot& fiber);
  void AppendStackAnew(const FiberSnapshot& fiber);
  void AppendFrames(std::span<const uintptr_t> return_addresses);
  void AppendCreator(const FiberSnapshot& fiber);

  TextFrames frames_;
  Symbolizer& symbolizer_;
  ByteSink& sink_;
  std::string block_;  // cleared and filled again: keeps its memory
  absl::flat_hash_map<std::pair<uint32_t, uintptr_t>, std::string> stacks_;  // texts, by stack number and entry
  size_t stacks_bytes_ = 0;
  bool first_ = true;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_GOROUTINE_TEXT_H_
