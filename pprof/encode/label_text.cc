#include "pprof/encode/label_text.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "pprof/encode/go_quote.h"

namespace fiberscope::pprof {
namespace {

constexpr size_t kMostTextBytes = 256;
constexpr size_t kMostListBytes = 16 * 1024;
constexpr std::string_view kNameKey = "name";

std::string Join(const std::vector<std::string>& pairs) {
  std::string list = "{";
  for (const std::string& pair : pairs) {
    if (list.size() > 1) list += ", ";
    if (list.size() + pair.size() > kMostListBytes) {
      list += "...";
      break;
    }
    list += pair;
  }
  return list += '}';
}

}  // namespace

std::string CountLabels(std::span<const Label> labels) {
  std::vector<std::string> pairs;
  pairs.reserve(labels.size());
  for (const Label& label : labels) {
    pairs.push_back(GoQuote(CutText(label.key, kMostTextBytes)) + ":" + GoQuote(CutText(label.value, kMostTextBytes)));
  }
  std::ranges::sort(pairs);
  return Join(pairs);
}

std::string DumpLabels(std::span<const Label> labels, std::string_view fiber_name) {
  std::vector<std::string> pairs;
  const auto add = [&pairs](std::string_view key, std::string_view value) {
    pairs.push_back(GoDumpQuote(CutText(key, kMostTextBytes)) + ": " + GoDumpQuote(CutText(value, kMostTextBytes)));
  };
  bool name_is_due = !fiber_name.empty();
  for (const Label& label : labels) {
    if (name_is_due && label.key >= kNameKey) {
      if (label.key != kNameKey) add(kNameKey, fiber_name);
      name_is_due = false;
    }
    add(label.key, label.value);
  }
  if (name_is_due) add(kNameKey, fiber_name);
  return pairs.empty() ? "" : Join(pairs);
}

}  // namespace fiberscope::pprof
