// What a health watch has seen, as JSON. Thread-safe (pure functions).
#ifndef FIBERSCOPE_SERVER_WATCH_HISTORY_JSON_H_
#define FIBERSCOPE_SERVER_WATCH_HISTORY_JSON_H_

#include <boost/json/value.hpp>
#include <chrono>
#include <optional>

#include "server/watch/health_watch.h"

namespace fiberscope::server {

// A column per figure, so that a plotting program takes it as it is: {"samples_per_row":1,"rows_kept":600,"columns":{"end":[...],
// "seconds":[...],"fibers":[...], ...}}, oldest row first. `end` is since 1970, `seconds` the row's length. Null: not known. With
// `last`, only rows that end within so much time before the newest one does.
boost::json::value HistoryJson(const HealthWatch::Tier& tier, std::optional<std::chrono::seconds> last);

boost::json::value ThresholdJson(const ThresholdStatus& status);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_WATCH_HISTORY_JSON_H_
