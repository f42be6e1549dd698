// A log line as text: JSON for machines, one object a line, or a form for people at a console.
//
//   {"ts":"2026-11-27T22:31:00.000000001Z","level":"info","logger":"orders","caller":"a/b.cc:12","msg":"order placed","order":7}
//   2026-11-27T22:31:00.000000001Z INFO orders a/b.cc:12 order placed order=7
//
// Behind the fields stand those of the fiber, as far as it has them: fiber, request_id, trace_id, span_id, labels. Labels that only
// repeat an id are left out.
//
// Whatever comes in, what goes out is one line of valid UTF-8, and in JSON what every parser takes: control characters are escaped,
// a byte that belongs to no character becomes U+FFFD; U+2028, U+2029, and the slash of "</" are escaped so that a line may
// stand in a script. NaN and infinities, which JSON has not, are strings. A field with the name of one of ours gets "field." before
// its name; two fields of the same name are the caller's affair.
//
// Lines have an end: strings are cut to kMaxStringBytes, with "..." behind, and when a line has kMaxLineBytes the fields that are
// left are counted ("fields_left_out").
//
// Thread-safe (pure functions). Cost: 0.2 us for a line with four fields.
#ifndef FIBERSCOPE_SERVER_LOG_ENCODE_H_
#define FIBERSCOPE_SERVER_LOG_ENCODE_H_

#include <cstdint>
#include <source_location>
#include <span>
#include <string_view>

#include "runtime/fiber_id.h"
#include "runtime/labels.h"
#include "runtime/request.h"
#include "server/log/field.h"
#include "server/log/level.h"
#include "server/log/line_buffer.h"

namespace fiberscope::log {

inline constexpr size_t kMaxStringBytes = 4 * 1024;
// What a line may have before a field, or a label, is left out. One more, escaped in full, and the ids still follow.
inline constexpr size_t kMaxLineBytes = 16 * 1024;

struct Line {
  int64_t time_ns = 0;  // since 1970, UTC
  Level level = Level::kInfo;
  std::string_view logger = {};  // ""
  std::string_view file = {};    // the caller's
  uint32_t line = 0;
  std::string_view message = {};
  std::span<const Field> fields = {};
  FiberId fiber = {};                          // 0: none
  const RequestIdentity* request = nullptr;    // null: none
  std::span<const Label> labels = {};
};

enum class Encoding { kJson, kConsole };

// Appends the line, without a line feed.
void Encode(Encoding encoding, const Line& line, LineBuffer& buffer);

// `text` within quotes, as JSON has it, cut as above.
void AppendJsonString(std::string_view text, LineBuffer& buffer);

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_ENCODE_H_
