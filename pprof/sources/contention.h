// The profiles of waiting for one another: /debug/pprof/block and /debug/pprof/mutex. Switched on by SetBlockProfileRate() and
// SetMutexProfileFraction() (runtime/contention.h); empty before.
#ifndef FIBERSCOPE_PPROF_SOURCES_CONTENTION_H_
#define FIBERSCOPE_PPROF_SOURCES_CONTENTION_H_

#include <memory>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/profile_source.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// `symbolizer` must outlive the source.
std::unique_ptr<ProfileSource> MakeBlockSource(Symbolizer& symbolizer);
std::unique_ptr<ProfileSource> MakeMutexSource(Symbolizer& symbolizer);

// The mutex profile in the form that gperftools' pprof reads (encode/contention_text.h): /pprof/contention. Thread-safe. Blocks the
// thread as long as `sink` does; returns its error.
absl::Status WriteLegacyMutexProfile(Symbolizer& symbolizer, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_CONTENTION_H_
