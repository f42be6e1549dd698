// The profile of all live fibers: /debug/pprof/goroutine.
#ifndef FIBERSCOPE_PPROF_SOURCES_GOROUTINE_H_
#define FIBERSCOPE_PPROF_SOURCES_GOROUTINE_H_

#include <memory>

#include "pprof/fiber_profile_source.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {

// debug=1: fibers grouped by stack and labels. debug=2: every fiber, streamed in registry order, never truncated;
// or a page of them in the order of their ids. All forms of all fibers or of those that pass a filter.
// `symbolizer` must outlive the source.
std::unique_ptr<FiberProfileSource> MakeGoroutineSource(Symbolizer& symbolizer);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_GOROUTINE_H_
