#include "server/requests/request_fibers.h"

#include <algorithm>

#include "runtime/registry.h"

namespace fiberscope::server {

RequestFibers FindRequestFibers(const std::vector<RouteSnapshot>& routes) {
  RequestFibers fibers;
  for (const RouteSnapshot& route : routes) {
    for (const RequestSnapshot& request : route.oldest) fibers[request.identity.id.text()];
  }
  if (fibers.empty()) return fibers;
  ForEachFiber({.stacks = false}, [&](const FiberSnapshot& fiber) {
    const auto label = std::ranges::find(fiber.labels, "request_id", &Label::key);
    if (label == fiber.labels.end()) return true;
    const auto at = fibers.find(label->value);
    if (at != fibers.end() && at->second.size() < kMaxFibersOfRequest) at->second.push_back(fiber.id);
    return true;
  });
  for (auto& [id, found] : fibers) std::ranges::sort(found);
  return fibers;
}

}  // namespace fiberscope::server
