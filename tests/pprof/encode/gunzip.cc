#include "tests/pprof/encode/gunzip.h"

#include <zlib.h>

namespace fiberscope::pprof {

std::optional<std::string> Gunzip(std::string_view member) {
  z_stream z = {};
  if (inflateInit2(&z, 15 + 16) != Z_OK) return std::nullopt;
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(member.data()));
  z.avail_in = static_cast<uInt>(member.size());
  std::string content;
  int result = Z_OK;
  while (result == Z_OK) {
    char piece[4096];
    z.next_out = reinterpret_cast<Bytef*>(piece);
    z.avail_out = sizeof(piece);
    result = inflate(&z, Z_NO_FLUSH);
    content.append(piece, sizeof(piece) - z.avail_out);
  }
  const bool whole = result == Z_STREAM_END && z.avail_in == 0;
  inflateEnd(&z);
  if (!whole) return std::nullopt;
  return content;
}

}  // namespace fiberscope::pprof
