// UTF-8 one character at a time, for text that may be anything: labels, names, symbols.
//
// Thread-safe (pure functions).
#ifndef FIBERSCOPE_PPROF_UTF8_H_
#define FIBERSCOPE_PPROF_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace fiberscope::pprof {

struct Utf8Character {
  char32_t code_point = 0;  // the byte itself when invalid
  size_t length = 1;        // bytes
  bool valid = false;
};

// The first character of `text`, which is not empty. A byte that begins no well-formed character (Unicode 15 table 3-7:
// shortest form, no surrogates, at most U+10FFFF) is an invalid character of length 1.
Utf8Character DecodeUtf8(std::string_view text);

// `text` with every invalid byte spelled out as \xNN; the same text if it is valid.
std::string ToValidUtf8(std::string_view text);

// The longest prefix of `text` of at most `limit` bytes that does not end inside a character.
std::string_view Utf8Prefix(std::string_view text, size_t limit);

// Characters in `text`; an invalid byte counts as one.
size_t Utf8Length(std::string_view text);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_UTF8_H_
