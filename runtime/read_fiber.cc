#include "runtime/read_fiber.h"

#include <algorithm>
#include <chrono>

namespace fiberscope::internal {
namespace {

void ReadWait(const ControlBlock& block, int64_t now_ns, FiberSnapshot& snapshot) {
  if (snapshot.state != FiberState::kWaiting && snapshot.state != FiberState::kBlocking) return;
  snapshot.waited =
      std::chrono::nanoseconds(std::max<int64_t>(0, now_ns - block.since_ns.load(std::memory_order_relaxed)));
  if (snapshot.state != FiberState::kWaiting) return;
  snapshot.wait_reason = block.wait_reason.load(std::memory_order_relaxed);
  snapshot.wait_object_id = block.wait_object_id.load(std::memory_order_relaxed);
  snapshot.wait_owner = {block.wait_owner_id.load(std::memory_order_relaxed)};
}

void ReadAccounting(const ControlBlock& block, StateWord word, FiberSnapshot& snapshot) {
  snapshot.locked_to_thread = block.locked_to_thread.load(std::memory_order_relaxed);
  snapshot.run_time = std::chrono::nanoseconds(block.run_ns.load(std::memory_order_relaxed));
  snapshot.runnable_time = std::chrono::nanoseconds(block.runnable_ns.load(std::memory_order_relaxed));
  // Two steps a slice.
  snapshot.slices = (word.sequence() - block.first_sequence.load(std::memory_order_relaxed) + 1) / 2;
  const uint64_t parks = block.parks.load(std::memory_order_relaxed);
  snapshot.wakeups = parks - (word.state() == FiberState::kWaiting && parks != 0 ? 1 : 0);
}

}  // namespace

FiberSnapshot ReadFiber(const ControlBlock& block, FiberId id, StateWord word, int64_t now_ns, NameBuffer& name) {
  FiberSnapshot snapshot;
  snapshot.id = id;
  snapshot.state = word.state();
  snapshot.parent_id = {block.parent_id.load(std::memory_order_relaxed)};
  snapshot.creator_pc = block.creator_pc.load(std::memory_order_relaxed);
  snapshot.entry_pc = block.entry_pc.load(std::memory_order_relaxed);
  snapshot.name = block.name.Load(name);
  // Acquire pairs with SetLabels: the pairs behind the pointer.
  snapshot.labels = Labels::PairsOf(block.labels.load(std::memory_order_acquire));
  ReadWait(block, now_ns, snapshot);
  ReadAccounting(block, word, snapshot);
  return snapshot;
}

}  // namespace fiberscope::internal
