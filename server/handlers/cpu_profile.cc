#include "server/handlers/cpu_profile.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/mappings.h"
#include "pprof/sources/cpu.h"
#include "runtime/cpu_profiler.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

using std::chrono::steady_clock;

constexpr int64_t kDefaultSeconds = 30;
constexpr int64_t kMaxSeconds = 300;

// When the profile that some request is taking ends. There is one at a time in the process.
constinit std::atomic<steady_clock::rep> g_ends_at{0};

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

Response StartError(const absl::Status& status) {
  const bool in_use = status.code() == absl::StatusCode::kAlreadyExists;
  Response response = ErrorResponse(in_use ? 429 : 500, absl::StrCat("Could not enable CPU profiling: ", status.message()));
  if (in_use) {
    const steady_clock::time_point ends_at{steady_clock::duration(g_ends_at.load(std::memory_order_relaxed))};
    const auto left = std::chrono::ceil<std::chrono::seconds>(ends_at - steady_clock::now());
    response.head.fields.emplace_back("Retry-After", absl::StrCat(std::max<int64_t>(left.count(), 1)));
  }
  return response;
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
  if (!profiler.ok()) return writer.Send(StartError(profiler.status()));
  g_ends_at.store((steady_clock::now() + parameters.seconds).time_since_epoch().count(), std::memory_order_relaxed);
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
