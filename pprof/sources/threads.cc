#include "pprof/sources/threads.h"

#include <chrono>

#include "pprof/mappings.h"
#include "pprof/sources/threads_source.h"
#include "runtime/process_threads.h"

namespace fiberscope::pprof {

std::unique_ptr<ProfileSource> MakeThreadsSource(Symbolizer& symbolizer) {
  return std::make_unique<ThreadsSource>(symbolizer, ThreadsInputs{.capture_threads = [] { return CaptureThreads({}); },
                                                                   .thread_count = ThreadCount,
                                                                   .mappings = ReadProcessMappings,
                                                                   .now = std::chrono::system_clock::now});
}

}  // namespace fiberscope::pprof
