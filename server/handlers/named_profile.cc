#include "server/handlers/named_profile.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/encode/proto_encoder.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxDebug = std::numeric_limits<int32_t>::max();

// The form to answer in: 0, 1 or 2.
absl::StatusOr<int> ParseParameters(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<std::optional<std::string>> text = query->Get("seconds");
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::optional<int64_t>> seconds = query->GetInteger("seconds", kMaxInteger);
  if (!seconds.ok() || seconds->value_or(1) == 0) {
    return absl::InvalidArgumentError("invalid value for \"seconds\" - must be a positive integer");
  }
  const absl::StatusOr<std::optional<int64_t>> gc = query->GetInteger("gc", kMaxInteger);
  if (!gc.ok()) return gc.status();
  const absl::StatusOr<std::optional<int64_t>> debug = query->GetInteger("debug", kMaxDebug);
  if (!debug.ok()) return debug.status();
  if (seconds->has_value()) {
    return absl::InvalidArgumentError("\"seconds\" parameter is not supported for this profile type");
  }
  return static_cast<int>(std::min<int64_t>(debug->value_or(0), 2));
}

std::string Message(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

// As a quoted-string of RFC 9110.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    quoted.push_back(c);
  }
  return quoted + "\"";
}

absl::Status WriteProto(pprof::ProfileSource& source, ResponseWriter& writer) {
  const absl::StatusOr<pprof::Profile> profile = source.Collect();
  return profile.ok() ? pprof::EncodeProfile(*profile, writer) : profile.status();
}

void SendProfile(pprof::ProfileSource& source, int debug, bool head_only, ResponseWriter& writer) {
  ResponseHead head;
  if (debug == 0) {
    head.content_type = "application/octet-stream";
    head.fields = {{"Content-Disposition", "attachment; filename=" + Quoted(source.name())}};
  }
  writer.Begin(std::move(head));
  absl::Status status;
  if (!head_only) status = debug == 0 ? WriteProto(source, writer) : source.WriteText(debug, writer);
  if (status.ok()) {
    (void)writer.Finish();
  } else {
    writer.Fail(absl::Status(status.code(), "failed to collect profile: " + Message(status)));
  }
}

}  // namespace

Handler MakeNamedProfileHandler(const pprof::ProfileCatalog& catalog, std::string prefix) {
  return [&catalog, prefix = std::move(prefix)](const Request& request, ResponseWriter& writer) {
    pprof::ProfileSource* const source = catalog.Find(std::string_view(request.path).substr(prefix.size()));
    if (source == nullptr) {
      writer.Send(ErrorResponse(404, "Unknown profile"));
      return;
    }
    const absl::StatusOr<int> debug = ParseParameters(request);
    if (!debug.ok()) {
      writer.Send(ErrorResponse(400, Message(debug.status())));
      return;
    }
    SendProfile(*source, *debug, request.method == Method::kHead, writer);
  };
}

}  // namespace fiberscope::server
