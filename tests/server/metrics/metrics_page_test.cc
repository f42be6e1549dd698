#include "server/metrics/metrics_page.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class FakeCollector : public prometheus::Collectable {
 public:
  explicit FakeCollector(std::vector<MetricFamily> families) : families_(std::move(families)) {}
  std::vector<MetricFamily> Collect() const override { return families_; }

 private:
  const std::vector<MetricFamily> families_;
};

class ThrowingCollector : public prometheus::Collectable {
 public:
  std::vector<MetricFamily> Collect() const override { throw std::runtime_error("no"); }
};

ClientMetric Gauge(double value, std::vector<ClientMetric::Label> labels = {}) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.gauge.value = value;
  return metric;
}

MetricFamily GaugeFamily(std::string name, std::vector<ClientMetric> metrics, std::string help = "Help.") {
  return {std::move(name), std::move(help), MetricType::Gauge, std::move(metrics)};
}

std::string Render(std::vector<std::vector<MetricFamily>> collected) {
  std::vector<std::shared_ptr<const prometheus::Collectable>> sources;
  for (auto& families : collected) sources.push_back(std::make_shared<FakeCollector>(std::move(families)));
  return MetricsPage(std::move(sources)).Render();
}

std::string Rejected(int name, int type, int label, int duplicate, int exception) {
  const auto line = [](const char* reason, int count) {
    return "fiber_rejected_metrics{reason=\"" + std::string(reason) + "\"} " + std::to_string(count) + "\n";
  };
  return "# HELP fiber_rejected_metrics Metrics that this page lacks, because they cannot be shown.\n"
         "# TYPE fiber_rejected_metrics gauge\n" +
         line("name", name) + line("type", type) + line("label", label) + line("duplicate", duplicate) +
         line("exception", exception);
}

TEST(MetricsPageTest, WithoutSourcesSaysThatNothingIsMissing) { EXPECT_EQ(Render({}), Rejected(0, 0, 0, 0, 0)); }

TEST(MetricsPageTest, SortsAndJoinsFamilies) {
  EXPECT_EQ(Render({{GaugeFamily("z", {Gauge(1, {{"a", "1"}})}), GaugeFamily("b", {Gauge(2)})},
                    {GaugeFamily("z", {Gauge(3, {{"a", "2"}})}, "Other help."), GaugeFamily("empty", {})}}),
            "# HELP b Help.\n"
            "# TYPE b gauge\n"
            "b 2\n" +
                Rejected(0, 0, 0, 0, 0) +
                "# HELP z Help.\n"
                "# TYPE z gauge\n"
                "z{a=\"1\"} 1\n"
                "z{a=\"2\"} 3\n");
}

TEST(MetricsPageTest, EscapesWhatWouldBreakALine) {
  EXPECT_EQ(Render({{GaugeFamily("a", {Gauge(1, {{"x", "line\nbreak \"quoted\" back\\slash \xff\xc3\xa9"}})},
                                 "Two\nlines, back\\slash, \xff")}}),
            "# HELP a Two\\nlines, back\\\\slash, \\\\xff\n"
            "# TYPE a gauge\n"
            "a{x=\"line\\nbreak \\\"quoted\\\" back\\\\slash \\\\xff\xc3\xa9\"} 1\n" +
                Rejected(0, 0, 0, 0, 0));
}

TEST(MetricsPageTest, ShowsNumbersThatAreNone) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::string page = Render({{GaugeFamily("a", {Gauge(std::numeric_limits<double>::quiet_NaN(), {{"x", "1"}}),
                                                      Gauge(infinity, {{"x", "2"}}), Gauge(-infinity, {{"x", "3"}})})}});
  EXPECT_NE(page.find("a{x=\"1\"} Nan\na{x=\"2\"} +Inf\na{x=\"3\"} -Inf\n"), std::string::npos) << page;
}

TEST(MetricsPageTest, LeavesOutFamiliesWhoseNameIsNone) {
  for (const char* name : {"", "1a", "a b", "a-b", "a\nb 1", "__a", "\xc3\xa9"}) {
    EXPECT_EQ(Render({{GaugeFamily(name, {Gauge(1), Gauge(2, {{"x", "y"}})})}}), Rejected(2, 0, 0, 0, 0)) << name;
  }
}

