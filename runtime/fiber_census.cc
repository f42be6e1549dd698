#include "runtime/fiber_census.h"

#include <algorithm>
#include <span>

#include "runtime/base/clock.h"
#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;

constexpr size_t kPrefetchBlocks = 8;
// A fiber that is switched while it is looked at, that often in a row, is counted as it was seen last.
constexpr int kMaxAttempts = 10;

void Add(int64_t since_ns, int64_t now_ns, FiberCensus::Group& group) {
  ++group.fibers;
  group.longest = std::max(group.longest, std::chrono::nanoseconds(now_ns - since_ns));
}

// Only the first line of the block is read, but of a running fiber. False: there is none.
bool Count(const ControlBlock& block, int64_t now_ns, FiberCensus& census) {
  StateWord word;
  WaitReason reason = WaitReason::kNone;
  int64_t since_ns = 0;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    word = block.state.Load();
    if (word.state() == FiberState::kDead) return false;
    reason = block.wait_reason.load(std::memory_order_relaxed);
    since_ns = block.since_ns.load(std::memory_order_relaxed);
    if (block.state.Unchanged(word)) break;
  }
  // One that has ended but still stands on its stack has no id any more.
  if (word.running() && block.id.load(std::memory_order_relaxed) == 0) return false;
  ++census.by_state[static_cast<size_t>(word.state())];
  if (word.state() == FiberState::kWaiting) Add(since_ns, now_ns, census.by_reason[static_cast<size_t>(reason)]);
  if (word.state() == FiberState::kBlocking) Add(since_ns, now_ns, census.blocking);
  return true;
}

}  // namespace

FiberCensus TakeFiberCensus() {
  FiberCensus census;
  const int64_t now_ns = CoarseNowNs();
  internal::FiberPool::Instance().ForEachSlab([&](std::span<ControlBlock> slab) {
    uint64_t fibers = 0;
    for (size_t i = 0; i < slab.size(); ++i) {
      __builtin_prefetch(&slab[std::min(i + kPrefetchBlocks, slab.size() - 1)]);
      fibers += Count(slab[i], now_ns, census) ? 1 : 0;
    }
    // All blocks of a slab have stacks of one size.
    if (fibers != 0) census.stack_bytes += fibers * slab.front().stack_bytes;
    return true;
  });
  return census;
}

}  // namespace fiberscope
