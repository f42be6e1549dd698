// Every thread with its state and stack as text: debug=2 of the threads profile.
#ifndef FIBERSCOPE_PPROF_ENCODE_THREAD_TEXT_H_
#define FIBERSCOPE_PPROF_ENCODE_THREAD_TEXT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/encode/text_frames.h"
#include "pprof/symbolizer.h"
#include "runtime/process_threads.h"

namespace fiberscope::pprof {

// "running" for the kernel's R, "sleeping" for S and so on; an unknown letter is "unknown".
std::string_view ThreadState(char state);

// Why there is no stack, as the end of a sentence; "" when there is one.
std::string_view MissingStackReason(ThreadSnapshot::Outcome outcome);

// The form is that of a goroutine dump, with a header of our own:
//
//   thread 4711 "fiber-w0" [running], running goroutine 17:
//   shop::Worker(...)
//   	/src/shop.cc:42 +0x1d
//
//   thread 4712 "spinner" [running]:
//   	stack unavailable: the thread blocks the signal that asks for its stack
//
// - Blocks are separated by an empty line. Names are quoted as Go quotes strings.
// - All frames are shown, also those of Fiberscope itself. The stack of a thread that runs a fiber is that fiber's.
// - A stack that does not reach its root ends with a line that says why: "...outer frames unknown: REASON...".
//
// Thread-compatible. Holds one thread's text, and the text of each distinct code address. Blocks the thread as long as `sink` and
// `symbolizer` do.
class ThreadTextEncoder {
 public:
  // Both must outlive the encoder.
  ThreadTextEncoder(Symbolizer& symbolizer, ByteSink& sink) : frames_(symbolizer), sink_(sink) {}
  ThreadTextEncoder(const ThreadTextEncoder&) = delete;
  ThreadTextEncoder& operator=(const ThreadTextEncoder&) = delete;

  // Writes the next block, in one Write. Returns the sink's error.
  absl::Status Write(const ThreadSnapshot& thread);

 private:
  TextFrames frames_;
  ByteSink& sink_;
  bool first_ = true;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_THREAD_TEXT_H_
