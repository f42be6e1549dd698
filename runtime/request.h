// Which request a fiber works for: a request id, for people and logs, and its place in a distributed trace.
//
//   void Serve(const HttpRequest& http) {
//     const RequestScope scope(AcceptRequest({.request_id = http["X-Request-Id"], .traceparent = http["traceparent"],
//                                             .tracestate = http["tracestate"]}));
//     ...                                       // this block, and the fibers spawned in it
//     const TraceContext call = this_fiber::request()->ChildSpan();
//     Send(other, {{"traceparent", PrintTraceparent(call)}, {"tracestate", call.state}});
//   }
//
// The identity is a value of the fiber's context (context.h), so spawned fibers inherit it, and a message that carries a Context
// carries it through a channel. In a RequestScope it is among the fiber's labels too, so dumps and profiles show it; log lines have
// it by themselves (server/log/log.h).
#ifndef FIBERSCOPE_RUNTIME_REQUEST_H_
#define FIBERSCOPE_RUNTIME_REQUEST_H_

#include <cstdint>
#include <string_view>

#include "runtime/context.h"
#include "runtime/request_id.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_context.h"

namespace fiberscope {

struct RequestIdentity {
  RequestId id = RequestId::New();
  TraceContext trace;              // span_id: ours, of this request in this service
  SpanId parent_span_id = SpanId();  // the caller's; none: the trace begins here

  // What to send with a call to another service, which takes it for its parent: the same trace, a new span.
  TraceContext ChildSpan() const;

  bool operator==(const RequestIdentity&) const = default;
};

// What came with a request. Empty: nothing did. Of a header that came several times, the values joined by commas; a traceparent
// is refused then, as it has to be.
struct ReceivedIdentity {
  std::string_view request_id = {};
  std::string_view traceparent = {};
  std::string_view tracestate = {};
};

// Takes over what is well-formed and makes the rest anew: an id, a trace (not sampled: nobody exports it from here), and always a
// span. What is malformed is counted, and otherwise as if it had not come; without a traceparent a tracestate says nothing.
// Thread-safe. Cost: 0.6 us, 1.3 us if all is made anew.
RequestIdentity AcceptRequest(const ReceivedIdentity& received = {});

// Since the process began.
struct MalformedIdentityCounts {
  uint64_t request_ids = 0;
  uint64_t traceparents = 0;
  uint64_t tracestates = 0;
};
MalformedIdentityCounts MalformedIdentities();

// The calling fiber works for that request until the end of the block, with the labels request_id and trace_id. Ends as a
// ContextScope does. Fiber-only. Cost: 0.3 us, of which most is making the labels.
class [[nodiscard]] RequestScope {
 public:
  explicit RequestScope(RequestIdentity identity);
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

 private:
  ContextScope context_;
  this_fiber::LabelsScope labels_;
};

namespace this_fiber {

// Null: none, or a plain thread. Valid until the fiber's current context changes: for RequestScopes around the caller, as long as
// they last. Any thread. Cost: 3 ns, and 0.5 ns for each context between it and the one with the request.
const RequestIdentity* request();

}  // namespace this_fiber
}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_REQUEST_H_
