#include "server/watch/health.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/process_metrics.h"
#include "server/metrics/process_memory.h"

namespace fiberscope::server {
namespace {

using std::chrono::nanoseconds;

double Seconds(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

nanoseconds ProcessCpuTime() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

DurationHistogram Difference(const DurationHistogram& later, const DurationHistogram& earlier) {
  DurationHistogram result;
  for (size_t i = 0; i < result.counts.size(); ++i) result.counts[i] = later.counts[i] - earlier.counts[i];
  result.sum = later.sum - earlier.sum;
  return result;
}

void Raise(const std::optional<uint64_t>& value, std::optional<uint64_t>& peak) {
  if (value) peak = std::max(peak.value_or(0), *value);
}

void NoteOldest(const FiberCensus::Group& group, const char* reason, HealthRow& row) {
  if (group.fibers == 0 || (group.longest <= row.oldest_wait && row.oldest_wait_reason[0] != '\0')) return;
  row.oldest_wait = group.longest;
  row.oldest_wait_reason = reason;
}

}  // namespace

HealthReading ReadHealth() {
  HealthReading reading;
  reading.time = std::chrono::system_clock::now();
  reading.at = nanoseconds(MonotonicNowNs());
  reading.census = TakeFiberCensus();
  reading.totals = ReadProcessMetrics().totals;
  reading.cpu = ProcessCpuTime();
  if (const absl::StatusOr<pprof::HeapStats> heap = pprof::ReadHeapStats(); heap.ok()) reading.heap = *heap;
  if (const std::optional<ProcessMemory> memory = ReadProcessMemory()) reading.resident_bytes = memory->resident_bytes;
  return reading;
}

HealthRowBuilder::Edge HealthRowBuilder::EdgeOf(const HealthReading& reading) {
  return {.at = reading.at, .cpu = reading.cpu, .latency = reading.totals.scheduling_latency};
}

void HealthRowBuilder::Begin(const HealthReading& begin) { begin_ = last_ = EdgeOf(begin); }

void HealthRowBuilder::Add(const HealthReading& reading) {
  ++readings_;
  last_ = EdgeOf(reading);
  row_.end = reading.time;
  row_.fibers = std::max(row_.fibers, reading.census.fibers());
  for (size_t i = 0; i < row_.by_state.size(); ++i) row_.by_state[i] = std::max(row_.by_state[i], reading.census.by_state[i]);
  for (int i = static_cast<int>(WaitReason::kSleep); i < kWaitReasonCount; ++i) {
    const WaitReason reason = static_cast<WaitReason>(i);
    NoteOldest(reading.census.waiting_for(reason), WaitReasonName(reason), row_);
  }
  NoteOldest(reading.census.blocking, "blocking", row_);
  row_.queued = std::max(row_.queued, reading.totals.queued);
  if (reading.heap) {
    Raise(static_cast<uint64_t>(reading.heap->allocated), row_.heap_bytes);
    Raise(static_cast<uint64_t>(reading.heap->system - reading.heap->released), row_.heap_backed_bytes);
  }
  Raise(reading.resident_bytes, row_.resident_bytes);
}

HealthRow HealthRowBuilder::Take() {
  row_.length = last_.at - begin_.at;
  const DurationHistogram latency = Difference(last_.latency, begin_.latency);
  row_.latency_p50 = QuantileOf(latency, 0.5);
  row_.latency_p99 = QuantileOf(latency, 0.99);
  if (row_.length > nanoseconds(0)) row_.cpus = Seconds(last_.cpu - begin_.cpu) / Seconds(row_.length);
  begin_ = last_;
  readings_ = 0;
  return std::exchange(row_, HealthRow());
}

std::optional<nanoseconds> QuantileOf(const DurationHistogram& durations, double fraction) {
  const double wanted = fraction * static_cast<double>(durations.count());
  if (wanted <= 0) return std::nullopt;
  double below = 0;
  for (size_t i = 0; i < durations.counts.size(); ++i) {
    const double here = static_cast<double>(durations.counts[i]);
    if (here == 0 || below + here < wanted) {
      below += here;
      continue;
    }
    const double begin = i == 0 ? 0 : static_cast<double>(DurationHistogram::UpperBound(i - 1).count());
    if (i == durations.counts.size() - 1) return nanoseconds(static_cast<int64_t>(begin));
    const double end = static_cast<double>(DurationHistogram::UpperBound(i).count());
    return nanoseconds(static_cast<int64_t>(begin + (end - begin) * (wanted - below) / here));
  }
  return std::nullopt;
}

HealthFigure FiberCountFigure() {
  return [](const HealthReading&, const HealthRow& row) { return static_cast<double>(row.fibers); };
}

HealthFigure OldestWaitFigure(WaitReason reason) {
  return [reason](const HealthReading& reading, const HealthRow&) { return Seconds(reading.census.waiting_for(reason).longest); };
}

HealthFigure LatencyP99Figure() {
  return [](const HealthReading&, const HealthRow& row) -> std::optional<double> {
    if (!row.latency_p99) return std::nullopt;
    return Seconds(*row.latency_p99);
  };
}

HealthFigure QueuedFigure() {
  return [](const HealthReading&, const HealthRow& row) { return static_cast<double>(row.queued); };
}

HealthFigure ResidentBytesFigure() {
  return [](const HealthReading&, const HealthRow& row) -> std::optional<double> {
    if (!row.resident_bytes) return std::nullopt;
    return static_cast<double>(*row.resident_bytes);
  };
}

}  // namespace fiberscope::server
