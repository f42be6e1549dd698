#include "server/handlers/named_profile.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/fiber_profile_source.h"
#include "pprof/profile_delta.h"
#include "server/handlers/fiber_parameters.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxSeconds = 300;
constexpr int64_t kMaxDebug = std::numeric_limits<int32_t>::max();

constexpr char kNextAfter[] = "X-Fiberscope-Next-After";

struct Parameters {
  std::chrono::seconds interval{0};  // of a delta
  int debug = 0;  // the form to answer in: 0, 1 or 2
  bool gc = false;
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
  if (seconds->has_value() && !source.has_delta()) {
    return absl::InvalidArgumentError("\"seconds\" parameter is not supported for this profile type");
  }
  if (seconds->value_or(0) > kMaxSeconds) {
    return BadParameter("seconds", absl::StrFormat("must be at most %d", kMaxSeconds));
  }
  const absl::StatusOr<std::optional<int64_t>> gc = query->GetInteger("gc", kMaxInteger);
  if (!gc.ok()) return gc.status();
  const absl::StatusOr<std::optional<int64_t>> debug = query->GetInteger("debug", kMaxDebug);
  if (!debug.ok()) return debug.status();
  if (seconds->has_value() && debug->value_or(0) != 0) {
    return absl::InvalidArgumentError("seconds and debug params are incompatible");
  }
  Parameters parameters;
  parameters.gc = gc->value_or(0) > 0;
  parameters.interval = std::chrono::seconds(seconds->value_or(0));
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

// As a quoted-string of RFC 9110.
std::string Quoted(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted.push_back('\\');
    quoted.push_back(c);
  }
  return quoted + "\"";
}

ResponseHead BinaryHead(std::string_view file) {
  return {.content_type = "application/octet-stream",
          .fields = {{"Content-Disposition", "attachment; filename=" + Quoted(file)}}};
}

absl::StatusOr<pprof::Profile> Collect(pprof::ProfileSource& source, const FiberParameters& fibers) {
  const bool plain = fibers.filter.empty() && fibers.tags.empty();
  return plain ? source.Collect() : source.fibers()->Collect(fibers.filter, fibers.tags);
}

absl::Status WriteBody(pprof::ProfileSource& source, const Parameters& parameters, ResponseWriter& writer) {
  if (parameters.gc) source.CollectGarbage();
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
    writer.Fail(absl::Status(status.code(), absl::StrCat("failed to collect profile: ", status.message())));
  }
}

// The first profile is collected before the head goes out, so that if that fails it can be said.
void SendDelta(pprof::ProfileSource& source, const Parameters& parameters, ResponseWriter& writer) {
  const absl::StatusOr<pprof::Profile> before = Collect(source, parameters.fibers);
  writer.Begin(BinaryHead(std::string(source.name()) + "-delta"));
  if (!before.ok()) return Finish(before.status(), writer);
  if (absl::Status waited = writer.WaitFor(parameters.interval); !waited.ok()) return writer.Fail(waited);
  const absl::StatusOr<pprof::Profile> after = Collect(source, parameters.fibers);
  Finish(after.ok() ? pprof::EncodeProfile(pprof::ProfileDelta(*before, *after), writer) : after.status(), writer);
}

void SendProfile(pprof::ProfileSource& source, const Parameters& parameters, bool head_only, ResponseWriter& writer) {
  const bool is_delta = parameters.interval != std::chrono::seconds(0);
  if (is_delta && !head_only) return SendDelta(source, parameters, writer);
  const std::string file = std::string(source.name()) + (is_delta ? "-delta" : "");
  writer.Begin(parameters.debug == 0 ? BinaryHead(file) : ResponseHead());
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

bool IsDeltaRequest(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return false;
  const absl::StatusOr<std::optional<std::string>> seconds = query->Get("seconds");
  return seconds.ok() && seconds->has_value() && !(*seconds)->empty();
}

Handler MakeNamedProfileHandler(const pprof::ProfileCatalog& catalog, std::string prefix) {
  return [&catalog, prefix = std::move(prefix)](const Request& request, ResponseWriter& writer) {
    pprof::ProfileSource* const source = catalog.Find(std::string_view(request.path).substr(prefix.size()));
    if (source == nullptr) {
      writer.Send(ErrorResponse(404, "Unknown profile"));
      return;
    }
    const absl::StatusOr<Parameters> parameters = ParseParameters(request, *source);
    if (!parameters.ok()) {
      writer.Send(ErrorResponse(400, parameters.status()));
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
