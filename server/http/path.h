// Request targets and paths.
//
// Never blocks. Pure functions.
#ifndef FIBERSCOPE_SERVER_HTTP_PATH_H_
#define FIBERSCOPE_SERVER_HTTP_PATH_H_

#include <optional>
#include <string>
#include <string_view>

namespace fiberscope::server {

// The parts of a request target. Format: RFC 9112 section 3.2, origin-form and absolute-form.
struct Target {
  std::string_view authority;  // absolute-form only; empty otherwise
  std::string_view path;       // raw; "/" at least
  std::string_view query;      // raw, without the '?'
};

// Nothing when it is neither form.
std::optional<Target> ParseTarget(std::string_view target);

// Without empty, "." and ".." segments, which go up but never above the root; a slash at the end stays. "/a//b/../c/" ->
// "/a/c/".
std::string CleanPath(std::string_view decoded_path);

// Whether the query may be put into a Location field as it is: only characters that RFC 3986 allows there.
bool IsSafeQuery(std::string_view query);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_PATH_H_
