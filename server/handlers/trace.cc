#include "server/handlers/trace.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "pprof/sources/heap.h"
#include "pprof/trace/go122_encoder.h"
#include "pprof/trace/trace_frames.h"
#include "runtime/execution_trace.h"
#include "server/handlers/exclusive.h"
#include "server/handlers/trace_output.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr double kDefaultSeconds = 1;
constexpr double kMaxSeconds = 300;
constexpr std::chrono::nanoseconds kGeneration = std::chrono::seconds(1);
// How often the heap counter is read.
constexpr std::chrono::nanoseconds kLook = std::chrono::milliseconds(100);

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
  TraceOutput output;
};

absl::StatusOr<Parameters> ParseParameters(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<TraceOutput> output = ParseTraceOutput(*query);
  if (!output.ok()) return output.status();
  const absl::StatusOr<std::chrono::nanoseconds> time = ParseSeconds(*query);
  if (!time.ok()) return time.status();
  return Parameters{.time = *time, .output = *output};
}

// Waits, and notes meanwhile how many bytes are allocated.
absl::Status WaitAndLook(std::chrono::nanoseconds time, ResponseWriter& writer) {
  for (; time.count() > 0; time -= kLook) {
    if (const auto heap = pprof::ReadHeapStats(); heap.ok()) ExecutionTrace::NoteHeapBytes(static_cast<uint64_t>(heap->allocated));
    if (absl::Status status = writer.WaitFor(std::min(time, kLook)); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Takes each generation about once a second, until the time is up, there is enough, or the consumer has an error.
absl::Status Record(ExecutionTrace& trace, const Parameters& wanted, ResponseWriter& writer,
                    absl::FunctionRef<absl::Status(TraceGenerations)> consume) {
  absl::Status status;
  uint64_t bytes = 0;
  for (std::chrono::nanoseconds left = wanted.time; status.ok() && bytes < wanted.output.max_bytes(); left -= kGeneration) {
    status = WaitAndLook(std::min(left, kGeneration), writer);
    if (!status.ok() || left <= kGeneration) break;
    TraceGenerations next = trace.Next();
    for (const auto& each : next) bytes += each->recorded_bytes();
    status = consume(std::move(next));
  }
  TraceGenerations last = trace.Stop();
  return status.ok() ? consume(std::move(last)) : status;
}

absl::Status Stream(ExecutionTrace& trace, const Parameters& wanted, pprof::TraceFrames& frames, ResponseWriter& writer) {
  pprof::Go122Encoder encoder(frames, writer, wanted.output.format);
  if (absl::Status status = encoder.Begin(); !status.ok()) return status;
  return Record(trace, wanted, writer, [&encoder](TraceGenerations next) {
    for (const auto& each : next) {
      if (absl::Status status = encoder.Write(*each); !status.ok()) return status;
    }
    return absl::OkStatus();
  });
}

absl::Status Convert(ExecutionTrace& trace, const Parameters& wanted, pprof::TraceFrames& frames, ResponseWriter& writer) {
  TraceGenerations all;
  const absl::Status status = Record(trace, wanted, writer, [&all](TraceGenerations next) {
    std::ranges::move(next, std::back_inserter(all));
    return absl::OkStatus();
  });
  return status.ok() ? WriteTrace(all, wanted.output, frames, writer) : status;
}

void TakeTrace(const Parameters& wanted, pprof::Symbolizer& symbolizer, ResponseWriter& writer) {
  absl::StatusOr<std::unique_ptr<ExecutionTrace>> trace = ExecutionTrace::Start();
  if (!trace.ok()) return writer.Send(g_exclusive.Refusal("Could not enable tracing", trace.status()));
  g_exclusive.TakenFor(wanted.time);
  writer.Begin(TraceHead(wanted.output));
  const std::unique_ptr<pprof::TraceFrames> frames = pprof::MakeTraceFrames(symbolizer);
  const absl::Status status = wanted.output.is_streamed() ? Stream(**trace, wanted, *frames, writer)  //
                                                          : Convert(**trace, wanted, *frames, writer);
  if (status.ok()) {
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
    writer.Begin(TraceHead(wanted->output));
    (void)writer.Finish();
  };
}

}  // namespace fiberscope::server
