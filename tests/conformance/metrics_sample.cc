// Prints a page of metrics that do all they can to break it.
#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "server/metrics/metrics_page.h"

namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

ClientMetric Metric(double value, std::vector<ClientMetric::Label> labels) {
  ClientMetric metric;
  metric.label = labels;
  metric.gauge.value = metric.counter.value = value;
  return metric;
}

class Hostile : public prometheus::Collectable {
 public:
  std::vector<MetricFamily> Collect() const override {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    ClientMetric histogram = Metric(0, {{"le", "x"}});
    return {
        {"shop_heat",
         "Two lines:\n# TYPE shop_heat counter\nand a back\\slash",
         MetricType::Gauge,
         {Metric(nan, {{"value", "nan"}}), Metric(infinity, {{"value", "+inf"}}), Metric(-infinity, {{"value", "-inf"}}),
          Metric(1, {{"text", "line\nbreak\"} 7\nforged 1"}}), Metric(2, {{"text", "bytes \xff\xfe \x01"}}),
          Metric(3, {{"text", "bytes \xff\xfe \x01"}}), Metric(4, {{"bad-name", "x"}}), Metric(5, {{"__name__", "x"}})}},
        {"shop_heat", "Another type.", MetricType::Counter, {Metric(6, {{"text", "x"}})}},
        {"shop bad", "No name.", MetricType::Gauge, {Metric(7, {})}},
        {"shop_seconds", "Reserved label.", MetricType::Histogram, {histogram}},
        {"shop_orders_total", "Fine.", MetricType::Counter, {Metric(8, {})}},
    };
  }
};

}  // namespace

int main() { std::fputs(fiberscope::server::MetricsPage({std::make_shared<Hostile>()}).Render().c_str(), stdout); }
