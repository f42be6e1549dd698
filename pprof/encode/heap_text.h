// Heap profiles as text: debug=1 of heap and allocs, and gperftools' own.
#ifndef FIBERSCOPE_PPROF_ENCODE_HEAP_TEXT_H_
#define FIBERSCOPE_PPROF_ENCODE_HEAP_TEXT_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// Samples of one size from one stack, as they were counted: not scaled up to what they stand for.
struct HeapTextGroup {
  std::vector<uintptr_t> stack;  // return addresses, innermost first
  int64_t inuse_count = 0;
  int64_t inuse_bytes = 0;
  int64_t allocated_count = 0;
  int64_t allocated_bytes = 0;
};

// Writes Go's form: totals, the groups in the order of their bytes in use, ascending, with frames as comments, then `stats` as
// "# NAME = VALUE" under the title "# runtime.MemStats". Blocks the thread while the symbolizer works and as long as `sink` does;
// returns its error. Format: Go 1.27 runtime/pprof, writeHeapInternal.
absl::Status WriteHeapText(std::vector<HeapTextGroup> groups, int64_t rate,
                           std::span<const std::pair<std::string, std::string>> stats, Symbolizer& symbolizer, ByteSink& sink);

// gperftools' form, which its pprof reads; `kind` is "heap_v2/RATE", or "growthz". Followed by /proc/self/maps. Format: gperftools
// malloc_extension.cc, GetHeapSample and GetHeapGrowthStacks.
absl::Status WriteLegacyHeap(std::span<const HeapTextGroup> groups, std::string_view kind, std::string_view maps, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_HEAP_TEXT_H_
