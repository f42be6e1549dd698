#include "server/handlers/cmdline.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

namespace fiberscope::server {
namespace {

bool LooksSecret(std::string_view flag) {
  std::string lower(flag);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static constexpr std::array<const char*, 6> kWords = {"pass", "secret", "token", "key", "cred", "auth"};
  return std::ranges::any_of(kWords, [&](const char* word) { return lower.find(word) != std::string::npos; });
}

}  // namespace

std::string RedactCmdline(std::string_view raw) {
  if (!raw.empty() && raw.back() == '\0') raw.remove_suffix(1);
  std::string result;
  bool redact_next = false;
  for (bool first = true;; first = false) {
    const size_t end = raw.find('\0');
    const std::string_view argument = raw.substr(0, end);
    if (!first) result.push_back('\0');
    const bool flag = argument.starts_with('-');
    const size_t equals = argument.find('=');
    if (flag && equals != std::string_view::npos && LooksSecret(argument.substr(0, equals))) {
      result.append(argument.substr(0, equals + 1)).append("REDACTED");
    } else if (redact_next && !flag) {
      result.append("REDACTED");
    } else {
      result.append(argument);
    }
    // "--token VALUE": the value is the next argument.
    redact_next = flag && equals == std::string_view::npos && LooksSecret(argument);
    if (end == std::string_view::npos) return result;
    raw.remove_prefix(end + 1);
  }
}

Handler MakeCmdlineHandler() {
  return [](const Request&, ResponseWriter& writer) {
    std::ifstream file("/proc/self/cmdline", std::ios::binary);
    if (!file) {
      writer.Send(ErrorResponse(500, "cannot read /proc/self/cmdline"));
      return;
    }
    const std::string raw((std::istreambuf_iterator<char>(file)), {});
    writer.Send({.head = {}, .body = RedactCmdline(raw)});
  };
}

}  // namespace fiberscope::server
