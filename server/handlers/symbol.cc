#include "server/handlers/symbol.h"

#include <charconv>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/go_quote.h"

namespace fiberscope::server {
namespace {

// Without its underscores, which stand between two digits or between a prefix and a digit. Nothing if one stands elsewhere.
std::optional<std::string> WithoutUnderscores(std::string_view digits, bool prefixed) {
  std::string plain;
  bool after_digit = prefixed;
  for (const char c : digits) {
    if (c == '_' && !after_digit) return std::nullopt;
    after_digit = c != '_';
    if (after_digit) plain.push_back(c);
  }
  return after_digit ? std::optional(plain) : std::nullopt;
}

}  // namespace

std::optional<uint64_t> ParseAddress(std::string_view word) {
  int base = 10;
  bool prefixed = false;
  if (word.size() >= 2 && word[0] == '0') {
    const char kind = static_cast<char>(word[1] | 0x20);
    base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
    prefixed = kind == 'x' || kind == 'b' || kind == 'o';
    if (prefixed) word.remove_prefix(2);  // else the zero is a digit like the others
  }
  const std::optional<std::string> digits = WithoutUnderscores(word, prefixed);
  if (!digits.has_value()) return std::nullopt;
  uint64_t value = 0;
  const char* const limit = digits->data() + digits->size();
  const auto [end, error] = std::from_chars(digits->data(), limit, value, base);
  if (error != std::errc() || end != limit) return std::nullopt;
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
    writer.Begin({});
    // Readers test only for zero.
    absl::Status status = writer.Write("num_symbols: 1\n");
    for (const uint64_t address : asked.addresses) {
      if (!status.ok()) return writer.Fail(status);
      const pprof::Symbolized& known = symbolizer.Lookup(address);
      if (known.frames.empty() || known.frames.back().function.empty()) continue;
      status = writer.Write(absl::StrFormat("0x%x %s\n", address, pprof::EscapeLine(known.frames.back().function)));
    }
    if (asked.word_too_long) status = writer.Write("reading request: bufio: buffer full\n");
    (void)writer.Finish();
  };
}

}  // namespace fiberscope::server
