#include "server/watch/health_collector.h"

#include "server/metrics/family_list.h"

namespace fiberscope::server {

std::vector<prometheus::MetricFamily> HealthCollector::Collect() const {
  FamilyList list;
  const std::vector<ThresholdStatus> thresholds = watch_.thresholds();
  for (const ThresholdStatus& each : thresholds) {
    list.Gauge("fiber_watch_threshold_raised", "1: the figure is above its threshold, by the health watch.", each.raised ? 1 : 0,
               {{"threshold", each.name}});
  }
  for (const ThresholdStatus& each : thresholds) {
    list.Counter("fiber_watch_threshold_raises_total", "How often it was raised.", static_cast<double>(each.raises),
                 {{"threshold", each.name}});
  }
  list.Counter("fiber_watch_samples_total", "Samples of the health watch.", static_cast<double>(watch_.samples()));
  list.Counter("fiber_watch_missed_samples_total", "Samples that came too late to be taken.",
               static_cast<double>(watch_.missed_samples()));
  list.Counter("fiber_watch_failed_calls_total", "Figures and callbacks that threw.", static_cast<double>(watch_.failed_calls()));
  return list.Take();
}

}  // namespace fiberscope::server
