#include "runtime/request.h"

#include <atomic>
#include <optional>
#include <utility>

#include "runtime/current_fiber.h"

namespace fiberscope {
namespace {

constexpr ContextKey<RequestIdentity> kRequest("request");

// One for each field of MalformedIdentityCounts.
constinit std::atomic<uint64_t> malformed_request_ids{0};
constinit std::atomic<uint64_t> malformed_traceparents{0};
constinit std::atomic<uint64_t> malformed_tracestates{0};

// The value, if something came and is well-formed; what came and is not is counted.
template <typename Parse>
auto Accept(std::string_view text, Parse parse, std::atomic<uint64_t>& malformed) {
  auto value = text.empty() ? std::nullopt : parse(text);
  if (!text.empty() && !value.has_value()) malformed.fetch_add(1, std::memory_order_relaxed);
  return value;
}

Labels LabelsOf(const RequestIdentity& identity) {
  return this_fiber::labels().With({{"request_id", identity.id.text()}, {"trace_id", identity.trace.trace_id.ToString()}});
}

}  // namespace

TraceContext RequestIdentity::ChildSpan() const {
  TraceContext child = trace;
  child.span_id = SpanId::New();
  return child;
}

RequestIdentity AcceptRequest(const ReceivedIdentity& received) {
  std::optional<RequestId> id = Accept(received.request_id, &RequestId::Parse, malformed_request_ids);
  std::optional<TraceContext> trace = Accept(received.traceparent, &ParseTraceparent, malformed_traceparents);
  RequestIdentity identity{.id = id.has_value() ? *std::move(id) : RequestId::New(), .trace = {}};
  if (trace.has_value()) {
    identity.parent_span_id = trace->span_id;
    identity.trace = *std::move(trace);
    identity.trace.state = Accept(received.tracestate, &ParseTracestate, malformed_tracestates).value_or("");
  } else {
    identity.trace.trace_id = TraceId::New();
  }
  identity.trace.span_id = SpanId::New();
  return identity;
}

MalformedIdentityCounts MalformedIdentities() {
  return {.request_ids = malformed_request_ids.load(std::memory_order_relaxed),
          .traceparents = malformed_traceparents.load(std::memory_order_relaxed),
          .tracestates = malformed_tracestates.load(std::memory_order_relaxed)};
}

RequestScope::RequestScope(RequestIdentity identity)
    : context_(this_fiber::context().With(kRequest, std::move(identity))), labels_(LabelsOf(*this_fiber::request())) {}

// Not by Context::Get(), which would take and drop a reference to the context: the fiber holds one.
const RequestIdentity* this_fiber::request() {
  const internal::ControlBlock* const fiber = internal::CurrentFiber();
  if (fiber == nullptr) return nullptr;
  for (const internal::ContextNode* node = internal::ContextOf(*fiber); node != nullptr; node = node->parent) {
    if (node->key == &kRequest) return static_cast<const RequestIdentity*>(node->value);
  }
  return nullptr;
}

}  // namespace fiberscope
