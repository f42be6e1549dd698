#include "pprof/memory_stats.h"

#include <cmath>

namespace fiberscope::pprof {

Allocations EstimateAllocations(const HeapSnapshot& snapshot) {
  double objects = 0;
  double bytes = 0;
  double freed = 0;
  for (const HeapRecord& record : snapshot.records) {
    const double scale = AllocationsPerSample(record);
    objects += scale * static_cast<double>(record.allocated);
    bytes += scale * static_cast<double>(record.allocated) * static_cast<double>(record.size);
    freed += scale * static_cast<double>(record.freed);
  }
  return {.objects = static_cast<uint64_t>(std::llround(objects)),
          .bytes = static_cast<uint64_t>(std::llround(bytes)),
          .freed_objects = static_cast<uint64_t>(std::llround(freed)),
          .lost_samples = static_cast<uint64_t>(snapshot.lost)};
}

MemoryStats ReadMemoryStats() {
  MemoryStats stats;
  if (const absl::StatusOr<HeapStats> heap = ReadHeapStats(); heap.ok()) stats.heap = *heap;
  const absl::StatusOr<HeapSnapshot> samples = ReadHeapSamples();
  if (samples.ok() && (samples->rate != 0 || !samples->records.empty())) stats.allocations = EstimateAllocations(*samples);
  return stats;
}

}  // namespace fiberscope::pprof
