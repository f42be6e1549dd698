#include "pprof/sources/heap.h"

#include <sys/resource.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "pprof/encode/heap_text.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/gperftools/heap_samples.h"
#include "pprof/mappings.h"
#include "pprof/sources/heap_source.h"

namespace fiberscope::pprof {
namespace {

// Of Go's lines those of which tcmalloc, or the kernel, has the number.
std::vector<std::pair<std::string, std::string>> MemStats() {
  std::vector<std::pair<std::string, std::string>> lines;
  if (const absl::StatusOr<HeapStats> stats = ReadHeapStats(); stats.ok()) {
    lines = {
        {"Alloc", absl::StrCat(stats->allocated)},
        {"Sys", absl::StrCat(stats->system)},
        {"HeapAlloc", absl::StrCat(stats->allocated)},
        {"HeapSys", absl::StrCat(stats->system)},
        {"HeapIdle", absl::StrCat(stats->free + stats->released)},
        {"HeapInuse", absl::StrCat(stats->system - stats->free - stats->released)},
        {"HeapReleased", absl::StrCat(stats->released)},
        {"MCache", absl::StrCat(stats->thread_caches, " / ", stats->max_thread_caches)},
    };
  }
  rusage usage = {};
  if (getrusage(RUSAGE_SELF, &usage) == 0) lines.emplace_back("MaxRSS", absl::StrCat(int64_t{usage.ru_maxrss} * 1024));
  return lines;
}

HeapInputs Inputs() {
  return {.read = ReadHeapSamples,
          .record_count = HeapRecordCount,
          .stats = MemStats,
          .release_free_memory = ReleaseFreeMemory,
          .mappings = ReadProcessMappings,
          .now = std::chrono::system_clock::now};
}

}  // namespace

std::unique_ptr<ProfileSource> MakeHeapSource(Symbolizer& symbolizer) {
  return std::make_unique<HeapSource>(HeapSource::Kind::kHeap, symbolizer, Inputs());
}

std::unique_ptr<ProfileSource> MakeAllocsSource(Symbolizer& symbolizer) {
  return std::make_unique<HeapSource>(HeapSource::Kind::kAllocs, symbolizer, Inputs());
}

absl::Status WriteHeapProfile(Symbolizer& symbolizer, ByteSink& sink) {
  const absl::StatusOr<Profile> profile = MakeHeapSource(symbolizer)->Collect();
  return profile.ok() ? EncodeProfile(*profile, sink) : profile.status();
}

absl::Status WriteLegacyHeapProfile(Symbolizer& symbolizer, ByteSink& sink) {
  return HeapSource(HeapSource::Kind::kHeap, symbolizer, Inputs()).WriteLegacy(ReadProcessMaps(), sink);
}

absl::Status WriteLegacyGrowthProfile(ByteSink& sink) {
  const absl::StatusOr<std::vector<HeapGrowth>> growth = ReadHeapGrowth();
  if (!growth.ok()) return growth.status();
  std::vector<HeapTextGroup> groups;
  for (const HeapGrowth& one : *growth) {
    groups.push_back({.stack = one.stack,
                      .inuse_count = 1,
                      .inuse_bytes = one.size,
                      .allocated_count = 1,
                      .allocated_bytes = one.size});
  }
  return WriteLegacyHeap(groups, "growthz", ReadProcessMaps(), sink);
}

}  // namespace fiberscope::pprof
