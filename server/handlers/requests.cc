#include "server/handlers/requests.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/http/query.h"
#include "server/requests/request_fibers.h"
#include "server/requests/requests_page.h"

namespace fiberscope::server {
namespace {

constexpr int64_t kMaxLimit = 1000;

struct Parameters {
  bool json = false;
  ReadRequestsOptions read;
};

absl::StatusOr<Parameters> Parse(const std::string& raw_query) {
  const absl::StatusOr<Query> query = Query::Parse(raw_query);
  if (!query.ok()) return query.status();
  Parameters parameters;

  const auto format = query->Get("format");
  if (!format.ok()) return format.status();
  const std::string name = format->value_or("");
  if (!name.empty() && name != "text" && name != "json") return BadParameter("format", "must be text or json");
  parameters.json = name == "json";

  const auto route = query->Get("route");
  if (!route.ok()) return route.status();
  parameters.read.route = route->value_or("");

  const auto min_age = query->GetDuration("minage");
  if (!min_age.ok()) return min_age.status();
  parameters.read.min_duration = min_age->value_or(parameters.read.min_duration);

  const auto limit = query->GetIntegerBetween("limit", 1, kMaxLimit);
  if (!limit.ok()) return limit.status();
  if (limit->has_value()) parameters.read.limit = static_cast<size_t>(**limit);
  return parameters;
}

}  // namespace

Handler MakeRequestsHandler(const RequestRegistry& requests) {
  return [&requests](const Request& request, ResponseWriter& writer) {
    const absl::StatusOr<Parameters> parameters = Parse(request.raw_query);
    if (!parameters.ok()) return writer.Send(ErrorResponse(400, parameters.status()));
    const std::vector<RouteSnapshot> routes = requests.Read(parameters->read);
    const absl::Time now = absl::Now();
    const RequestFibers fibers = FindRequestFibers(routes);
    Response response;
    if (parameters->json) response.head.content_type = "application/json; charset=utf-8";
    response.body = parameters->json ? RequestsJson(routes, fibers, now) : RequestsText(routes, fibers, now);
    writer.Send(std::move(response));
  };
}

}  // namespace fiberscope::server
