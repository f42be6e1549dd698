// Count profiles as text: debug=1 of goroutine, threadcreate and profiles of one's own.
#ifndef FIBERSCOPE_PPROF_ENCODE_LEGACY_TEXT_H_
#define FIBERSCOPE_PPROF_ENCODE_LEGACY_TEXT_H_

#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/stack_groups.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// Go's order of groups, in text as in proto: the largest count first; equal counts by the text of their first lines
// ("@ 0x1 0x10" before "@ 0x2"), bytewise.
void SortByCount(std::vector<StackGroup>& groups);

struct CountTextOptions {
  bool machinery = false;  // print it at the leaf end, too
};

// Format: Go's runtime/pprof printCountProfile and text/tabwriter; frozen by tests/golden/goroutine_debug1.txt.
//
//   NAME profile: total N
//   COUNT @ 0xRETURN 0xRETURN ...
//   # labels: {"k":"v"}
//   #   0xCALL  FUNCTION+0xOFFSET   FILE:LINE        one line per logical frame; tabs line the columns up
//   <empty line>
//   # Lines are pending: ...                           last, and only if answers are LineState::kPending; not Go's
//
// Machinery at the leaf end is not printed as frames unless the options say so, but its addresses are listed. A frame without a
// name is its address alone; an offset is left out when the function's start is unknown. A group without any address gets 0x0,
// because the reader's grammar demands one.
//
// Writes one group at a time. Blocks the thread as long as `sink` and `symbolizer` do; returns the sink's error.
absl::Status WriteCountProfile(std::string_view name, std::vector<StackGroup> groups, Symbolizer& symbolizer,
                               ByteSink& sink, const CountTextOptions& options = {});

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_LEGACY_TEXT_H_
