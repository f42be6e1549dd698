// What the kernel says of this process, by the names of Prometheus' client libraries: process_*. A figure whose file cannot be
// read is not there.
#ifndef FIBERSCOPE_SERVER_METRICS_PROCESS_COLLECTOR_H_
#define FIBERSCOPE_SERVER_METRICS_PROCESS_COLLECTOR_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace fiberscope::server {

// Thread-safe. Blocks the thread for some system calls; before Linux 6.2 also for a listing of all open descriptors.
class ProcessCollector : public prometheus::Collectable {
 public:
  // process_network_* count the whole network namespace, which is the container's, or the machine's.
  std::vector<prometheus::MetricFamily> Collect() const override;
};

// Of the text of /proc/self/stat: when the process began, in clock ticks since the system did. None: the text is something else.
std::optional<uint64_t> StartTicks(std::string_view stat);

// Of the text of /proc/self/net/netstat.
struct NetworkBytes {
  uint64_t received = 0;
  uint64_t sent = 0;
};
std::optional<NetworkBytes> ParseNetstat(std::string_view netstat);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_PROCESS_COLLECTOR_H_
