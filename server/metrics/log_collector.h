// What a log counts of itself, for /metrics.
#ifndef FIBERSCOPE_SERVER_METRICS_LOG_COLLECTOR_H_
#define FIBERSCOPE_SERVER_METRICS_LOG_COLLECTOR_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <vector>

#include "server/log/log.h"

namespace fiberscope::server {

//   fiber_log_lines_total{outcome}   written, dropped (the queue was full), sampled out
//   fiber_log_sink_errors_total      times a sink threw
//
// Give it to the debug server among DebugServerOptions::metrics. One of a process. Thread-safe. `log` must outlive it.
class LogCollector : public prometheus::Collectable {
 public:
  explicit LogCollector(const log::Log& log) : log_(log) {}

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const log::Log& log_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_LOG_COLLECTOR_H_
