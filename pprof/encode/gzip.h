// Compresses on the way: bytes in, one gzip member out.
#ifndef FIBERSCOPE_PPROF_ENCODE_GZIP_H_
#define FIBERSCOPE_PPROF_ENCODE_GZIP_H_

#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"

namespace fiberscope::pprof {

// Format: RFC 1952. As Go's runtime/pprof does it: compression level 1, no name, no time, so equal profiles are equal
// bytes; the header is 1f 8b 08 00 00000000 04 ff.
//
// Thread-compatible. Holds about 256 KiB (zlib's window) and passes on pieces of at most 32 KiB. Without Finish() the
// member has no end, and the reader sees that it was cut off: leave it out when something went wrong.
class GzipSink : public ByteSink {
 public:
  // `sink` must outlive this object.
  explicit GzipSink(ByteSink& sink);
  ~GzipSink() override;
  GzipSink(const GzipSink&) = delete;
  GzipSink& operator=(const GzipSink&) = delete;

  // Returns the error of the sink behind it.
  absl::Status Write(std::string_view bytes) override;

  // Writes what is left and the trailer. Nothing may be written after it.
  absl::Status Finish();

 private:
  struct Stream;

  absl::Status Deflate(std::string_view bytes, int flush);

  ByteSink& sink_;
  std::unique_ptr<Stream> stream_;
  absl::Status status_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_GZIP_H_
