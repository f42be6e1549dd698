#include "server/handlers/symbol.h"

#include <charconv>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

namespace fiberscope::server {
namespace {

// Of a name that goes into a line of text.
std::string EscapeControl(std::string_view name) {
  std::string escaped;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      escaped += absl::StrFormat("\\x%02x", static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  return escaped;
}

}  // namespace

std::optional<uint64_t> ParseAddress(std::string_view word) {
  int base = 10;
  bool prefixed = false;
  if (word.size() >= 2 && word[0] == '0') {
    const char kind = static_cast<char>(word[1] | 0x20);
    prefixed = kind == 'x' || kind == 'b' || kind == 'o';
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    word.remove_prefix(prefixed ? 2 : 1);
  }
  // Underscores stand between digits, or between a prefix and a digit.
  std::string digits;
  bool after_digit = prefixed || base == 8;
  for (const char c : word) {
    if (c == '_') {
      if (!after_digit) return std::nullopt;
      after_digit = false;
      continue;
    }
    digits.push_back(c);
    after_digit = true;
  }
  if (!after_digit || digits.empty() || (digits.size() != word.size() && base == 10)) return std::nullopt;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

SymbolRequest ParseSymbolRequest(std::string_view text) {
  SymbolRequest request;
  while (!text.empty()) {
    const size_t plus = text.find('+');
    const std::string_view word = text.substr(0, plus);
    if (word.size() >= kMaxSymbolWordBytes) {
      request.word_too_long = true;
      return request;
    }
    text = plus == std::string_view::npos ? std::string_view() : text.substr(plus + 1);
    const std::optional<uint64_t> address = ParseAddress(word);
    if (!address.has_value() || *address == 0) continue;
    if (request.addresses.size() == kMaxSymbolAddresses) {
      request.too_many = true;
      return request;
    }
    request.addresses.push_back(*address);
  }
  return request;
}

Handler MakeSymbolHandler(pprof::Symbolizer& symbolizer) {
  return [&symbolizer](const Request& request, ResponseWriter& writer) {
    const SymbolRequest asked = ParseSymbolRequest(request.method == Method::kPost ? request.body : request.raw_query);
    if (asked.too_many) {
      writer.Send(ErrorResponse(413, absl::StrFormat("more than %d addresses", kMaxSymbolAddresses)));
      return;
    }
    // Readers test only for zero.
    std::string text = "num_symbols: 1\n";
    for (const uint64_t address : asked.addresses) {
      const pprof::Symbolized& known = symbolizer.Lookup(address);
      if (known.frames.empty() || known.frames.back().function.empty()) continue;
      text += absl::StrFormat("0x%x %s\n", address, EscapeControl(known.frames.back().function));
    }
    if (asked.word_too_long) text += "reading request: bufio: buffer full\n";
    writer.Send({.head = {}, .body = std::move(text)});
  };
}

}  // namespace fiberscope::server
