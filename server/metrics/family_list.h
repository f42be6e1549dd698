// Builds metric families one value at a time.
#ifndef FIBERSCOPE_SERVER_METRICS_FAMILY_LIST_H_
#define FIBERSCOPE_SERVER_METRICS_FAMILY_LIST_H_

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <optional>
#include <string>
#include <vector>

#include "runtime/metrics.h"

namespace fiberscope::server {

// Thread-compatible. Values of one family follow each other.
class FamilyList {
 public:
  using Labels = std::vector<prometheus::ClientMetric::Label>;

  void Gauge(const char* name, const char* help, double value, Labels labels = {});
  void Counter(const char* name, const char* help, double value, Labels labels = {});
  // Nothing where the value is not known.
  void Gauge(const char* name, const char* help, const std::optional<uint64_t>& value);
  void Counter(const char* name, const char* help, const std::optional<uint64_t>& value);
  // In seconds; buckets from 1 us to 17 s, each twice as wide as the one before.
  void Histogram(const char* name, const char* help, const DurationHistogram& durations, Labels labels = {});
  // Sum and count, and a quantile of no value for each of `quantiles`.
  void Summary(const char* name, const char* help, double sum, uint64_t count, const std::vector<double>& quantiles,
               Labels labels = {});

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  prometheus::ClientMetric& Add(const char* name, const char* help, prometheus::MetricType type, Labels labels);

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_FAMILY_LIST_H_
