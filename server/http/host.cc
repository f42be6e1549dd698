#include "server/http/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace fiberscope::server {
namespace {

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return absl::EqualsIgnoreCase({a.data(), a.size()}, {b.data(), b.size()});
}

bool IsLoopbackQuad(const std::string& host) {
  in_addr address;
  // inet_pton takes four decimal numbers only: no octal, no short forms.
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

}  // namespace

HostPolicy::HostPolicy(std::string bound_address, uint16_t port, std::vector<std::string> allowed)
    : bound_address_(std::move(bound_address)), port_(std::to_string(port)), allowed_(std::move(allowed)) {
  std::erase(allowed_, "");
  if (bound_address_ == "0.0.0.0" || bound_address_ == "::") bound_address_.clear();
  if (bound_address_.find(':') != std::string::npos) bound_address_ = "[" + bound_address_ + "]";
}

bool HostPolicy::Allows(std::string_view host) const {
  if (std::ranges::any_of(allowed_, [&](const std::string& name) { return EqualsIgnoringCase(name, host); })) return true;
  // The port is what follows the last colon outside of brackets.
  std::string_view name = host;
  const size_t bracket = host.rfind(']');
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    if (host.substr(colon + 1) != port_) return false;
    name = host.substr(0, colon);
  }
  if (name.empty() || name.find('\0') != std::string_view::npos) return false;
  return EqualsIgnoringCase(name, "localhost") || EqualsIgnoringCase(name, "localhost.") || name == "[::1]" ||
         IsLoopbackQuad(std::string(name)) || name == bound_address_;
}

}  // namespace fiberscope::server
