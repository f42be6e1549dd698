// A count profile as a value: so many of something at each stack. What threads, threadcreate and profiles of one's own are.
#ifndef FIBERSCOPE_PPROF_COUNT_PROFILE_H_
#define FIBERSCOPE_PPROF_COUNT_PROFILE_H_

#include <chrono>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pprof/mappings.h"
#include "pprof/profile.h"
#include "pprof/stack_groups.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// Sample type and period are NAME/count; samples in Go's order (encode/legacy_text.h, SortByCount). Labels with an empty text are
// left out: readers would take them for the number 0. Blocks the thread while the symbolizer works.
// Format: Go 1.27 runtime/pprof, printCountProfile.
Profile MakeCountProfile(std::string_view name, std::vector<StackGroup> groups,
                         std::chrono::sys_time<std::chrono::nanoseconds> time, Symbolizer& symbolizer,
                         std::span<const Mapping> mappings, std::span<const std::string> comments = {});

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_COUNT_PROFILE_H_
