// CPU profiles: what runtime/cpu_profiler.h has sampled, as `go tool pprof` and gperftools' pprof read it, and Go's two functions
// for taking one from code:
//
//   absl::Status status = StartCpuProfile();
//   ...
//   status = StopCpuProfile(*symbolizer, sink);   // gzip'ed profile.proto
#ifndef FIBERSCOPE_PPROF_SOURCES_CPU_H_
#define FIBERSCOPE_PPROF_SOURCES_CPU_H_

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "pprof/mappings.h"
#include "pprof/profile.h"
#include "pprof/symbolizer.h"
#include "runtime/cpu_profiler.h"

namespace fiberscope::pprof {

// Sample types samples/count and cpu/nanoseconds, labels those of the fibers. Comments say what one might not expect: samples that
// stand for several periods because of the kernel's tick, samples lost, threads without timers, CPU time of which nothing was seen.
//
// Thread-safe. Blocks the thread while the symbolizer works; waits up to 2 s for file names and lines.
// Format: Go 1.27 runtime/pprof, newProfileBuilder.
Profile MakeCpuProfile(const CpuProfile& sampled, Symbolizer& symbolizer, std::span<const Mapping> mappings);

// gperftools' binary format, in words of 64 bits, followed by the text of /proc/self/maps. No labels, no names. Returns the sink's
// error. Format: gperftools, docs/cpuprofile-fileformat.
absl::Status WriteLegacyCpuProfile(const CpuProfile& sampled, std::string_view maps, ByteSink& sink);

// The process's profile. kAlreadyExists: "cpu profiling already in use", by this or by anybody else; further errors as
// CpuProfiler::Start(). Thread-safe.
absl::Status StartCpuProfile(const CpuProfilerOptions& options = {});

// Ends what StartCpuProfile() began and writes it, encoded, to `sink`; returns its error. kFailedPrecondition: nothing was begun.
// Thread-safe. Blocks the thread as long as `sink` does.
absl::Status StopCpuProfile(Symbolizer& symbolizer, ByteSink& sink);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_SOURCES_CPU_H_
