#include "runtime/request_id.h"

#include <time.h>

#include <algorithm>
#include <cstdint>

#include "runtime/trace_context.h"

namespace fiberscope {

RequestId RequestId::New() {
  HexId<16> id = HexId<16>::New();
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  const uint64_t now_ms = static_cast<uint64_t>(now.tv_sec) * 1000 + static_cast<uint64_t>(now.tv_nsec) / 1'000'000;
  for (size_t i = 0; i < 6; ++i) id.bytes[i] = static_cast<uint8_t>(now_ms >> (40 - 8 * i));
  id.bytes[6] = 0x70 | (id.bytes[6] & 0x0f);  // version 7
  id.bytes[8] = 0x80 | (id.bytes[8] & 0x3f);  // the variant of the RFC
  std::string text = id.ToString();
  for (const size_t dash : {20, 16, 12, 8}) text.insert(dash, 1, '-');
  return RequestId(std::move(text));
}

std::optional<RequestId> RequestId::Parse(std::string_view text) {
  const bool harmless = std::ranges::all_of(text, [](char c) {
    return c > ' ' && c <= '~' && c != '"' && c != '\\' && c != ',' && c != ';';
  });
  if (text.empty() || text.size() > kMaxBytes || !harmless) return std::nullopt;
  return RequestId(std::string(text));
}

}  // namespace fiberscope
