// Which handler answers which path.
#ifndef FIBERSCOPE_SERVER_HTTP_ROUTER_H_
#define FIBERSCOPE_SERVER_HTTP_ROUTER_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/message.h"
#include "server/http/response_writer.h"

namespace fiberscope::server {

using Handler = std::function<void(const Request&, ResponseWriter&)>;

struct Route {
  std::string path;      // exact, or a prefix when it ends in '/': the longest one that matches wins
  bool exact = false;    // a path that ends in '/' but is no prefix
  bool post = false;     // POST is accepted besides GET and HEAD
  bool slow = false;     // runs on a work thread: it collects, symbolizes, or writes much
  Handler handler;
};

// What the router decides for a request, before its body is read.
struct Decision {
  const Route* route = nullptr;  // null: answer with `response`
  Response response;
};

// Thread-safe (immutable). Never blocks.
class Router {
 public:
  explicit Router(std::vector<Route> routes);

  // 404, 405 with Allow, or a redirect: to the same path with a slash, or cleaned of empty and dot segments, when that is one
  // of ours. Redirects are made of our own routes' text, and of the query only if that has none but harmless characters.
  Decision Decide(const Request& request) const;

 private:
  const Route* Find(std::string_view path) const;

  std::vector<Route> routes_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_ROUTER_H_
