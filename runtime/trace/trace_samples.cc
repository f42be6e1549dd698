#include "runtime/trace/trace_samples.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace fiberscope::internal {
namespace {

constexpr size_t kMaxSamples = 65'536;

struct Samples {
  std::mutex mutex;
  std::vector<TraceSample> samples;                     // GUARDED_BY(mutex): stacks are counted from 1
  std::map<std::vector<uintptr_t>, uint64_t> stacks;    // GUARDED_BY(mutex)
};

Samples& TheSamples() {
  static Samples& samples = *new Samples;
  return samples;
}

constinit std::atomic<uint64_t> g_lost{0};

}  // namespace

void AddTraceSample(const TraceSample& sample, std::span<const uintptr_t> pcs) {
  std::vector<uintptr_t> stack(pcs.begin(), pcs.end());
  if (!stack.empty()) ++stack.front();  // as if it were a return address, too
  Samples& all = TheSamples();
  const std::lock_guard lock(all.mutex);
  if (all.samples.size() == kMaxSamples) {
    g_lost.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  all.samples.push_back(sample);
  if (!stack.empty()) all.samples.back().stack = all.stacks.try_emplace(std::move(stack), all.stacks.size() + 1).first->second;
}

void TakeTraceSamples(TraceGeneration& generation) {
  Samples& all = TheSamples();
  std::vector<TraceSample> samples;
  std::map<std::vector<uintptr_t>, uint64_t> stacks;
  {
    const std::lock_guard lock(all.mutex);
    samples = std::exchange(all.samples, {});
    stacks = std::exchange(all.stacks, {});
  }
  uint64_t last = 0;
  for (const TraceStack& each : generation.stacks) last = std::max(last, each.number);
  for (const auto& [pcs, number] : stacks) generation.stacks.push_back({.number = last + number, .pcs = pcs});
  for (TraceSample& each : samples) {
    if (each.stack != 0) each.stack += last;
  }
  generation.samples = std::move(samples);
}

void DropTraceSamples() {
  Samples& all = TheSamples();
  const std::lock_guard lock(all.mutex);
  all.samples.clear();
  all.stacks.clear();
}

uint64_t LostTraceSamples() { return g_lost.load(std::memory_order_relaxed); }

}  // namespace fiberscope::internal
