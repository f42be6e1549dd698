// Around a request that a service answers: makes it visible everywhere, from its beginning to its end.
//
//   void Answer(const HttpRequest& request, HttpResponse& response) {
//     ServedRequest served(requests, {.identity = AcceptRequest(...), .route = "/order", .method = "GET"});
//     ...
//     served.set_status(response.status());
//   }
//
// Within it log lines, dumps, profiles and traces name the request, on this fiber and on those it spawns: it is a RequestScope
// (runtime/request.h), with the label `route` besides request_id and trace_id, and a TraceTask with the request's id as a log. The
// registry shows it at /debug/requests, and counts it when it ends.
#ifndef FIBERSCOPE_SERVER_REQUESTS_SERVED_REQUEST_H_
#define FIBERSCOPE_SERVER_REQUESTS_SERVED_REQUEST_H_

#include <string_view>

#include "runtime/request.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"
#include "server/requests/request_registry.h"

namespace fiberscope::server {

struct ServedRequestOptions {
  RequestIdentity identity;
  std::string_view route;        // one of few, see RequestRegistry
  std::string_view method = {};
  std::string_view task = {};    // the trace task's name; "": the route
};

// Belongs on the stack of the fiber that serves the request. Ends as a ContextScope does. Fiber-only. Blocks the thread for a few
// dozen instructions, at both ends. Cost: 0.5 us while nobody traces, most of it for the labels (tests/bench:request_bench).
class [[nodiscard]] ServedRequest {
 public:
  ServedRequest(RequestRegistry& registry, const ServedRequestOptions& options);
  ~ServedRequest() { registry_.End(place_, status_); }
  ServedRequest(const ServedRequest&) = delete;
  ServedRequest& operator=(const ServedRequest&) = delete;

  // How it is answered: an HTTP status. If it is never said, the request ends without an answer.
  void set_status(int status) { status_ = status; }

 private:
  const this_fiber::LabelsScope route_;
  const RequestScope request_;
  const TraceTask task_;
  RequestRegistry& registry_;
  const RequestRegistry::Place place_;  // refers to the identity in request_
  int status_ = 0;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_REQUESTS_SERVED_REQUEST_H_
