#include "pprof/sources/goroutine.h"

#include <chrono>

#include "pprof/mappings.h"
#include "pprof/sources/goroutine_source.h"
#include "runtime/registry.h"

namespace fiberscope::pprof {

std::unique_ptr<FiberProfileSource> MakeGoroutineSource(Symbolizer& symbolizer) {
  return std::make_unique<GoroutineSource>(symbolizer, GoroutineInputs{.for_each_fiber = ForEachFiber,
                                                                       .fiber_count = FiberCount,
                                                                       .mappings = ReadProcessMappings,
                                                                       .now = std::chrono::system_clock::now});
}

}  // namespace fiberscope::pprof
