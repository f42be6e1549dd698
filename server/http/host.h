// Which Host a request may name. A web page that a developer visits can make the browser send requests to the loopback address
// under any name whose owner points it there (DNS rebinding); the name then gives it away.
//
// Allowed, with our port or none: "localhost" (any case, one dot at the end allowed), a dotted quad in 127/8, "[::1]"; the very
// address that the server is bound to; and the names given in the options, which must match in full, port included, in any case.
// Nothing is matched by prefix or suffix, and no other spelling of an address is taken.
//
// Thread-safe (immutable). Never blocks.
#ifndef FIBERSCOPE_SERVER_HTTP_HOST_H_
#define FIBERSCOPE_SERVER_HTTP_HOST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fiberscope::server {

class HostPolicy {
 public:
  // `bound_address` without port; "0.0.0.0" and "::" name no host.
  HostPolicy(std::string bound_address, uint16_t port, std::vector<std::string> allowed);

  bool Allows(std::string_view host) const;

 private:
  std::string bound_address_;
  std::string port_;
  std::vector<std::string> allowed_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_HOST_H_
