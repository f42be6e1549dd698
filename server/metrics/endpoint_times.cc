#include "server/metrics/endpoint_times.h"

#include <utility>

#include "server/metrics/family_list.h"

namespace fiberscope::server {

// One answer, also of a handler that throws.
class EndpointTimes::Answering {
 public:
  Answering(EndpointTimes& owner, const std::string& endpoint) : owner_(owner), times_(owner.Begin(endpoint)) {}
  ~Answering() {
    const std::lock_guard lock(owner_.mutex_);
    --times_.in_flight;
    ++times_.answers;
    times_.sum += std::chrono::steady_clock::now() - begin_;
  }
  Answering(const Answering&) = delete;
  Answering& operator=(const Answering&) = delete;

 private:
  EndpointTimes& owner_;
  Times& times_;  // GUARDED_BY(owner_.mutex_)
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

EndpointTimes::Times& EndpointTimes::Begin(const std::string& endpoint) {
  const std::lock_guard lock(mutex_);
  Times& times = times_[endpoint];
  ++times.in_flight;
  return times;
}

Handler EndpointTimes::Timed(Handler handler, std::function<std::string(const Request&)> endpoint) {
  return [this, handler = std::move(handler), endpoint = std::move(endpoint)](const Request& request, ResponseWriter& writer) {
    const Answering answering(*this, endpoint(request));
    handler(request, writer);
  };
}

std::vector<prometheus::MetricFamily> EndpointTimes::Collect() const {
  const std::lock_guard lock(mutex_);
  FamilyList list;
  for (const auto& [endpoint, times] : times_) {
    list.Gauge("fiber_debug_requests_in_flight", "Requests that the debug server is answering.",
               static_cast<double>(times.in_flight), {{"endpoint", endpoint}});
  }
  for (const auto& [endpoint, times] : times_) {
    list.Summary("fiber_debug_request_seconds", "How long answers of the debug server took.",
                 std::chrono::duration<double>(times.sum).count(), times.answers, {}, {{"endpoint", endpoint}});
  }
  return list.Take();
}

}  // namespace fiberscope::server
