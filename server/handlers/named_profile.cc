#include "server/handlers/named_profile.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "pprof/encode/proto_encoder.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kMaxDebug = std::numeric_limits<int32_t>::max();

struct Parameters {
  int debug = 0;
  bool delta = false;
};

absl::StatusOr<Parameters> ParseParameters(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const auto seconds = query->Get("seconds");
  if (!seconds.ok()) return seconds.status();
  const auto gc = query->GetInteger("gc", std::numeric_limits<int64_t>::max());
  if (!gc.ok()) return gc.status();
  const auto debug = query->GetInteger("debug", kMaxDebug);
  if (!debug.ok()) return debug.status();
  Parameters parameters;
  parameters.debug = static_cast<int>(std::min<int64_t>(debug->value_or(0), 2));
  parameters.delta = seconds->has_value() && !(*seconds)->empty();
  return parameters;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

void SendProto(pprof::ProfileSource& source, bool head_only, ResponseWriter& writer) {
  ResponseHead head;
  head.content_type = "application/octet-stream";
  head.fields = {{"Content-Disposition", absl::StrFormat("attachment; filename=\"%s\"", source.name())}};
  if (head_only) {
    writer.Begin(std::move(head));
    (void)writer.Finish();
    return;
  }
  const absl::StatusOr<pprof::Profile> profile = source.Collect();
  if (!profile.ok()) {
    writer.Send(ErrorResponse(500, "failed to collect profile: " + Message(profile.status())));
    return;
  }
  writer.Begin(std::move(head));
  if (pprof::EncodeProfile(*profile, writer).ok()) (void)writer.Finish();
}

void SendText(pprof::ProfileSource& source, int debug, bool head_only, ResponseWriter& writer) {
  writer.Begin(ResponseHead{});
  // An error is the client's leaving, or comes in the middle: either way the response ends unfinished.
  if (head_only || source.WriteText(debug, writer).ok()) (void)writer.Finish();
}

}  // namespace

Handler MakeNamedProfileHandler(const pprof::ProfileCatalog& catalog, std::string prefix) {
  return [&catalog, prefix = std::move(prefix)](const Request& request, ResponseWriter& writer) {
    pprof::ProfileSource* const source = catalog.Find(std::string_view(request.path).substr(prefix.size()));
    if (source == nullptr) {
      writer.Send(ErrorResponse(404, "Unknown profile"));
      return;
    }
    const absl::StatusOr<Parameters> parameters = ParseParameters(request);
    if (!parameters.ok()) {
      writer.Send(ErrorResponse(400, Message(parameters.status())));
      return;
    }
    if (parameters->delta) {
      writer.Send(ErrorResponse(400, "\"seconds\" parameter is not supported for this profile type"));
      return;
    }
    const bool head_only = request.method == Method::kHead;
    if (parameters->debug == 0) {
      SendProto(*source, head_only, writer);
    } else {
      SendText(*source, parameters->debug, head_only, writer);
    }
  };
}

}  // namespace fiberscope::server
