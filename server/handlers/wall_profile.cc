#include "server/handlers/wall_profile.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/encode/folded_text.h"
#include "pprof/encode/proto_encoder.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kDefaultSeconds = 30;
constexpr int64_t kMaxSeconds = 300;

enum class Format { kProto, kFolded };

struct Parameters {
  std::chrono::seconds seconds{kDefaultSeconds};
  pprof::WallOptions options;
  Format format = Format::kProto;
};

absl::StatusOr<Format> ParseFormat(const Query& query) {
  const absl::StatusOr<std::optional<std::string>> text = query.Get("format");
  if (!text.ok()) return text.status();
  const std::string name = text->value_or("");
  if (name == "" || name == "pprof") return Format::kProto;
  if (name == "folded") return Format::kFolded;
  return BadParameter("format", "must be pprof or folded");
}

absl::StatusOr<Parameters> ParseParameters(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<std::optional<int64_t>> seconds = query->GetIntegerBetween("seconds", 1, kMaxSeconds);
  if (!seconds.ok()) return seconds.status();
  const absl::StatusOr<std::optional<int64_t>> hz = query->GetIntegerBetween("hz", 1, pprof::WallOptions::kMaxHz);
  if (!hz.ok()) return hz.status();
  const absl::StatusOr<Format> format = ParseFormat(*query);
  if (!format.ok()) return format.status();
  Parameters parameters;
  parameters.seconds = std::chrono::seconds(seconds->value_or(kDefaultSeconds));
  parameters.options.hz = static_cast<int>(hz->value_or(parameters.options.hz));
  parameters.format = *format;
  return parameters;
}

ResponseHead Head(Format format) {
  if (format == Format::kFolded) return {};
  return {.content_type = "application/octet-stream", .fields = {{"Content-Disposition", "attachment; filename=\"wall\""}}};
}

absl::Status WriteProfile(const Parameters& parameters, pprof::Symbolizer& symbolizer, const pprof::WallInputs& inputs,
                          ResponseWriter& writer) {
  const absl::StatusOr<pprof::Profile> profile =
      pprof::SampleWall(parameters.options, parameters.seconds, symbolizer,
                        [&writer](std::chrono::nanoseconds time) { return writer.WaitFor(time); }, inputs);
  if (!profile.ok()) return profile.status();
  return parameters.format == Format::kFolded ? pprof::WriteFolded(*profile, writer) : pprof::EncodeProfile(*profile, writer);
}

}  // namespace

Handler MakeWallProfileHandler(pprof::Symbolizer& symbolizer, pprof::WallInputs inputs) {
  return [&symbolizer, inputs = std::move(inputs)](const Request& request, ResponseWriter& writer) {
    const absl::StatusOr<Parameters> parameters = ParseParameters(request);
    if (!parameters.ok()) return writer.Send(ErrorResponse(400, parameters.status()));
    writer.Begin(Head(parameters->format));
    absl::Status status;
    if (request.method != Method::kHead) status = WriteProfile(*parameters, symbolizer, inputs, writer);
    if (status.ok()) {
      (void)writer.Finish();
    } else {
      writer.Fail(status);
    }
  };
}

}  // namespace fiberscope::server
