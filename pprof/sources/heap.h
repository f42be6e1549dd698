// The profiles of memory: /debug/pprof/heap and /debug/pprof/allocs, of programs that allocate with tcmalloc.
//
// Both have the same samples: what was allocated, and what of it is in use. pprof shows the one first, or the other. Sampling is
// switched on by SetHeapSampleRate(), which comes with this header; DebugServer does, if nobody has.
//
// Without tcmalloc every form is kUnimplemented, with a message that says what to link.
#ifndef FIBERSCOPE_PPROF_SOURCES_HEAP_H_
#define FIBERSCOPE_PPROF_SOURCES_HEAP_H_

#include <memory>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/gperftools/heap_samples.h"  // SetHeapSampleRate, HeapSampleRate
#include "pprof/profile_source.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// `symbolizer` must outlive the source.
std::unique_ptr<ProfileSource> MakeHeapSource(Symbolizer& symbolizer);
std::unique_ptr<ProfileSource> MakeAllocsSource(Symbolizer& symbolizer);

// From code, without a server, as Go's pprof.WriteHeapProfile: the heap profile, gzip'ed profile.proto. Thread-safe. Blocks the
// thread as long as `sink` does; returns its error, or kUnimplemented.
absl::Status WriteHeapProfile(Symbolizer& symbolizer, ByteSink& sink);

// What gperftools' pprof reads: /pprof/heap, /pprof/growth. The same.
absl::Status WriteLegacyHeapProfile(Symbolizer& symbolizer, ByteSink& sink);
absl::Status WriteLegacyGrowthProfile(ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_HEAP_H_
