#include "server/log/encode.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <string>

#include "pprof/utf8.h"

namespace fiberscope::log {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD
constexpr std::string_view kCut = "...";
constexpr std::string_view kConsoleLevels[] = {"DEBUG", "INFO", "WARN", "ERROR"};

// Keys of ours; fields of these names are renamed.
constexpr std::string_view kReserved[] = {"ts",    "level",      "logger",   "caller",  "msg",    "fiber",
                                          "request_id", "trace_id", "span_id", "labels", "fields_left_out"};

bool IsReserved(std::string_view key) { return std::ranges::find(kReserved, key) != std::end(kReserved); }

// Stands in a JSON string as it is, whatever follows.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (int c = 0x20; c < 0x7f; ++c) plain[static_cast<size_t>(c)] = c != '"' && c != '\\' && c != '<';
  return plain;
}();

bool IsPlain(char c) { return kPlain[static_cast<uint8_t>(c)]; }

void AppendUnicodeEscape(char32_t c, LineBuffer& buffer) {
  const char text[] = {'\\', 'u', kHexDigits[c >> 12 & 15], kHexDigits[c >> 8 & 15], kHexDigits[c >> 4 & 15], kHexDigits[c & 15]};
  buffer.Append({text, sizeof(text)});
}

// What `text` begins with, and is not plain; returns its length.
size_t AppendOdd(std::string_view text, LineBuffer& buffer) {
  switch (text[0]) {
    case '"': buffer.Append("\\\""); return 1;
    case '\\': buffer.Append("\\\\"); return 1;
    case '\n': buffer.Append("\\n"); return 1;
    case '\r': buffer.Append("\\r"); return 1;
    case '\t': buffer.Append("\\t"); return 1;
    case '<':
      if (text.starts_with("</")) {
        buffer.Append("<\\/");
        return 2;
      }
      buffer.Append('<');
      return 1;
    default: break;
  }
  const pprof::Utf8Character c = pprof::DecodeUtf8(text);
  if (!c.valid) {
    buffer.Append(kReplacement);
  } else if (c.code_point < 0x20 || (c.code_point >= 0x7f && c.code_point < 0xa0) || c.code_point == 0x2028 ||
             c.code_point == 0x2029) {
    AppendUnicodeEscape(c.code_point, buffer);
  } else {
    buffer.Append(text.substr(0, c.length));
  }
  return c.length;
}

// Without quotes around it.
void AppendEscaped(std::string_view text, LineBuffer& buffer) {
  const bool cut = text.size() > kMaxStringBytes;
  if (cut) text = pprof::Utf8Prefix(text, kMaxStringBytes);
  for (size_t at = 0; at < text.size();) {
    const auto odd = std::find_if_not(text.begin() + static_cast<ptrdiff_t>(at), text.end(), &IsPlain);
    const auto end = static_cast<size_t>(odd - text.begin());
    buffer.Append(text.substr(at, end - at));
    at = end;
    if (at < text.size()) at += AppendOdd(text.substr(at), buffer);
  }
  if (cut) buffer.Append(kCut);
}

template <typename T>
void AppendNumber(T value, LineBuffer& buffer) {
  constexpr size_t kMaxDigits = 32;
  char* const begin = buffer.Reserve(kMaxDigits);
  buffer.Shorten(static_cast<size_t>(begin + kMaxDigits - std::to_chars(begin, begin + kMaxDigits, value).ptr));
}

void AppendReal(double value, LineBuffer& buffer) {
  if (std::isfinite(value)) return AppendNumber(value, buffer);
  buffer.Append(std::isnan(value) ? "\"NaN\"" : value > 0 ? "\"+Inf\"" : "\"-Inf\"");
}

// Seconds, exactly: "1.5", "-0.000000001", "3".
void AppendSeconds(int64_t nanoseconds, LineBuffer& buffer) {
  constexpr uint64_t kSecond = 1'000'000'000;
  const uint64_t magnitude = nanoseconds < 0 ? 0 - static_cast<uint64_t>(nanoseconds) : static_cast<uint64_t>(nanoseconds);
  if (nanoseconds < 0) buffer.Append('-');
  AppendNumber(magnitude / kSecond, buffer);
  uint64_t fraction = magnitude % kSecond;
  if (fraction == 0) return;
  size_t digits = 9;
  for (; fraction % 10 == 0; fraction /= 10) --digits;
  buffer.Append('.');
  char* const begin = buffer.Reserve(digits);
  for (size_t i = digits; i-- > 0; fraction /= 10) begin[i] = static_cast<char>('0' + fraction % 10);
}

