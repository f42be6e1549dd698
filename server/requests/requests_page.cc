#include "server/requests/requests_page.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "pprof/encode/go_quote.h"
#include "server/render/json.h"

namespace fiberscope::server {
namespace {

namespace json = boost::json;

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

std::string StartOf(const RequestSnapshot& request, absl::Time now) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", now - absl::FromChrono(request.ended + request.duration), absl::UTCTimeZone());
}

const std::vector<FiberId>& FibersOf(const RequestSnapshot& request, const RequestFibers& fibers) {
  static const std::vector<FiberId> kNone;
  const auto at = fibers.find(request.identity.id.text());
  return at == fibers.end() ? kNone : at->second;
}

std::string CodeName(int status) { return status == 0 ? "none" : absl::StrCat(status); }

uint64_t FinishedOn(const RouteSnapshot& route) {
  uint64_t count = 0;
  for (const auto& [status, each] : route.finished) count += each;
  return count;
}

// What is the same of both kinds of requests.
std::string Line(const RequestSnapshot& request, absl::Time now) {
  return absl::StrFormat("%s began %s request_id=%s trace_id=%s span_id=%s fiber=%d", pprof::EscapeLine(request.method),
                         StartOf(request, now), request.identity.id.text(), request.identity.trace.trace_id.ToString(),
                         request.identity.trace.span_id.ToString(), request.fiber.value);
}

std::string JoinIds(const std::vector<FiberId>& ids) {
  return absl::StrJoin(ids, ",", [](std::string* out, FiberId id) { absl::StrAppend(out, id.value); });
}

json::object Object(const RequestSnapshot& request, absl::Time now) {
  json::object object{
      {"request_id", request.identity.id.text()},
      {"trace_id", request.identity.trace.trace_id.ToString()},
      {"span_id", request.identity.trace.span_id.ToString()},
  };
  if (request.identity.parent_span_id) object["parent_span_id"] = request.identity.parent_span_id.ToString();
  object["method"] = request.method;
  object["fiber"] = request.fiber.value;
  object["start"] = StartOf(request, now);
  object["duration"] = Seconds(request.duration);
  return object;
}

}  // namespace

std::string RequestsText(const std::vector<RouteSnapshot>& routes, const RequestFibers& fibers, absl::Time now) {
  size_t in_flight = 0;
  uint64_t finished = 0;
  for (const RouteSnapshot& route : routes) {
    in_flight += route.in_flight;
    finished += FinishedOn(route);
  }
  std::string text = absl::StrFormat("requests: %d in flight, %d finished\n", in_flight, finished);
  for (const RouteSnapshot& route : routes) {
    absl::StrAppendFormat(&text, "\n%s: %d in flight, %d finished", pprof::EscapeLine(route.route), route.in_flight,
                          FinishedOn(route));
    const char* separator = ": ";
    for (const auto& [status, count] : route.finished) {
      absl::StrAppendFormat(&text, "%s%d with %s", separator, count, status == 0 ? "no answer" : CodeName(status));
      separator = ", ";
    }
    text += '\n';
    if (!route.oldest.empty()) text += "  in flight, oldest first\n";
    for (const RequestSnapshot& each : route.oldest) {
      absl::StrAppendFormat(&text, "    %.6f s     %s fibers=%s\n", Seconds(each.duration), Line(each, now),
                            JoinIds(FibersOf(each, fibers)));
    }
    if (!route.slowest.empty()) text += "  finished, slowest first\n";
    for (const RequestSnapshot& each : route.slowest) {
      absl::StrAppendFormat(&text, "    %.6f s %s %s\n", Seconds(each.duration), CodeName(each.status), Line(each, now));
    }
  }
  return text;
}

std::string RequestsJson(const std::vector<RouteSnapshot>& routes, const RequestFibers& fibers, absl::Time now) {
  json::array all;
  for (const RouteSnapshot& route : routes) {
    json::object finished;
    for (const auto& [status, count] : route.finished) finished[CodeName(status)] = count;
    json::array oldest;
    for (const RequestSnapshot& each : route.oldest) {
      json::object object = Object(each, now);
      json::array ids;
      for (const FiberId id : FibersOf(each, fibers)) ids.push_back(id.value);
      object["fibers"] = std::move(ids);
      oldest.push_back(std::move(object));
    }
    json::array slowest;
    for (const RequestSnapshot& each : route.slowest) {
      json::object object = Object(each, now);
      object["status"] = each.status == 0 ? json::value(nullptr) : json::value(each.status);
      slowest.push_back(std::move(object));
    }
    all.push_back(json::object{{"route", route.route},
                               {"in_flight", route.in_flight},
                               {"finished", std::move(finished)},
                               {"oldest", std::move(oldest)},
                               {"slowest", std::move(slowest)}});
  }
  std::string text;
  AppendJson(json::object{{"routes", std::move(all)}}, text);
  return text + "\n";
}

}  // namespace fiberscope::server
