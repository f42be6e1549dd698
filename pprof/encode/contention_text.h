// Contention profiles as text: debug=1 of block and mutex.
#ifndef FIBERSCOPE_PPROF_ENCODE_CONTENTION_TEXT_H_
#define FIBERSCOPE_PPROF_ENCODE_CONTENTION_TEXT_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// A stack, and the waits that are charged to it.
struct ContentionGroup {
  std::vector<uintptr_t> stack;  // return addresses, innermost first
  int64_t count = 0;
  int64_t delay_ns = 0;
};

// What the lines say before the samples. Cycles are nanoseconds.
struct ContentionHead {
  std::string_view title;                  // "contention", "mutex"
  std::optional<int64_t> sampling_period;  // a line of its own, where there is one
};

// Writes Go's form: head, then the groups as they come, with frames as comments, nothing hidden. Blocks the thread while the
// symbolizer works and as long as `sink` does; returns its error. Format: Go 1.27 runtime/pprof, writeProfileInternal.
absl::Status WriteContentionText(const ContentionHead& head, std::span<const ContentionGroup> groups, Symbolizer& symbolizer,
                                 ByteSink& sink);

// The same without frames, for gperftools' pprof, which asks for names itself; followed by /proc/self/maps.
absl::Status WriteLegacyContention(std::span<const ContentionGroup> groups, std::string_view maps, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_CONTENTION_TEXT_H_
