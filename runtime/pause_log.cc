#include "runtime/pause_log.h"

#include <algorithm>
#include <utility>

namespace fiberscope {
namespace {

// Never destroyed: a scheduler may end after static destructors began.
PauseLog& ThePauses() {
  static PauseLog& pauses = *new PauseLog;
  return pauses;
}

std::optional<PauseQuantiles> QuantilesOf(std::vector<std::chrono::nanoseconds> durations) {
  if (durations.empty()) return std::nullopt;
  std::ranges::sort(durations);
  PauseQuantiles quantiles;
  constexpr size_t kSteps = quantiles.size() - 1;
  for (size_t i = 0; i < kSteps; ++i) quantiles[i] = durations[durations.size() * i / kSteps];
  quantiles[kSteps] = durations.back();
  return quantiles;
}

}  // namespace

const char* PauseKindName(PauseKind kind) {
  switch (kind) {
    case PauseKind::kListing: return "listing";
    case PauseKind::kStallBlocked: return "stall blocked";
    case PauseKind::kStallComputing: return "stall computing";
    case PauseKind::kMemoryRelease: return "memory release";
  }
  return "?";
}

uint64_t PauseStats::count() const {
  uint64_t sum = 0;
  for (const DurationHistogram& each : by_kind) sum += each.count();
  return sum;
}

std::chrono::nanoseconds PauseStats::total() const {
  std::chrono::nanoseconds sum{0};
  for (const DurationHistogram& each : by_kind) sum += each.sum;
  return sum;
}

std::optional<PauseQuantiles> QuantilesOf(std::span<const Pause> pauses) {
  std::vector<std::chrono::nanoseconds> durations;
  for (const Pause& each : pauses) durations.push_back(each.duration);
  return QuantilesOf(std::move(durations));
}

std::optional<PauseQuantiles> QuantilesOf(std::span<const Pause> pauses, PauseKind kind) {
  std::vector<std::chrono::nanoseconds> durations;
  for (const Pause& each : pauses) {
    if (each.kind == kind) durations.push_back(each.duration);
  }
  return QuantilesOf(std::move(durations));
}

void PauseLog::Add(const Pause& pause) {
  const std::lock_guard lock(mutex_);
  by_kind_[static_cast<size_t>(pause.kind)].Record(pause.duration.count());
  ring_[added_++ % kKept] = pause;
}

PauseStats PauseLog::Read() const {
  PauseStats stats;
  stats.latest.reserve(kKept);
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < by_kind_.size(); ++i) stats.by_kind[i] = by_kind_[i].Read();
  for (uint64_t i = 0; i < std::min<uint64_t>(added_, kKept); ++i) stats.latest.push_back(ring_[(added_ - 1 - i) % kKept]);
  return stats;
}

PauseStats ReadPauses() { return ThePauses().Read(); }

void RecordPause(PauseKind kind, std::chrono::nanoseconds duration, std::chrono::system_clock::time_point end) {
  ThePauses().Add({.kind = kind, .end = end, .duration = duration});
}

}  // namespace fiberscope
