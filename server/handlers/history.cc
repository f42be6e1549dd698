#include "server/handlers/history.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "server/http/query.h"
#include "server/render/json.h"
#include "server/watch/history_json.h"

namespace fiberscope::server {
namespace {

namespace json = boost::json;

constexpr int64_t kMostSeconds = 31'536'000;  // a year

constexpr char kNone[] =
    "There is no health watch. Make one (fiberscope::server::HealthWatch::Start, server/watch/health_watch.h) and give it to the "
    "debug server (DebugServerOptions::health_watch).";

absl::StatusOr<std::optional<std::chrono::seconds>> ParseLast(const Request& request) {
  const absl::StatusOr<Query> query = Query::Parse(request.raw_query);
  if (!query.ok()) return query.status();
  const absl::StatusOr<std::optional<int64_t>> last = query->GetIntegerBetween("last", 1, kMostSeconds);
  if (!last.ok()) return last.status();
  if (!*last) return std::nullopt;
  return std::chrono::seconds(**last);
}

json::value Report(const HealthWatch& watch, std::optional<std::chrono::seconds> last) {
  json::array thresholds;
  for (const ThresholdStatus& each : watch.thresholds()) thresholds.push_back(ThresholdJson(each));
  json::array history;
  for (const HealthWatch::Tier& each : watch.history()) history.push_back(HistoryJson(each, last));
  return json::object{{"period_seconds", std::chrono::duration<double>(watch.period()).count()},
                      {"samples", watch.samples()},
                      {"missed_samples", watch.missed_samples()},
                      {"failed_calls", watch.failed_calls()},
                      {"thresholds", std::move(thresholds)},
                      {"history", std::move(history)}};
}

}  // namespace

Handler MakeHistoryHandler(const HealthWatch* watch) {
  return [watch](const Request& request, ResponseWriter& writer) {
    if (watch == nullptr) return writer.Send(ErrorResponse(404, kNone));
    const absl::StatusOr<std::optional<std::chrono::seconds>> last = ParseLast(request);
    if (!last.ok()) return writer.Send(ErrorResponse(400, last.status()));
    Response response;
    response.head.content_type = "application/json; charset=utf-8";
    AppendJson(Report(*watch, *last), response.body);
    response.body += '\n';
    writer.Send(std::move(response));
  };
}

}  // namespace fiberscope::server
