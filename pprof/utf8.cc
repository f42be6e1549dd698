#include "pprof/utf8.h"

#include <cstdint>

namespace fiberscope::pprof {

Utf8Character DecodeUtf8(std::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  const Utf8Character invalid{lead, 1, false};
  if (lead < 0x80) return {lead, 1, true};

  // The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what is above U+10FFFF (F4).
  size_t length;
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  } else {
    return invalid;
  }
  if (text.size() < length) return invalid;
  if (byte(1) < low || byte(1) > high) return invalid;

  char32_t code_point = lead & (0x7f >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return invalid;
    code_point = code_point << 6 | (byte(i) & 0x3f);
  }
  return {code_point, length, true};
}

std::string ToValidUtf8(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Character c = DecodeUtf8(text);
    if (c.valid) {
      result.append(text.substr(0, c.length));
    } else {
      result.append({'\\', 'x', kHex[c.code_point >> 4], kHex[c.code_point & 15]});
    }
    text.remove_prefix(c.length);
  }
  return result;
}

std::string_view Utf8Prefix(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  // A character has at most 4 bytes: one that straddles the limit begins within the last 3 before it.
  for (size_t start = limit; start > 0 && start + 3 > limit; --start) {
    const Utf8Character c = DecodeUtf8(text.substr(start - 1));
    if (c.valid && start - 1 + c.length > limit) return text.substr(0, start - 1);
  }
  return text.substr(0, limit);
}

size_t Utf8Length(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(DecodeUtf8(text).length);
  return count;
}

}  // namespace fiberscope::pprof
