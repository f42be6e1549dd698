#include "pprof/encode/go_quote.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/printable.h"
#include "pprof/utf8.h"

namespace fiberscope::pprof {
namespace {

// \uNNNN or \UNNNNNNNN.
void AppendCodePoint(std::string& out, char32_t c) {
  if (c < 0x10000) {
    absl::StrAppendFormat(&out, "\\u%04x", static_cast<uint32_t>(c));
  } else {
    absl::StrAppendFormat(&out, "\\U%08x", static_cast<uint32_t>(c));
  }
}

void AppendByte(std::string& out, char32_t byte) {
  absl::StrAppendFormat(&out, "\\x%02x", static_cast<uint32_t>(byte));
}

// The letter of C's short escape for a control character, or 0.
char ShortEscape(char32_t c) {
  constexpr std::string_view kLetters = "abtnvfr";  // 7 to 13
  return c >= 7 && c <= 13 ? kLetters[c - 7] : '\0';
}

// strconv's escape of a character that is not printable.
void AppendEscape(std::string& out, const Utf8Character& c) {
  if (!c.valid) {
    AppendByte(out, c.code_point);
  } else if (const char letter = ShortEscape(c.code_point); letter != '\0') {
    out += {'\\', letter};
  } else if (c.code_point < ' ' || c.code_point == 0x7f) {
    AppendByte(out, c.code_point);
  } else {
    AppendCodePoint(out, c.code_point);
  }
}

template <typename Append>
void ForEachCharacter(std::string_view text, Append append) {
  while (!text.empty()) {
    const Utf8Character c = DecodeUtf8(text);
    append(c, text.substr(0, c.length));
    text.remove_prefix(c.length);
  }
}

bool NeedsDumpQuotes(std::string_view text) {
  return std::ranges::any_of(text, [](char c) {
    return !absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '/' && c != '_';
  });
}

}  // namespace

std::string GoQuote(std::string_view text) {
  std::string out = "\"";
  ForEachCharacter(text, [&out](const Utf8Character& c, std::string_view bytes) {
    if (c.valid && (c.code_point == '"' || c.code_point == '\\')) {
      out.append("\\").append(bytes);
    } else if (c.valid && IsPrintable(c.code_point)) {
      out += bytes;
    } else {
      AppendEscape(out, c);
    }
  });
  return out += '"';
}

std::string GoDumpQuote(std::string_view text) {
  if (!NeedsDumpQuotes(text)) return std::string(text);
  std::string out = "\"";
  ForEachCharacter(text, [&out](const Utf8Character& c, std::string_view bytes) {
    if (!c.valid) {
      AppendByte(out, c.code_point);
    } else if (c.code_point == '\n' || c.code_point == '\r' || c.code_point == '\t') {
      AppendEscape(out, c);
    } else if (c.code_point == '"' || c.code_point == '\\') {
      out.append("\\").append(bytes);
    } else if (c.code_point < ' ') {
      AppendByte(out, c.code_point);
    } else if (c.code_point < 0x7f) {
      out += bytes;
    } else {
      AppendCodePoint(out, c.code_point);
    }
  });
  return out += '"';
}

std::string EscapeLine(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  ForEachCharacter(text, [&out](const Utf8Character& c, std::string_view bytes) {
    if (c.valid && IsPrintable(c.code_point)) {
      out += bytes;
    } else {
      AppendEscape(out, c);
    }
  });
  return out;
}

std::string CutText(std::string_view text, size_t limit) {
  const std::string_view prefix = Utf8Prefix(text, limit);
  std::string out(prefix);
  if (prefix.size() < text.size()) out += "...";
  return out;
}

}  // namespace fiberscope::pprof
