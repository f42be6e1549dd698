// Texts of traced events, each with a number within its generation: names of tasks and regions, logs, labels.
//
// 8 MiB in a generation at most; what comes then is shown as empty and counted.
//
// Thread-safe. Blocks the thread shortly. Cost: a lock and a look-up, ~50 ns.
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACE_STRINGS_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACE_STRINGS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/trace/trace_generation.h"

namespace fiberscope::internal {

inline constexpr size_t kMaxTraceStringBytes = 1024;  // what readers accept; longer ones are cut between characters of UTF-8

// Called in a section of a writer (trace_writer.h) that writes that generation. 0: the empty text.
uint64_t TraceStringNumber(uint32_t generation, std::string_view text);

// Those of a generation that nobody writes any more; forgets them.
std::vector<TraceString> TakeTraceStrings(uint32_t generation);

// How often there was no room since the process began.
uint64_t LostTraceStrings();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACE_STRINGS_H_
