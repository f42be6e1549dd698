// The thresholds of a health watch, as metrics: which are raised, and how often each was.
#ifndef FIBERSCOPE_SERVER_WATCH_HEALTH_COLLECTOR_H_
#define FIBERSCOPE_SERVER_WATCH_HEALTH_COLLECTOR_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "server/watch/health_watch.h"

namespace fiberscope::server {

// Thread-safe. `watch` must outlive it.
class HealthCollector : public prometheus::Collectable {
 public:
  explicit HealthCollector(const HealthWatch& watch) : watch_(watch) {}
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const HealthWatch& watch_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_WATCH_HEALTH_COLLECTOR_H_
