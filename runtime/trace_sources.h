// Where a recording of an execution trace learns what fibers there are, and who runs.
#ifndef FIBERSCOPE_RUNTIME_TRACE_SOURCES_H_
#define FIBERSCOPE_RUNTIME_TRACE_SOURCES_H_

#include "runtime/trace/tracer.h"

namespace fiberscope::internal {

// All fibers and workers of the process. Thread-safe.
Tracer::Sources TraceSources();

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_SOURCES_H_
