// Any bytes as what identifies a request, one line each: traceparent, tracestate, request id. Nothing crashes, and what is accepted
// is printed so that it is accepted again, as the same.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/request_id.h"
#include "runtime/trace_context.h"

namespace {

using fiberscope::ParseTraceparent;
using fiberscope::ParseTracestate;
using fiberscope::RequestId;

void Check(bool condition) {
  if (!condition) std::abort();
}

std::string_view TakeLine(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view traceparent = TakeLine(text);
  const std::string_view tracestate = TakeLine(text);
  if (const std::optional<fiberscope::TraceContext> context = ParseTraceparent(traceparent); context.has_value()) {
    Check(context->trace_id && context->span_id);
    const std::string printed = fiberscope::PrintTraceparent(*context);
    Check(printed.size() == 55);
    Check(traceparent.substr(3, 49) == std::string_view(printed).substr(3, 49));
    Check(ParseTraceparent(printed) == context);
  }
  if (const std::optional<std::string> state = ParseTracestate(tracestate); state.has_value()) {
    Check(state->size() <= tracestate.size());
    Check(ParseTracestate(*state) == state);
  }
  if (const std::optional<RequestId> id = RequestId::Parse(text); id.has_value()) {
    Check(id->text() == text);
    Check(text.find_first_of("\r\n\"\\ ") == std::string_view::npos);
  }
  return 0;
}
