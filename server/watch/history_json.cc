#include "server/watch/history_json.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <span>

namespace fiberscope::server {
namespace {

namespace json = boost::json;

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

json::value OrNull(const std::optional<uint64_t>& value) { return value ? json::value(*value) : json::value(nullptr); }
json::value OrNull(const std::optional<std::chrono::nanoseconds>& time) {
  return time ? json::value(Seconds(*time)) : json::value(nullptr);
}

}  // namespace

json::value HistoryJson(const HealthWatch::Tier& tier, std::optional<std::chrono::seconds> last) {
  std::span<const HealthRow> rows = tier.rows;
  if (last && !rows.empty()) {
    const auto since = rows.back().end - *last;
    rows = rows.subspan(static_cast<size_t>(std::ranges::find_if(rows, [&](const HealthRow& row) { return row.end > since; }) -
                                            rows.begin()));
  }
  json::object columns;
  const auto column = [&](const char* name, auto figure) {
    json::array values;
    values.reserve(rows.size());
    for (const HealthRow& row : rows) values.push_back(figure(row));
    columns[name] = std::move(values);
  };
  column("end", [](const HealthRow& row) { return json::value(Seconds(row.end.time_since_epoch())); });
  column("seconds", [](const HealthRow& row) { return json::value(Seconds(row.length)); });
  column("fibers", [](const HealthRow& row) { return json::value(row.fibers); });
  for (const FiberState state : {FiberState::kRunnable, FiberState::kRunning, FiberState::kWaiting, FiberState::kBlocking}) {
    column(StateName(state), [state](const HealthRow& row) { return json::value(row.by_state[static_cast<size_t>(state)]); });
  }
  column("queued", [](const HealthRow& row) { return json::value(row.queued); });
  column("oldest_wait_seconds", [](const HealthRow& row) { return json::value(Seconds(row.oldest_wait)); });
  column("oldest_wait", [](const HealthRow& row) {
    return row.oldest_wait_reason[0] == '\0' ? json::value(nullptr) : json::value(row.oldest_wait_reason);
  });
  column("latency_p50_seconds", [](const HealthRow& row) { return OrNull(row.latency_p50); });
  column("latency_p99_seconds", [](const HealthRow& row) { return OrNull(row.latency_p99); });
  column("cpus", [](const HealthRow& row) { return json::value(row.cpus); });
  column("heap_bytes", [](const HealthRow& row) { return OrNull(row.heap_bytes); });
  column("heap_backed_bytes", [](const HealthRow& row) { return OrNull(row.heap_backed_bytes); });
  column("resident_bytes", [](const HealthRow& row) { return OrNull(row.resident_bytes); });
  return json::object{{"samples_per_row", tier.tier.samples}, {"rows_kept", tier.tier.rows}, {"columns", std::move(columns)}};
}

json::value ThresholdJson(const ThresholdStatus& status) {
  return json::object{
      {"name", status.name},
      {"raised", status.raised},
      {"since", status.since ? json::value(Seconds(status.since->time_since_epoch())) : json::value(nullptr)},
      {"value", status.value ? json::value(*status.value) : json::value(nullptr)},
      {"raise_above", status.bounds.raise_above},
      {"raise_after", status.bounds.raise_after},
      {"clear_below", status.bounds.clear_below},
      {"clear_after", status.bounds.clear_after},
      {"raises", status.raises},
  };
}

}  // namespace fiberscope::server
