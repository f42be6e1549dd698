#include "pprof/encode/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>

#include "runtime/base/check.h"

namespace fiberscope::pprof {

struct GzipSink::Stream {
  z_stream z = {};
  gz_header header = {};
  std::array<Bytef, 32 * 1024> out;
};

GzipSink::GzipSink(ByteSink& sink) : sink_(sink), stream_(std::make_unique<Stream>()) {
  constexpr int kGzipWindow = 15 + 16;  // 32 KiB, with a gzip header instead of zlib's
  constexpr int kMemoryLevel = 8;       // zlib's default
  z_stream& z = stream_->z;
  const int result = deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY);
  FIBERSCOPE_CHECK(result == Z_OK, "deflateInit2: %d", result);
  stream_->header.os = 255;  // unknown, as Go says
  FIBERSCOPE_CHECK(deflateSetHeader(&z, &stream_->header) == Z_OK, "deflateSetHeader");
}

GzipSink::~GzipSink() { deflateEnd(&stream_->z); }

absl::Status GzipSink::Write(std::string_view bytes) {
  // zlib counts in 32 bits.
  constexpr size_t kMost = std::numeric_limits<uInt>::max();
  while (status_.ok() && !bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kMost);
    status_ = Deflate(piece, Z_NO_FLUSH);
    bytes.remove_prefix(piece.size());
  }
  return status_;
}

absl::Status GzipSink::Finish() {
  if (status_.ok()) status_ = Deflate({}, Z_FINISH);
  return status_;
}

absl::Status GzipSink::Deflate(std::string_view bytes, int flush) {
  z_stream& z = stream_->z;
  // zlib does not write through next_in; the cast is for its C interface.
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  auto& out = stream_->out;
  do {
    z.next_out = out.data();
    z.avail_out = static_cast<uInt>(out.size());
    const int result = deflate(&z, flush);
    // Z_BUF_ERROR: nothing to do this time. Anything else is misuse: deflate has no other way to fail.
    FIBERSCOPE_CHECK(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR, "deflate: %d", result);
    const size_t produced = out.size() - z.avail_out;
    if (produced == 0) break;
    const absl::Status status = sink_.Write({reinterpret_cast<const char*>(out.data()), produced});
    if (!status.ok()) return status;
  } while (z.avail_out == 0);
  return absl::OkStatus();
}

}  // namespace fiberscope::pprof
