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
  std::string path = {};  // exact, or a prefix when it ends in '/': the longest one that matches wins
  bool exact = false;     // a path that ends in '/' but is no prefix; wins over the prefix of the same path
  bool post = false;      // POST is accepted besides GET and HEAD
  bool put = false;       // and PUT, which changes a setting, of requests that may (Request::may_change)
  bool slow = false;      // runs on a work thread: it collects, symbolizes, or writes much
  // Whether this request is one for ResponseWriter::WaitFor(): it then runs on a thread of its own kind, so that those who wait
  // for time to pass leave the work threads to those who work. Null: none is. A request for the head alone never is.
  std::function<bool(const Request&)> timed = {};
  Handler handler = {};
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

  // A route, 403 for a PUT that may change nothing, 404, 405 with Allow, or a redirect: to the path cleaned of empty and dot
  // segments, or with a slash at its end, when that is the path of a route. A path below a prefix is not redirected to its clean
  // form but not found. Redirects are made of our own routes' text, and of the query only if that has none but harmless characters.
  Decision Decide(const Request& request) const;

 private:
  const Route* Find(std::string_view path) const;
  // The route to send a client to that asked for `path`, which is `clean` when cleaned, or null.
  const Route* FindRedirect(std::string_view clean, std::string_view path) const;

  std::vector<Route> routes_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_ROUTER_H_
