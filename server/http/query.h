// The query part of a URL, as HTML forms write it: key=value pairs joined by '&', '+' for a space, %XX for any byte.
//
// Stricter than Go for parameters that a handler asks for: a recognised parameter whose escapes are broken, or that repeats and is
// not asked for as a list, is an error that names it. Parameters that nobody asks for are ignored, whatever they look like. ';'
// separates nothing: it is part of the key or value it stands in.
//
// Format: WHATWG URL standard, "application/x-www-form-urlencoded parsing". Thread-compatible; never blocks.
#ifndef FIBERSCOPE_SERVER_HTTP_QUERY_H_
#define FIBERSCOPE_SERVER_HTTP_QUERY_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fiberscope::server {

// Replaces %XX by the byte and, if asked, '+' by a space. Nothing when an escape is incomplete or not hexadecimal.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space);

// kInvalidArgument: `invalid value for "NAME" - WHAT`.
absl::Status BadParameter(std::string_view name, std::string_view what);

class Query {
 public:
  static constexpr size_t kMaxParameters = 32;

  // kInvalidArgument when there are more than kMaxParameters.
  static absl::StatusOr<Query> Parse(std::string_view raw);

  // The decoded value; nothing when the parameter is absent. kInvalidArgument, naming the parameter, when it repeats or its
  // escapes are broken.
  absl::StatusOr<std::optional<std::string>> Get(std::string_view name) const;

  // The decoded values of a parameter that may repeat, in their order. kInvalidArgument, naming it, when escapes are broken.
  absl::StatusOr<std::vector<std::string>> GetAll(std::string_view name) const;

  // The value as a decimal integer without sign or blanks, from `min`, which is not negative, to `max`; nothing when absent or
  // empty. kInvalidArgument, naming the parameter and the range, otherwise.
  absl::StatusOr<std::optional<int64_t>> GetIntegerBetween(std::string_view name, int64_t min, int64_t max) const;
  absl::StatusOr<std::optional<int64_t>> GetInteger(std::string_view name, int64_t max) const {
    return GetIntegerBetween(name, 0, max);
  }

  // The value as a duration without sign, as Go writes it (90s, 5m, 1h30m), or a number of seconds (90, 1.5); nothing when absent
  // or empty. kInvalidArgument, naming the parameter, otherwise.
  absl::StatusOr<std::optional<std::chrono::nanoseconds>> GetDuration(std::string_view name) const;

 private:
  struct Parameter {
    std::optional<std::string> key;    // nothing: broken escapes, matches no name
    std::optional<std::string> value;  // nothing: broken escapes
  };
  std::vector<Parameter> parameters_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_QUERY_H_
