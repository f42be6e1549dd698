// The page of GET /metrics: what collectors say, put together, checked, and written as Prometheus reads it.
//
// Prometheus throws away a whole page for one odd line, so a mistake in an application's metrics must not reach it. What cannot be
// shown is left out, and counted by the gauge fiber_rejected_metrics of the same page, by reason:
//   name        no metric's name, or one that Prometheus keeps for itself ("__...")
//   type        the family exists, with another type; the first one stays
//   label       a label's name is none, repeats, is reserved, or is "le" of a histogram, "quantile" of a summary
//   duplicate   the same labels again in the family; the first one stays
//   exception   of a collector: all it has (counts 1)
// Label values and help texts may be anything: bytes that are no UTF-8 are shown as \xNN, line breaks, quotes and backslashes are
// escaped. NaN and infinities are values.
//
// Families of the same name and type become one. Families are sorted by name. Format: Prometheus text exposition 0.0.4, written by
// prometheus-cpp, which has no OpenMetrics.
#ifndef FIBERSCOPE_SERVER_METRICS_METRICS_PAGE_H_
#define FIBERSCOPE_SERVER_METRICS_METRICS_PAGE_H_

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <memory>
#include <string>
#include <vector>

namespace fiberscope::server {

class MetricsPage {
 public:
  // Earlier sources win over later ones. None is null.
  explicit MetricsPage(std::vector<std::shared_ptr<const prometheus::Collectable>> sources) : sources_(std::move(sources)) {}

  // Thread-safe. Blocks the thread as long as the collectors do.
  std::string Render() const;

 private:
  const std::vector<std::shared_ptr<const prometheus::Collectable>> sources_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_METRICS_PAGE_H_
