#include "server/http/path.h"

#include <algorithm>
#include <vector>

namespace fiberscope::server {
namespace {

bool StartsWithIgnoringCase(std::string_view text, std::string_view lower_prefix) {
  return text.size() >= lower_prefix.size() &&
         std::equal(lower_prefix.begin(), lower_prefix.end(), text.begin(), [](char expected, char c) {
           return expected == (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
         });
}

}  // namespace

std::optional<Target> ParseTarget(std::string_view target) {
  Target parts;
  constexpr std::string_view kScheme = "http://";
  if (StartsWithIgnoringCase(target, kScheme)) {
    target.remove_prefix(kScheme.size());
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    parts.authority = target.substr(0, end);
    target.remove_prefix(end);
    if (parts.authority.empty()) return std::nullopt;
  } else if (target.empty() || target.front() != '/') {
    return std::nullopt;
  }
  const size_t question = target.find('?');
  parts.path = target.substr(0, question);
  if (parts.path.empty()) parts.path = "/";
  if (question != std::string_view::npos) parts.query = target.substr(question + 1);
  return parts;
}

std::string CleanPath(std::string_view decoded_path) {
  std::vector<std::string_view> segments;
  bool directory = true;  // whether the path ends in a slash
  while (!decoded_path.empty()) {
    const size_t slash = decoded_path.find('/');
    const std::string_view segment = decoded_path.substr(0, slash);
    decoded_path = slash == std::string_view::npos ? std::string_view() : decoded_path.substr(slash + 1);
    directory = slash != std::string_view::npos || segment == "." || segment == ".." || segment.empty();
    if (segment == "..") {
      if (!segments.empty()) segments.pop_back();
    } else if (!segment.empty() && segment != ".") {
      segments.push_back(segment);
    }
  }
  std::string clean;
  for (const std::string_view segment : segments) clean.append("/").append(segment);
  if (directory || clean.empty()) clean.push_back('/');
  return clean;
}

bool IsSafeQuery(std::string_view query) {
  return std::ranges::all_of(query, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~!$&'()*+,;=:@/?%").find(c) != std::string_view::npos;
  });
}

}  // namespace fiberscope::server
