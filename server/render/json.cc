#include "server/render/json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/utf8.h"

namespace fiberscope::server {
namespace {

void AppendCharacter(std::string_view bytes, char32_t code_point, std::string& out) {
  switch (code_point) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  const bool escaped = code_point < ' ' || code_point == '<' || code_point == '>' || code_point == '&' || code_point == 0x2028 ||
                       code_point == 0x2029;
  if (escaped) {
    absl::StrAppendFormat(&out, "\\u%04x", static_cast<uint32_t>(code_point));
  } else {
    out += bytes;
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string& out) {
  out += '"';
  while (!text.empty()) {
    const pprof::Utf8Character character = pprof::DecodeUtf8(text);
    if (character.valid) {
      AppendCharacter(text.substr(0, character.length), character.code_point, out);
    } else {
      out += "\xef\xbf\xbd";  // U+FFFD
    }
    text.remove_prefix(character.length);
  }
  out += '"';
}

void AppendJsonNumber(double number, std::string& out) {
  if (!std::isfinite(number)) {
    out += "null";
    return;
  }
  const double size = std::abs(number);
  const bool plain = size == 0 || (size >= 1e-6 && size < 1e21);
  char buffer[400];
  const auto [end, error] = std::to_chars(std::begin(buffer), std::end(buffer), number,
                                          plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string_view digits(buffer, end);
  // e-07 is e-7 there, but e+07 stays.
  if (const size_t zero = digits.size() - 2; !plain && digits.substr(zero - 2, 2) == "e-" && digits[zero] == '0') {
    out += digits.substr(0, zero);
    digits.remove_prefix(zero + 1);
  }
  out += digits;
}

void AppendJson(const boost::json::value& value, std::string& out) {
  switch (value.kind()) {
    case boost::json::kind::null: out += "null"; return;
    case boost::json::kind::bool_: out += value.get_bool() ? "true" : "false"; return;
    case boost::json::kind::int64: absl::StrAppend(&out, value.get_int64()); return;
    case boost::json::kind::uint64: absl::StrAppend(&out, value.get_uint64()); return;
    case boost::json::kind::double_: AppendJsonNumber(value.get_double(), out); return;
    case boost::json::kind::string: AppendJsonString(std::string_view(value.get_string()), out); return;
    case boost::json::kind::array: {
      char before = '[';
      for (const boost::json::value& element : value.get_array()) {
        out += before;
        AppendJson(element, out);
        before = ',';
      }
      out += before == '[' ? "[]" : "]";
      return;
    }
    case boost::json::kind::object: {
      char before = '{';
      for (const auto& [key, member] : value.get_object()) {
        out += before;
        AppendJsonString(std::string_view(key), out);
        out += ':';
        AppendJson(member, out);
        before = ',';
      }
      out += before == '{' ? "{}" : "}";
      return;
    }
  }
}

}  // namespace fiberscope::server