TEST(MetricsPageTest, LeavesOutMetricsWithLabelsThatAreNone) {
  const std::vector<std::vector<ClientMetric::Label>> wrong = {
      {{"", "x"}}, {{"1a", "x"}}, {{"a-b", "x"}}, {{"a\n", "x"}}, {{"__name__", "x"}}, {{"a", "x"}, {"b", "y"}, {"a", "z"}},
  };
  for (const auto& labels : wrong) {
    EXPECT_EQ(Render({{GaugeFamily("a", {Gauge(1, labels), Gauge(2)})}}),
              "# HELP a Help.\n# TYPE a gauge\na 2\n" + Rejected(0, 0, 1, 0, 0));
  }
  // Nothing is left of the family, so there is no head of it either.
  EXPECT_EQ(Render({{GaugeFamily("a", {Gauge(1, {{"", "x"}})})}}), Rejected(0, 0, 1, 0, 0));
  for (const auto& [type, label] : {std::pair(MetricType::Histogram, "le"), std::pair(MetricType::Summary, "quantile")}) {
    EXPECT_EQ(Render({{{"a", "Help.", type, {Gauge(0, {{label, "1"}})}}}}), Rejected(0, 0, 1, 0, 0));
    EXPECT_NE(Render({{GaugeFamily("a", {Gauge(0, {{label, "1"}})})}}).find("a{"), std::string::npos);
  }
}

TEST(MetricsPageTest, KeepsTheFirstOfTwo) {
  EXPECT_EQ(Render({{GaugeFamily("a", {Gauge(1, {{"x", "1"}, {"y", "2"}})})},
                    {GaugeFamily("a", {Gauge(2, {{"y", "2"}, {"x", "1"}}), Gauge(3, {{"x", "1"}, {"y", "2"}, {"z", ""}})})}}),
            "# HELP a Help.\n# TYPE a gauge\na{x=\"1\",y=\"2\"} 1\n" + Rejected(0, 0, 0, 2, 0));
  EXPECT_EQ(Render({{GaugeFamily("a", {Gauge(1)})}, {{"a", "Help.", MetricType::Counter, {Gauge(2), Gauge(3, {{"x", "1"}})}}}}),
            "# HELP a Help.\n# TYPE a gauge\na 1\n" + Rejected(0, 2, 0, 0, 0));
}

TEST(MetricsPageTest, LosesNoOtherCollectorToOneThatThrows) {
  const MetricsPage page({std::make_shared<ThrowingCollector>(),
                          std::make_shared<FakeCollector>(std::vector{GaugeFamily("a", {Gauge(1)})})});
  EXPECT_EQ(page.Render(), "# HELP a Help.\n# TYPE a gauge\na 1\n" + Rejected(0, 0, 0, 0, 1));
}

TEST(MetricsPageTest, ShowsAPrometheusRegistryAsItGrows) {
  auto registry = std::make_shared<prometheus::Registry>();
  const MetricsPage page({registry});
  EXPECT_EQ(page.Render(), Rejected(0, 0, 0, 0, 0));
  auto& waits = prometheus::BuildHistogram().Name("shop_wait_seconds").Help("Waits.").Register(*registry);
  auto& wait = waits.Add({{"route", "/order"}}, prometheus::Histogram::BucketBoundaries{0.5, 1});
  wait.Observe(0.25);
  wait.Observe(7);
  const std::string text = page.Render();
  EXPECT_NE(text.find("shop_wait_seconds_bucket{route=\"/order\",le=\"0.5\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("shop_wait_seconds_bucket{route=\"/order\",le=\"+Inf\"} 2\n"), std::string::npos) << text;
}

// Goal: whoever scrapes while the application adds families and counts always gets whole lines.
TEST(MetricsPageTest, IsRenderedWhileTheApplicationCounts) {
  auto registry = std::make_shared<prometheus::Registry>();
  const MetricsPage page({registry});
  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&registry, i] {
      for (int family = 0; family < 50; ++family) {
        auto& counters =
            prometheus::BuildCounter().Name("shop_" + std::to_string(family) + "_total").Help("Help.").Register(*registry);
        for (int n = 0; n < 20; ++n) counters.Add({{"thread", std::to_string(i)}}).Increment();
      }
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_EQ(page.Render().back(), '\n');
  threads.clear();
  const std::string text = page.Render();
  EXPECT_NE(text.find("shop_49_total{thread=\"0\"} 20\n"), std::string::npos);
  EXPECT_NE(text.find("shop_49_total{thread=\"1\"} 20\n"), std::string::npos);
}

}  // namespace
}  // namespace fiberscope::server
