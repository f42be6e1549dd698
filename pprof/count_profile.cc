#include "pprof/count_profile.h"

#include <cstdint>
#include <utility>

#include "pprof/encode/legacy_text.h"
#include "pprof/profile_builder.h"

namespace fiberscope::pprof {

Profile MakeCountProfile(std::string_view name, std::vector<StackGroup> groups,
                         std::chrono::sys_time<std::chrono::nanoseconds> time, Symbolizer& symbolizer,
                         std::span<const Mapping> mappings, std::span<const std::string> comments) {
  SortByCount(groups);
  ProfileBuilder builder(symbolizer, mappings);
  builder.AddSampleType(name, "count");
  builder.SetPeriod(name, "count", 1);
  builder.SetTime(time);
  for (const std::string& comment : comments) builder.AddComment(comment);
  for (const StackGroup& group : groups) {
    std::vector<SampleLabel> labels;
    for (const Label& label : group.labels) {
      if (!label.value.empty()) labels.push_back({.key = label.key, .text = label.value});
    }
    const int64_t values[] = {group.count};
    builder.AddSample(group.stack, values, labels);
  }
  return std::move(builder).Build();
}

}  // namespace fiberscope::pprof
