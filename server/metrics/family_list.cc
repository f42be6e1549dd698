#include "server/metrics/family_list.h"

#include <chrono>
#include <limits>
#include <utility>

namespace fiberscope::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricType;

// 2^10 ns = 1.02 us to 2^34 ns = 17.2 s.
constexpr size_t kFirstBucket = 10;
constexpr size_t kLastBucket = 34;
static_assert(kLastBucket < DurationHistogram::kBuckets - 1, "the last one has no upper bound");

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

ClientMetric& FamilyList::Add(const char* name, const char* help, MetricType type, Labels labels) {
  if (families_.empty() || families_.back().name != name) families_.push_back({name, help, type, {}});
  ClientMetric& metric = families_.back().metric.emplace_back();
  metric.label = std::move(labels);
  return metric;
}

void FamilyList::Gauge(const char* name, const char* help, double value, Labels labels) {
  Add(name, help, MetricType::Gauge, std::move(labels)).gauge.value = value;
}

void FamilyList::Counter(const char* name, const char* help, double value, Labels labels) {
  Add(name, help, MetricType::Counter, std::move(labels)).counter.value = value;
}

void FamilyList::Gauge(const char* name, const char* help, const std::optional<uint64_t>& value) {
  if (value) Gauge(name, help, static_cast<double>(*value));
}

void FamilyList::Counter(const char* name, const char* help, const std::optional<uint64_t>& value) {
  if (value) Counter(name, help, static_cast<double>(*value));
}

void FamilyList::Histogram(const char* name, const char* help, const DurationHistogram& durations, Labels labels) {
  ClientMetric::Histogram& histogram = Add(name, help, MetricType::Histogram, std::move(labels)).histogram;
  histogram.sample_count = durations.count();
  histogram.sample_sum = Seconds(durations.sum);
  uint64_t count = 0;
  for (size_t i = 0; i <= kLastBucket; ++i) {
    count += durations.counts[i];
    if (i >= kFirstBucket) histogram.bucket.push_back({count, Seconds(DurationHistogram::UpperBound(i))});
  }
}

void FamilyList::Summary(const char* name, const char* help, double sum, uint64_t count, const std::vector<double>& quantiles,
                         Labels labels) {
  ClientMetric::Summary& summary = Add(name, help, MetricType::Summary, std::move(labels)).summary;
  summary.sample_sum = sum;
  summary.sample_count = count;
  for (const double quantile : quantiles) summary.quantile.push_back({quantile, std::numeric_limits<double>::quiet_NaN()});
}

}  // namespace fiberscope::server
