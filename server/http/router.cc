#include "server/http/router.h"

#include <utility>

#include "server/http/path.h"

namespace fiberscope::server {
namespace {

// Format: Go 1.27 http.Redirect and ServeMux's path redirects.
Response RedirectTo(std::string path, const Request& request) {
  Response response;
  if (!request.raw_query.empty() && IsSafeQuery(request.raw_query)) path += "?" + request.raw_query;
  response.head.status = 307;
  response.head.content_type = "text/html; charset=utf-8";
  // The link is escaped where a query can need it.
  std::string link;
  for (const char c : path) link += c == '&' ? "&amp;" : c == '\'' ? "&#39;" : std::string(1, c);
  response.body = "<a href=\"" + link + "\">Temporary Redirect</a>.\n\n";
  response.head.fields = {{"Location", std::move(path)}};
  return response;
}

Response MethodNotAllowed(const Route& route) {
  Response response;
  response.head.status = 405;
  response.head.fields = {{"Allow", route.post ? "GET, HEAD, POST" : "GET, HEAD"}};
  response.body = "Method Not Allowed\n";
  return response;
}

Response NotFound() {
  Response response;
  response.head.status = 404;
  response.body = "404 page not found\n";
  return response;
}

}  // namespace

Router::Router(std::vector<Route> routes) : routes_(std::move(routes)) {}

const Route* Router::Find(std::string_view path) const {
  const Route* best = nullptr;
  for (const Route& route : routes_) {
    const bool prefix = !route.exact && route.path.back() == '/';
    if (path == route.path) return &route;
    if (prefix && path.starts_with(route.path) && (best == nullptr || route.path.size() > best->path.size())) {
      best = &route;
    }
  }
  return best;
}

Decision Router::Decide(const Request& request) const {
  const std::string clean = CleanPath(request.path);
  if (clean != request.path) {
    for (const Route& route : routes_) {
      if (clean == route.path) return {nullptr, RedirectTo(route.path, request)};
    }
    return {nullptr, NotFound()};
  }
  const Route* const route = Find(request.path);
  if (route == nullptr) {
    for (const Route& other : routes_) {
      if (other.path == request.path + "/") return {nullptr, RedirectTo(other.path, request)};
    }
    return {nullptr, NotFound()};
  }
  const bool allowed = request.method == Method::kGet || request.method == Method::kHead ||
                       (request.method == Method::kPost && route->post);
  if (!allowed) return {nullptr, MethodNotAllowed(*route)};
  return {route, {}};
}

}  // namespace fiberscope::server
