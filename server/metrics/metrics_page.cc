#include "server/metrics/metrics_page.h"

#include <prometheus/check_names.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "pprof/utf8.h"
#include "server/metrics/family_list.h"

namespace fiberscope::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Label = ClientMetric::Label;

enum Reason { kName, kType, kLabel, kDuplicate, kException, kReasonCount };
constexpr std::array<const char*, kReasonCount> kReasonNames = {"name", "type", "label", "duplicate", "exception"};

// Valid UTF-8 without line breaks. The library escapes label values, not these.
std::string EscapeHelp(const std::string& help) {
  std::string escaped;
  for (const char c : pprof::ToValidUtf8(help)) {
    switch (c) {
      case '\n': escaped += "\\n"; break;
      case '\\': escaped += "\\\\"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

bool IsReserved(const std::string& label, MetricType type) {
  return (type == MetricType::Histogram && label == "le") || (type == MetricType::Summary && label == "quantile");
}

class Families {
 public:
  void Add(MetricFamily family) {
    if (family.metric.empty()) return;
    if (!prometheus::CheckMetricName(family.name)) return Reject(kName, family.metric.size());
    const auto [at, is_new] = families_.try_emplace(family.name);
    Checked& mine = at->second;
    if (is_new) {
      mine.family.name = family.name;
      mine.family.help = EscapeHelp(family.help);
      mine.family.type = family.type;
    }
    if (mine.family.type != family.type) return Reject(kType, family.metric.size());
    for (ClientMetric& metric : family.metric) AddMetric(std::move(metric), mine);
  }

  void Reject(Reason reason, size_t count) { rejected_[reason] += count; }

  // With the one of what was rejected.
  std::vector<MetricFamily> Take() {
    FamilyList own;
    for (size_t i = 0; i < kReasonCount; ++i) {
      own.Gauge("fiber_rejected_metrics", "Metrics that this page lacks, because they cannot be shown.",
                static_cast<double>(rejected_[i]), {{"reason", kReasonNames[i]}});
    }
    for (MetricFamily& family : own.Take()) Add(std::move(family));
    std::vector<MetricFamily> sorted;
    for (auto& [name, checked] : families_) {
      if (!checked.family.metric.empty()) sorted.push_back(std::move(checked.family));
    }
    return sorted;
  }

 private:
  struct Checked {
    MetricFamily family;
    std::set<std::vector<Label>> seen;
  };

  void AddMetric(ClientMetric metric, Checked& to) {
    std::vector<Label> sorted;
    for (Label& label : metric.label) {
      if (!prometheus::CheckLabelName(label.name) || IsReserved(label.name, to.family.type)) return Reject(kLabel, 1);
      label.value = pprof::ToValidUtf8(label.value);
      sorted.push_back(label);
    }
    std::ranges::sort(sorted, {}, &Label::name);
    if (std::ranges::adjacent_find(sorted, {}, &Label::name) != sorted.end()) return Reject(kLabel, 1);
    // An empty label is none.
    std::erase_if(sorted, [](const Label& label) { return label.value.empty(); });
    if (!to.seen.insert(std::move(sorted)).second) return Reject(kDuplicate, 1);
    to.family.metric.push_back(std::move(metric));
  }

  std::map<std::string, Checked> families_;
  std::array<size_t, kReasonCount> rejected_{};
};

}  // namespace

std::string MetricsPage::Render() const {
  Families families;
  for (const std::shared_ptr<const prometheus::Collectable>& source : sources_) {
    try {
      for (MetricFamily& family : source->Collect()) families.Add(std::move(family));
    } catch (...) {
      families.Reject(kException, 1);
    }
  }
  return prometheus::TextSerializer().Serialize(families.Take());
}

}  // namespace fiberscope::server
