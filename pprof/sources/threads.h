// The profile of all threads of the process: /debug/pprof/threads.
#ifndef FIBERSCOPE_PPROF_SOURCES_THREADS_H_
#define FIBERSCOPE_PPROF_SOURCES_THREADS_H_

#include <memory>

#include "pprof/profile_source.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// debug=1: threads grouped by stack, name and state. debug=2: every thread. `symbolizer` must outlive the source.
std::unique_ptr<ProfileSource> MakeThreadsSource(Symbolizer& symbolizer);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_THREADS_H_
