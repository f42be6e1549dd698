#include "runtime/trace_context.h"

#include <sys/random.h>

#include <vector>

#include "runtime/base/check.h"

namespace fiberscope {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr size_t kMaxMembers = 32;
constexpr size_t kMaxValueBytes = 256;

// "vv-<trace id>-<span id>-ff"
constexpr size_t kTraceIdAt = 3;
constexpr size_t kSpanIdAt = kTraceIdAt + TraceId::kDigits + 1;
constexpr size_t kFlagsAt = kSpanIdAt + SpanId::kDigits + 1;
constexpr size_t kTraceparentBytes = kFlagsAt + 2;
static_assert(kTraceparentBytes == 55);
constexpr uint8_t kSampledFlag = 0x01;

// -1: none, or not lower-case.
int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Two digits; -1: they are none.
int ParseByte(std::string_view digits) {
  const int high = HexValue(digits[0]);
  const int low = HexValue(digits[1]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

bool AreKeyCharacters(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return IsLower(c) || IsDigit(c) || c == '_' || c == '-' || c == '*' || c == '/'; });
}

// "vendor" or "tenant@vendor".
bool IsKey(std::string_view key) {
  const size_t at = key.find('@');
  if (at == std::string_view::npos) return !key.empty() && key.size() <= 256 && IsLower(key[0]) && AreKeyCharacters(key);
  const std::string_view tenant = key.substr(0, at);
  const std::string_view vendor = key.substr(at + 1);
  return !tenant.empty() && tenant.size() <= 241 && (IsLower(tenant[0]) || IsDigit(tenant[0])) && AreKeyCharacters(tenant) &&
         !vendor.empty() && vendor.size() <= 14 && IsLower(vendor[0]) && AreKeyCharacters(vendor);
}

// A blank at its end would have been trimmed.
bool IsValue(std::string_view value) {
  return !value.empty() && value.size() <= kMaxValueBytes &&
         std::ranges::all_of(value, [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; });
}

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

template <size_t kBytes>
HexId<kBytes> HexId<kBytes>::New() {
  HexId id;
  do {
    // So few bytes come whole or not at all, once the machine has started.
    const ssize_t got = getrandom(id.bytes.data(), kBytes, 0);
    FIBERSCOPE_CHECK(got == static_cast<ssize_t>(kBytes), "getrandom(2) gave no random bytes");
  } while (!id);
  return id;
}

template <size_t kBytes>
std::optional<HexId<kBytes>> HexId<kBytes>::Parse(std::string_view text) {
  if (text.size() != kDigits) return std::nullopt;
  HexId id;
  for (size_t i = 0; i < kBytes; ++i) {
    const int byte = ParseByte(text.substr(2 * i, 2));
    if (byte < 0) return std::nullopt;
    id.bytes[i] = static_cast<uint8_t>(byte);
  }
  return id ? std::optional(id) : std::nullopt;
}

template <size_t kBytes>
void HexId<kBytes>::Print(char* digits) const {
  for (const uint8_t byte : bytes) {
    *digits++ = kHexDigits[byte >> 4];
    *digits++ = kHexDigits[byte & 15];
  }
}

template <size_t kBytes>
std::string HexId<kBytes>::ToString() const {
  std::string text(kDigits, '0');
  Print(text.data());
  return text;
}

template struct HexId<16>;
template struct HexId<8>;

std::optional<TraceContext> ParseTraceparent(std::string_view text) {
  if (text.size() < kTraceparentBytes) return std::nullopt;
  const int version = ParseByte(text);
  if (version < 0 || version == 0xff) return std::nullopt;
  if (text.size() > kTraceparentBytes && (version == 0 || text[kTraceparentBytes] != '-')) return std::nullopt;
  if (text[kTraceIdAt - 1] != '-' || text[kSpanIdAt - 1] != '-' || text[kFlagsAt - 1] != '-') return std::nullopt;
  const std::optional<TraceId> trace_id = TraceId::Parse(text.substr(kTraceIdAt, TraceId::kDigits));
  const std::optional<SpanId> span_id = SpanId::Parse(text.substr(kSpanIdAt, SpanId::kDigits));
  const int flags = ParseByte(text.substr(kFlagsAt));
  if (!trace_id.has_value() || !span_id.has_value() || flags < 0) return std::nullopt;
  return TraceContext{.trace_id = *trace_id, .span_id = *span_id, .sampled = (flags & kSampledFlag) != 0, .state = {}};
}

std::string PrintTraceparent(const TraceContext& context) {
  std::string text(kTraceparentBytes, '-');
  text[0] = text[1] = '0';
  context.trace_id.Print(&text[kTraceIdAt]);
  context.span_id.Print(&text[kSpanIdAt]);
  text[kFlagsAt] = '0';
  text[kFlagsAt + 1] = context.sampled ? '1' : '0';
  return text;
}

std::optional<std::string> ParseTracestate(std::string_view text) {
  std::string list;
  std::vector<std::string_view> keys;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view member = Trim(text.substr(0, comma));
    if (!member.empty()) {
      const size_t equals = member.find('=');
      if (equals == std::string_view::npos) return std::nullopt;
      const std::string_view key = member.substr(0, equals);
      if (!IsKey(key) || !IsValue(member.substr(equals + 1))) return std::nullopt;
      if (keys.size() == kMaxMembers || std::ranges::find(keys, key) != keys.end()) return std::nullopt;
      keys.push_back(key);
      if (!list.empty()) list += ',';
      list += member;
    }
    if (comma == std::string_view::npos) return list;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace fiberscope
