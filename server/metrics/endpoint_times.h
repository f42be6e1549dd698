// How often each endpoint of the debug server was asked, and how long answers took: the price of dumps and profiles.
#ifndef FIBERSCOPE_SERVER_METRICS_ENDPOINT_TIMES_H_
#define FIBERSCOPE_SERVER_METRICS_ENDPOINT_TIMES_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "server/http/router.h"

namespace fiberscope::server {

// Thread-safe. Blocks the thread for a few instructions.
class EndpointTimes : public prometheus::Collectable {
 public:
  // The same handler, timed from its call to its end, time that passed by wish (seconds=) included. `endpoint` says which one it is
  // for a request; these must be few. This object must outlive the handler.
  Handler Timed(Handler handler, std::function<std::string(const Request&)> endpoint);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  struct Times {
    uint64_t in_flight = 0;
    uint64_t answers = 0;
    std::chrono::nanoseconds sum{0};
  };
  class Answering;
  Times& Begin(const std::string& endpoint);  // stays where it is

  mutable std::mutex mutex_;
  std::map<std::string, Times> times_;  // GUARDED_BY(mutex_)
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_ENDPOINT_TIMES_H_
