#include "server/http/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <strings.h>

#include <algorithm>
#include <utility>

namespace fiberscope::server {
namespace {

bool IsLoopbackQuad(const std::string& host) {
  in_addr address;
  // inet_pton takes four decimal numbers only: no octal, no short forms.
  return inet_pton(AF_INET, host.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}

}  // namespace

HostPolicy::HostPolicy(std::string bound_address, uint16_t port, std::vector<std::string> allowed)
    : bound_address_(std::move(bound_address)), port_(std::to_string(port)), allowed_(std::move(allowed)) {
  if (bound_address_ == "0.0.0.0" || bound_address_ == "::") bound_address_.clear();
  if (bound_address_.find(':') != std::string::npos) bound_address_ = "[" + bound_address_ + "]";
}

bool HostPolicy::Allows(std::string_view host) const {
  if (std::ranges::find(allowed_, host) != allowed_.end()) return true;
  // The port is what follows the last colon outside of brackets.
  std::string_view name = host;
  const size_t bracket = host.rfind(']');
  const size_t colon = host.rfind(':');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    if (host.substr(colon + 1) != port_) return false;
    name = host.substr(0, colon);
  }
  const std::string text(name);
  if (text.empty() || text.size() != std::string_view(text.c_str()).size()) return false;  // a NUL inside
  return strcasecmp(text.c_str(), "localhost") == 0 || strcasecmp(text.c_str(), "localhost.") == 0 || text == "[::1]" ||
         IsLoopbackQuad(text) || (!bound_address_.empty() && text == bound_address_);
}

}  // namespace fiberscope::server
