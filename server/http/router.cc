#include "server/http/router.h"

#include <utility>

#include "server/http/path.h"
#include "server/render/html.h"

namespace fiberscope::server {
namespace {

// Format: Go 1.27 http.Redirect and ServeMux's path redirects.
Response RedirectTo(std::string path, const Request& request) {
  Response response;
  if (!request.raw_query.empty() && IsSafeQuery(request.raw_query)) path += "?" + request.raw_query;
  response.head.status = 307;
  response.head.content_type = "text/html; charset=utf-8";
  response.body = "<a href=\"" + EscapeHtml(path) + "\">Temporary Redirect</a>.\n\n";
  response.head.fields = {{"Location", std::move(path)}};
  return response;
}

Response MethodNotAllowed(const Route& route) {
  Response response;
  response.head.status = 405;
  response.head.fields = {{"Allow", std::string("GET, HEAD") + (route.post ? ", POST" : "") + (route.put ? ", PUT" : "")}};
  response.body = "Method Not Allowed\n";
  return response;
}

Response ChangeForbidden() {
  return ErrorResponse(403,
                       "a change needs the header X-Fiberscope-Change (curl -H 'X-Fiberscope-Change: 1'), and is not taken from "
                       "pages of other sites");
}

// Whether a route that is not exact answers `path`.
bool Covers(const Route& route, std::string_view path) {
  return path == route.path || (route.path.ends_with('/') && path.starts_with(route.path));
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
    if (route.exact ? path != route.path : !Covers(route, path)) continue;
    // The longer path wins; of the same path, the exact route.
    if (best == nullptr || route.path.size() > best->path.size() || (route.path.size() == best->path.size() && route.exact)) {
      best = &route;
    }
  }
  return best;
}

const Route* Router::FindRedirect(std::string_view clean, std::string_view path) const {
  for (const Route& route : routes_) {
    if (route.path == clean && clean != path) return &route;
    if (route.path.size() == clean.size() + 1 && route.path.starts_with(clean) && route.path.back() == '/') return &route;
  }
  return nullptr;
}

Decision Router::Decide(const Request& request) const {
  const std::string clean = CleanPath(request.path);
  const Route* const route = clean == request.path ? Find(clean) : nullptr;
  if (route == nullptr) {
    const Route* const other = FindRedirect(clean, request.path);
    return {nullptr, other == nullptr ? NotFound() : RedirectTo(other->path, request)};
  }
  const bool allowed = request.method == Method::kGet || request.method == Method::kHead ||
                       (request.method == Method::kPost && route->post) || (request.method == Method::kPut && route->put);
  if (!allowed) return {nullptr, MethodNotAllowed(*route)};
  if (request.method == Method::kPut && !request.may_change) return {nullptr, ChangeForbidden()};
  return {route, {}};
}

}  // namespace fiberscope::server
