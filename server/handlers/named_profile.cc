#include "server/handlers/named_profile.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/fiber_profile_source.h"
#include "server/handlers/fiber_parameters.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxDebug = std::numeric_limits<int32_t>::max();

constexpr char kNextAfter[] = "X-Fiberscope-Next-After";

struct Parameters {
  int debug = 0;  // the form to answer in: 0, 1 or 2
  FiberParameters fibers;
};

absl::StatusOr<Parameters> ParseParameters(const Request& request, pprof::ProfileSource& source) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<std::optional<std::string>> text = query->Get("seconds");
  if (!text.ok()) return text.status();
  const absl::StatusOr<std::optional<int64_t>> seconds = query->GetInteger("seconds", kMaxInteger);
  if (!seconds.ok() || seconds->value_or(1) == 0) {
    return BadParameter("seconds", "must be a positive integer");
  }
  const absl::StatusOr<std::optional<int64_t>> gc = query->GetInteger("gc", kMaxInteger);
  if (!gc.ok()) return gc.status();
  const absl::StatusOr<std::optional<int64_t>> debug = query->GetInteger("debug", kMaxDebug);
  if (!debug.ok()) return debug.status();
  if (seconds->has_value()) {
    return absl::InvalidArgumentError("\"seconds\" parameter is not supported for this profile type");
  }
  Parameters parameters;
  parameters.debug = static_cast<int>(std::min<int64_t>(debug->value_or(0), 2));
  if (source.fibers() == nullptr) {
    if (absl::Status status = RefuseFiberParameters(*query); !status.ok()) return status;
    return parameters;
  }
  absl::StatusOr<FiberParameters> fibers = ParseFiberParameters(*query, parameters.debug);
  if (!fibers.ok()) return fibers.status();
  parameters.fibers = *std::move(fibers);
  return parameters;
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

absl::StatusOr<pprof::Profile> Collect(pprof::ProfileSource& source, const FiberParameters& fibers) {
  const bool plain = fibers.filter.empty() && fibers.tags.empty();
  return plain ? source.Collect() : source.fibers()->Collect(fibers.filter, fibers.tags);
}

absl::Status WriteBody(pprof::ProfileSource& source, const Parameters& parameters, ResponseWriter& writer) {
  if (parameters.debug == 0) {
    const absl::StatusOr<pprof::Profile> profile = Collect(source, parameters.fibers);
    return profile.ok() ? pprof::EncodeProfile(*profile, writer) : profile.status();
  }
  const pprof::FiberFilter& filter = parameters.fibers.filter;
  return filter.empty() ? source.WriteText(parameters.debug, writer)
                        : source.fibers()->WriteText(filter, parameters.debug, writer);
}

void Finish(const absl::Status& status, ResponseWriter& writer) {
  if (status.ok()) {
    (void)writer.Finish();
  } else {
    writer.Fail(absl::Status(status.code(), "failed to collect profile: " + Message(status)));
  }
}

void SendProfile(pprof::ProfileSource& source, const Parameters& parameters, bool head_only, ResponseWriter& writer) {
  ResponseHead head;
  if (parameters.debug == 0) {
    head.content_type = "application/octet-stream";
    head.fields = {{"Content-Disposition", "attachment; filename=" + Quoted(source.name())}};
  }
  writer.Begin(std::move(head));
  Finish(head_only ? absl::OkStatus() : WriteBody(source, parameters, writer), writer);
}

// Where the next page begins is known when this one has been collected, and said before it is written.
void SendPage(pprof::FiberProfileSource& source, const FiberParameters& parameters, ResponseWriter& writer) {
  const pprof::FiberPage page = source.CollectPage(parameters.filter, *parameters.page);
  ResponseHead head;
  if (const std::optional<FiberId> next = page.next_after()) head.fields = {{kNextAfter, std::to_string(next->value)}};
  writer.Begin(std::move(head));
  Finish(source.WritePage(page, writer), writer);
}

}  // namespace

Handler MakeNamedProfileHandler(const pprof::ProfileCatalog& catalog, std::string prefix) {
  return [&catalog, prefix = std::move(prefix)](const Request& request, ResponseWriter& writer) {
    pprof::ProfileSource* const source = catalog.Find(std::string_view(request.path).substr(prefix.size()));
    if (source == nullptr) {
      writer.Send(ErrorResponse(404, "Unknown profile"));
      return;
    }
    const absl::StatusOr<Parameters> parameters = ParseParameters(request, *source);
    if (!parameters.ok()) {
      writer.Send(ErrorResponse(400, Message(parameters.status())));
      return;
    }
    const bool head_only = request.method == Method::kHead;
    if (parameters->fibers.page && !head_only) {
      SendPage(*source->fibers(), parameters->fibers, writer);
    } else {
      SendProfile(*source, *parameters, head_only, writer);
    }
  };
}

}  // namespace fiberscope::server
