#include "server/handlers/cpu_profile.h"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/mappings.h"
#include "pprof/sources/cpu.h"
#include "runtime/cpu_profiler.h"
#include "server/handlers/exclusive.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kDefaultSeconds = 30;
constexpr int64_t kMaxSeconds = 300;

constinit Exclusive g_exclusive;

struct Parameters {
  std::chrono::seconds seconds{kDefaultSeconds};
  CpuProfilerOptions profiler;
};

absl::StatusOr<Parameters> ParseParameters(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<std::optional<int64_t>> seconds = query->GetIntegerBetween("seconds", 1, kMaxSeconds);
  if (!seconds.ok()) return seconds.status();
  const absl::StatusOr<std::optional<int64_t>> hz = query->GetIntegerBetween("hz", 1, CpuProfilerOptions::kMaxHz);
  if (!hz.ok()) return hz.status();
  Parameters parameters;
  parameters.seconds = std::chrono::seconds(seconds->value_or(kDefaultSeconds));
  parameters.profiler.hz = static_cast<int>(hz->value_or(parameters.profiler.hz));
  return parameters;
}

ResponseHead Head() {
  return {.content_type = "application/octet-stream", .fields = {{"Content-Disposition", "attachment; filename=\"profile\""}}};
}

absl::Status Write(const CpuProfile& sampled, pprof::Symbolizer& symbolizer, CpuProfileFormat format, ResponseWriter& writer) {
  if (format == CpuProfileFormat::kLegacy) return pprof::WriteLegacyCpuProfile(sampled, pprof::ReadProcessMaps(), writer);
  return pprof::EncodeProfile(pprof::MakeCpuProfile(sampled, symbolizer, pprof::ReadProcessMappings()), writer);
}

void TakeProfile(const Parameters& parameters, pprof::Symbolizer& symbolizer, CpuProfileFormat format, ResponseWriter& writer) {
  absl::StatusOr<std::unique_ptr<CpuProfiler>> profiler = CpuProfiler::Start(parameters.profiler);
  if (!profiler.ok()) return writer.Send(g_exclusive.Refusal("Could not enable CPU profiling", profiler.status()));
  g_exclusive.TakenFor(parameters.seconds);
  writer.Begin(Head());
  absl::Status status = writer.WaitFor(parameters.seconds);
  const CpuProfile sampled = (*profiler)->Stop();
  if (status.ok()) status = Write(sampled, symbolizer, format, writer);
  if (status.ok()) {
    (void)writer.Finish();
  } else {
    writer.Fail(status);
  }
}

}  // namespace

Handler MakeCpuProfileHandler(pprof::Symbolizer& symbolizer, CpuProfileFormat format) {
  return [&symbolizer, format](const Request& request, ResponseWriter& writer) {
    const absl::StatusOr<Parameters> parameters = ParseParameters(request);
    if (!parameters.ok()) return writer.Send(ErrorResponse(400, parameters.status()));
    if (request.method != Method::kHead) return TakeProfile(*parameters, symbolizer, format, writer);
    writer.Begin(Head());
    (void)writer.Finish();
  };
}

}  // namespace fiberscope::server
