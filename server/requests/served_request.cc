#include "server/requests/served_request.h"

namespace fiberscope::server {

ServedRequest::ServedRequest(RequestRegistry& registry, const ServedRequestOptions& options)
    : route_(this_fiber::labels().With({{"route", options.route}})),
      request_(options.identity),
      task_(options.task.empty() ? options.route : options.task),
      registry_(registry),
      place_(registry.Begin(options.route, options.method, *this_fiber::request(), this_fiber::id())) {
  TraceLog("request_id", options.identity.id.text());
}

}  // namespace fiberscope::server
