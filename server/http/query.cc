#include "server/http/query.h"

#include <charconv>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"

namespace fiberscope::server {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Without sign and without Abseil's "inf"; a plain number counts seconds.
std::optional<std::chrono::nanoseconds> ParseDuration(const std::string& text) {
  constexpr std::string_view kNumber = "0123456789.";
  if (kNumber.find(text.front()) == std::string_view::npos) return std::nullopt;
  std::string with_unit = absl::StrReplaceAll(text, {{"\u00b5s", "us"}, {"\u03bcs", "us"}});
  if (text.find_first_not_of(kNumber) == std::string::npos) with_unit += 's';
  absl::Duration duration;
  if (!absl::ParseDuration(with_unit, &duration)) return std::nullopt;
  return absl::ToChronoNanoseconds(duration);
}

}  // namespace

absl::Status BadParameter(std::string_view name, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrFormat("invalid value for \"%s\" - %s", name, what));
}

std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      decoded.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      decoded.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return decoded;
}

absl::StatusOr<Query> Query::Parse(std::string_view raw) {
  Query query;
  while (!raw.empty()) {
    const size_t end = raw.find('&');
    const std::string_view pair = raw.substr(0, end);
    raw = end == std::string_view::npos ? std::string_view() : raw.substr(end + 1);
    if (pair.empty()) continue;
    if (query.parameters_.size() == kMaxParameters) {
      return absl::InvalidArgumentError(absl::StrFormat("more than %d query parameters", kMaxParameters));
    }
    const size_t equals = pair.find('=');
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    query.parameters_.push_back({PercentDecode(pair.substr(0, equals), true), PercentDecode(value, true)});
  }
  return query;
}

absl::StatusOr<std::optional<std::string>> Query::Get(std::string_view name) const {
  const Parameter* found = nullptr;
  for (const Parameter& parameter : parameters_) {
    if (parameter.key != name) continue;
    if (found != nullptr) return BadParameter(name, "given more than once");
    found = &parameter;
  }
  if (found == nullptr) return std::optional<std::string>();
  if (!found->value.has_value()) return BadParameter(name, "bad percent-encoding");
  return found->value;
}

absl::StatusOr<std::vector<std::string>> Query::GetAll(std::string_view name) const {
  std::vector<std::string> values;
  for (const Parameter& parameter : parameters_) {
    if (parameter.key != name) continue;
    if (!parameter.value.has_value()) return BadParameter(name, "bad percent-encoding");
    values.push_back(*parameter.value);
  }
  return values;
}

absl::StatusOr<std::optional<int64_t>> Query::GetIntegerBetween(std::string_view name, int64_t min, int64_t max) const {
  const absl::StatusOr<std::optional<std::string>> text = Get(name);
  if (!text.ok()) return text.status();
  if (!text->has_value() || (*text)->empty()) return std::optional<int64_t>();
  const std::string& digits = **text;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  // from_chars takes a minus sign, which is out of range, "-0" too.
  if (error != std::errc() || end != digits.data() + digits.size() || digits[0] == '-' || value < min || value > max) {
    return BadParameter(name, absl::StrFormat("must be an integer from %d to %d", min, max));
  }
  return std::optional<int64_t>(value);
}

absl::StatusOr<std::optional<std::chrono::nanoseconds>> Query::GetDuration(std::string_view name) const {
  const absl::StatusOr<std::optional<std::string>> text = Get(name);
  if (!text.ok()) return text.status();
  if (!text->has_value() || (*text)->empty()) return std::optional<std::chrono::nanoseconds>();
  const std::optional<std::chrono::nanoseconds> duration = ParseDuration(**text);
  if (!duration) return BadParameter(name, "must be a duration such as 90s, 5m or 1h30m, or a number of seconds");
  return duration;
}

}  // namespace fiberscope::server
