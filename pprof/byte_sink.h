// Where an encoder writes: a socket with back-pressure, a gzip stream, a string.
#ifndef FIBERSCOPE_PPROF_BYTE_SINK_H_
#define FIBERSCOPE_PPROF_BYTE_SINK_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace fiberscope::pprof {

// Thread-compatible.
class ByteSink {
 public:
  virtual ~ByteSink() = default;

  // Takes all of `bytes` or fails. May block the thread until the reader has caught up. After the first error (the
  // reader left: kCancelled; too slow: kDeadlineExceeded) the sink stays failed, and the writer should return the error.
  virtual absl::Status Write(std::string_view bytes) = 0;
};

// Collects everything in memory.
class StringSink : public ByteSink {
 public:
  absl::Status Write(std::string_view bytes) override {
    text_.append(bytes);
    return absl::OkStatus();
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_BYTE_SINK_H_
