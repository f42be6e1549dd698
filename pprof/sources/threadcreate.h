// The profile of who made the process's threads: /debug/pprof/threadcreate. Go's has been without stacks since 2013.
#ifndef FIBERSCOPE_PPROF_SOURCES_THREADCREATE_H_
#define FIBERSCOPE_PPROF_SOURCES_THREADCREATE_H_

#include <memory>

#include "pprof/profile_source.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// Whatever was made since the process began, and how: runtime/thread_creation.h. `symbolizer` must outlive the source.
std::unique_ptr<ProfileSource> MakeThreadCreateSource(Symbolizer& symbolizer);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_THREADCREATE_H_
