// Any bytes as a request target: its parts are parts of it, and a clean path is clean.
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "server/http/host.h"
#include "server/http/path.h"

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

void CheckClean(std::string_view path) {
  const std::string clean = fiberscope::server::CleanPath(path);
  Check(clean.size() <= path.size() + 1);
  Check(clean.starts_with('/'));
  const std::string closed = clean + "/";
  Check(closed.find("/./") == std::string::npos);
  Check(closed.find("/../") == std::string::npos);
  Check(clean.find("//") == std::string::npos);
  Check(fiberscope::server::CleanPath(clean) == clean);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fiberscope::server;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckClean(text);
  if (const std::optional<Target> target = ParseTarget(text)) {
    Check(target->path.starts_with('/'));
    Check(target->path.find('?') == std::string_view::npos);
    Check(target->authority.find_first_of("/?") == std::string_view::npos);
    Check(target->authority.size() + target->path.size() + target->query.size() <= size + 1);
    CheckClean(target->path);
  }
  // No name of another machine is ours, whatever it begins with.
  static const HostPolicy policy("127.0.0.1", 6060, {});
  Check(!policy.Allows(std::string(text) + ".example.com"));
  return 0;
}
