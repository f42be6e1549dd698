#include "server/metrics/log_collector.h"

#include "server/metrics/family_list.h"

namespace fiberscope::server {

std::vector<prometheus::MetricFamily> LogCollector::Collect() const {
  const log::LogCounts counts = log_.counts();
  FamilyList list;
  const auto lines = [&](const char* outcome, uint64_t count) {
    list.Counter("fiber_log_lines_total", "Lines of the log: given to the sinks; lost, the queue was full; left out by sampling.",
                 static_cast<double>(count), {{"outcome", outcome}});
  };
  lines("written", counts.written);
  lines("dropped", counts.dropped);
  lines("sampled out", counts.sampled_out);
  list.Counter("fiber_log_sink_errors_total", "Times a sink of the log threw.", static_cast<double>(counts.sink_errors));
  return list.Take();
}

}  // namespace fiberscope::server
