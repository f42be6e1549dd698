#include "pprof/sources/threadcreate.h"

#include <chrono>

#include "pprof/mappings.h"
#include "pprof/sources/threadcreate_source.h"
#include "runtime/thread_creation.h"

namespace fiberscope::pprof {

std::unique_ptr<ProfileSource> MakeThreadCreateSource(Symbolizer& symbolizer) {
  return std::make_unique<ThreadCreateSource>(symbolizer, ThreadCreateInputs{.read = ReadThreadCreation,
                                                                             .thread_count = ThreadsCreated,
                                                                             .mappings = ReadProcessMappings,
                                                                             .now = std::chrono::system_clock::now});
}

}  // namespace fiberscope::pprof
