// Where a piece of work stands in a trace that goes through several services: W3C Trace Context, as values and as the two texts
// in which it travels, traceparent and tracestate.
//
// Format: https://www.w3.org/TR/trace-context-1/ (the Recommendation), read strictly. What is printed is of version 00, whatever
// version came in.
//
// Thread-safe (values and pure functions). Never blocks.
#ifndef FIBERSCOPE_RUNTIME_TRACE_CONTEXT_H_
#define FIBERSCOPE_RUNTIME_TRACE_CONTEXT_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiberscope {

// Bytes that are printed as lower-case hexadecimal digits. All zero: none.
template <size_t kBytes>
struct HexId {
  static constexpr size_t kDigits = 2 * kBytes;

  std::array<uint8_t, kBytes> bytes{};

  // Random, from the kernel, and not zero. Cost: one system call.
  static HexId New();
  // Exactly kDigits lower-case digits that are not all zero.
  static std::optional<HexId> Parse(std::string_view text);

  void Print(char* digits) const;  // kDigits characters
  std::string ToString() const;

  explicit operator bool() const { return *this != HexId(); }
  bool operator==(const HexId&) const = default;
};

extern template struct HexId<16>;
extern template struct HexId<8>;

using TraceId = HexId<16>;
using SpanId = HexId<8>;

struct TraceContext {
  TraceId trace_id;
  SpanId span_id;        // the part of the trace that the work belongs to
  bool sampled = false;  // somebody up the trace may have recorded it
  std::string state;     // tracestate: what other vendors want to see again

  bool operator==(const TraceContext&) const = default;
};

// "00-<trace id>-<span id>-<flags>". Nothing: malformed. Versions above 00 are read as far as 00 goes, and may be longer; ff is
// none. Of the flags only `sampled` is kept, as the format demands. The state is left empty.
std::optional<TraceContext> ParseTraceparent(std::string_view text);
std::string PrintTraceparent(const TraceContext& context);

// The list with its members as they came, joined by commas: without blanks around them and without empty ones. Nothing: malformed,
// more than 32 members, or a key that repeats. Several fields of a header are one list, joined by commas.
std::optional<std::string> ParseTracestate(std::string_view text);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_TRACE_CONTEXT_H_
