#include "server/handlers/trace.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/trace_frames.h"
#include "pprof/trace/trace_reason_text.h"
#include "runtime/execution_trace.h"
#include "server/handlers/exclusive.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr double kDefaultSeconds = 1;
constexpr double kMaxSeconds = 300;
constexpr std::chrono::nanoseconds kGeneration = std::chrono::seconds(1);
constexpr uint64_t kMaxBytes = 256 << 20;

constinit Exclusive g_exclusive;

absl::StatusOr<std::chrono::nanoseconds> ParseSeconds(const Query& query) {
  const absl::StatusOr<std::optional<std::string>> text = query.Get("seconds");
  if (!text.ok()) return text.status();
  double seconds = kDefaultSeconds;
  if (text->has_value() && !(*text)->empty()) {
    const bool is_decimal = (*text)->find_first_not_of("0123456789.") == std::string::npos;
    if (!is_decimal || !absl::SimpleAtod(**text, &seconds) || seconds <= 0 || seconds > kMaxSeconds) {
      return BadParameter("seconds", "must be a number of seconds, more than 0 and at most 300, such as 5 or 0.5");
    }
  }
  return std::chrono::nanoseconds(static_cast<int64_t>(std::ceil(seconds * 1e9)));
}

struct Parameters {
  std::chrono::nanoseconds time{0};
  pprof::TraceFormat format = pprof::TraceFormat::kGo122;
};

absl::StatusOr<Parameters> ParseParameters(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<std::optional<std::string>> format = query->Get("format");
  if (!format.ok()) return format.status();
  Parameters parameters;
  if (const std::string name = format->value_or(""); name == "go1.23") {
    parameters.format = pprof::TraceFormat::kGo123;
  } else if (!name.empty() && name != "go1.22") {
    return BadParameter("format", "must be go1.22 or go1.23");
  }
  const absl::StatusOr<std::chrono::nanoseconds> time = ParseSeconds(*query);
  if (!time.ok()) return time.status();
  parameters.time = *time;
  return parameters;
}

ResponseHead Head() {
  return {.content_type = "application/octet-stream", .fields = {{"Content-Disposition", "attachment; filename=\"trace\""}}};
}

absl::Status Write(TraceGeneration generation, pprof::Go122Encoder& encoder) {
  pprof::AddTraceReasons(generation);
  return encoder.Write(generation);
}

absl::Status Record(ExecutionTrace& trace, const Parameters& wanted, pprof::Symbolizer& symbolizer, ResponseWriter& writer) {
  const std::unique_ptr<pprof::TraceFrames> frames = pprof::MakeTraceFrames(symbolizer);
  pprof::Go122Encoder encoder(*frames, writer, wanted.format);
  absl::Status status = encoder.Begin();
  for (std::chrono::nanoseconds left = wanted.time; status.ok() && encoder.bytes_written() < kMaxBytes; left -= kGeneration) {
    status = writer.WaitFor(std::min(left, kGeneration));
    if (!status.ok() || left <= kGeneration) break;
    status = Write(trace.Next(), encoder);
  }
  TraceGeneration last = trace.Stop();
  return status.ok() ? Write(std::move(last), encoder) : status;
}

void TakeTrace(const Parameters& wanted, pprof::Symbolizer& symbolizer, ResponseWriter& writer) {
  absl::StatusOr<std::unique_ptr<ExecutionTrace>> trace = ExecutionTrace::Start();
  if (!trace.ok()) return writer.Send(g_exclusive.Refusal("Could not enable tracing", trace.status()));
  g_exclusive.TakenFor(wanted.time);
  writer.Begin(Head());
  if (const absl::Status status = Record(**trace, wanted, symbolizer, writer); status.ok()) {
    (void)writer.Finish();
  } else {
    writer.Fail(status);
  }
}

}  // namespace

Handler MakeTraceHandler(pprof::Symbolizer& symbolizer) {
  return [&symbolizer](const Request& request, ResponseWriter& writer) {
    const absl::StatusOr<Parameters> wanted = ParseParameters(request);
    if (!wanted.ok()) return writer.Send(ErrorResponse(400, wanted.status()));
    if (request.method != Method::kHead) return TakeTrace(*wanted, symbolizer, writer);
    writer.Begin(Head());
    (void)writer.Finish();
  };
}

}  // namespace fiberscope::server