void PutDigits(char* at, size_t count, uint64_t value) {
  for (size_t i = count; i-- > 0; value /= 10) at[i] = static_cast<char>('0' + value % 10);
}

// Format: RFC 3339, in UTC, always with nine digits behind the point.
void AppendTime(int64_t time_ns, LineBuffer& buffer) {
  using namespace std::chrono;
  const sys_time<nanoseconds> time{nanoseconds(time_ns)};
  const sys_days day = floor<days>(time);
  const year_month_day date(day);
  const auto in_day = static_cast<uint64_t>((time - day).count());
  const uint64_t second = in_day / 1'000'000'000;
  char* const text = buffer.Reserve(30);
  std::memcpy(text, "0000-00-00T00:00:00.000000000Z", 30);
  PutDigits(text, 4, static_cast<uint64_t>(static_cast<int>(date.year())));
  PutDigits(text + 5, 2, static_cast<unsigned>(date.month()));
  PutDigits(text + 8, 2, static_cast<unsigned>(date.day()));
  PutDigits(text + 11, 2, second / 3600);
  PutDigits(text + 14, 2, second / 60 % 60);
  PutDigits(text + 17, 2, second % 60);
  PutDigits(text + 20, 9, in_day % 1'000'000'000);
}

template <typename Id>
void AppendId(const Id& id, LineBuffer& buffer) {
  id.Print(buffer.Reserve(Id::kDigits));
}

bool RepeatsAnId(const Label& label) { return label.key == "request_id" || label.key == "trace_id"; }

// What the encodings differ in: how a key stands before a value, and when a string needs quotes.
struct Json {
  static void Key(std::string_view key, LineBuffer& buffer) {
    buffer.Append(",\"");
    if (IsReserved(key)) buffer.Append("field.");
    AppendEscaped(key, buffer);
    buffer.Append("\":");
  }
  static void OwnKey(std::string_view key, LineBuffer& buffer) {
    buffer.Append(",\"");
    buffer.Append(key);
    buffer.Append("\":");
  }
  static void String(std::string_view text, LineBuffer& buffer) { AppendJsonString(text, buffer); }

  static void Begin(const Line& line, LineBuffer& buffer) {
    buffer.Append("{\"ts\":\"");
    AppendTime(line.time_ns, buffer);
    buffer.Append("\",\"level\":\"");
    buffer.Append(LevelName(line.level));
    buffer.Append('"');
    if (!line.logger.empty()) {
      OwnKey("logger", buffer);
      String(line.logger, buffer);
    }
    OwnKey("caller", buffer);
    buffer.Append('"');
    AppendEscaped(line.file, buffer);
    buffer.Append(':');
    AppendNumber(line.line, buffer);
    buffer.Append('"');
    OwnKey("msg", buffer);
    String(line.message, buffer);
  }
  static void BeginLabels(LineBuffer& buffer) { buffer.Append(",\"labels\":{"); }
  static void AppendLabel(const Label& label, bool first, LineBuffer& buffer) {
    if (!first) buffer.Append(',');
    String(label.key, buffer);
    buffer.Append(':');
    String(label.value, buffer);
  }
  static void EndLabels(LineBuffer& buffer) { buffer.Append('}'); }
  static void End(LineBuffer& buffer) { buffer.Append('}'); }
};

struct Console {
  // Stands between blanks without quotes, and cannot be taken for another pair.
  static bool IsWord(std::string_view text) {
    return !text.empty() && text.size() <= kMaxStringBytes && std::ranges::all_of(text, [](char c) {
      return c > ' ' && IsPlain(c) && c != '=' && c != '{' && c != '}';
    });
  }
  static void Key(std::string_view key, LineBuffer& buffer) {
    buffer.Append(' ');
    if (IsReserved(key)) buffer.Append("field.");
    String(key, buffer);
    buffer.Append('=');
  }
  static void OwnKey(std::string_view key, LineBuffer& buffer) {
    buffer.Append(' ');
    buffer.Append(key);
    buffer.Append('=');
  }
  static void String(std::string_view text, LineBuffer& buffer) {
    if (!IsWord(text)) return AppendJsonString(text, buffer);
    buffer.Append(text);
  }

  static void Begin(const Line& line, LineBuffer& buffer) {
    AppendTime(line.time_ns, buffer);
    buffer.Append(' ');
    buffer.Append(kConsoleLevels[static_cast<size_t>(line.level)]);
    buffer.Append(' ');
    if (!line.logger.empty()) {
      AppendEscaped(line.logger, buffer);
      buffer.Append(' ');
    }
    AppendEscaped(line.file, buffer);
    buffer.Append(':');
    AppendNumber(line.line, buffer);
    buffer.Append(' ');
    AppendEscaped(line.message, buffer);
  }
  static void BeginLabels(LineBuffer& buffer) { buffer.Append(" labels={"); }
  static void AppendLabel(const Label& label, bool first, LineBuffer& buffer) {
    if (!first) buffer.Append(' ');
    String(label.key, buffer);
    buffer.Append('=');
    String(label.value, buffer);
  }
  static void EndLabels(LineBuffer& buffer) { buffer.Append('}'); }
  static void End(LineBuffer&) {}
};

template <typename Form>
void AppendValue(const Field& field, LineBuffer& buffer) {
  switch (field.kind()) {
    case Field::Kind::kInt: return AppendNumber(field.integer(), buffer);
    case Field::Kind::kUint: return AppendNumber(field.unsigned_integer(), buffer);
    case Field::Kind::kDouble: return AppendReal(field.real(), buffer);
    case Field::Kind::kBool: return buffer.Append(field.boolean() ? "true" : "false");
    case Field::Kind::kString: return Form::String(field.string(), buffer);
    case Field::Kind::kDuration: return AppendSeconds(field.integer(), buffer);
    case Field::Kind::kStatus: return Form::String(field.status().ToString(), buffer);
  }
}

template <typename Form>
void AppendFields(std::span<const Field> fields, LineBuffer& buffer) {
  size_t left = fields.size();
  for (const Field& field : fields) {
    if (buffer.size() >= kMaxLineBytes) break;
    Form::Key(field.key(), buffer);
    AppendValue<Form>(field, buffer);
    --left;
  }
  if (left == 0) return;
  Form::OwnKey("fields_left_out", buffer);
  AppendNumber(left, buffer);
}

template <typename Form>
void AppendLabels(const Line& line, LineBuffer& buffer) {
  bool first = true;
  for (const Label& label : line.labels) {
    if (buffer.size() >= kMaxLineBytes) break;
    if (line.request != nullptr && RepeatsAnId(label)) continue;
    if (first) Form::BeginLabels(buffer);
    Form::AppendLabel(label, first, buffer);
    first = false;
  }
  if (!first) Form::EndLabels(buffer);
}

template <typename Form>
void EncodeAs(const Line& line, LineBuffer& buffer) {
  Form::Begin(line, buffer);
  AppendFields<Form>(line.fields, buffer);
  if (line.fiber) {
    Form::OwnKey("fiber", buffer);
    AppendNumber(line.fiber.value, buffer);
  }
  if (line.request != nullptr) {
    Form::OwnKey("request_id", buffer);
    Form::String(line.request->id.text(), buffer);
    // Digits need quotes in one encoding only.
    const std::string_view quote = std::is_same_v<Form, Json> ? "\"" : "";
    Form::OwnKey("trace_id", buffer);
    buffer.Append(quote);
    AppendId(line.request->trace.trace_id, buffer);
    buffer.Append(quote);
    Form::OwnKey("span_id", buffer);
    buffer.Append(quote);
    AppendId(line.request->trace.span_id, buffer);
    buffer.Append(quote);
  }
  AppendLabels<Form>(line, buffer);
  Form::End(buffer);
}

}  // namespace

void AppendJsonString(std::string_view text, LineBuffer& buffer) {
  buffer.Append('"');
  AppendEscaped(text, buffer);
  buffer.Append('"');
}

void Encode(Encoding encoding, const Line& line, LineBuffer& buffer) {
  if (encoding == Encoding::kJson) {
    EncodeAs<Json>(line, buffer);
  } else {
    EncodeAs<Console>(line, buffer);
  }
}

}  // namespace fiberscope::log
