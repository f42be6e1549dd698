#include "runtime/select_nodes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <new>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/futex_lock.h"
#include "runtime/runtime_arena.h"

namespace fiberscope::internal {
namespace {

static_assert(sizeof(SelectNodes) % alignof(Waiter) == 0);

struct FreeList {
  FutexLock lock;
  SelectNodes* head = nullptr;  // GUARDED_BY(lock)
};

constexpr size_t kMinNodes = 3;

// One per power of two.
FreeList& ListFor(size_t nodes) {
  static constinit std::array<FreeList, 32> lists;
  return lists[static_cast<size_t>(std::bit_width(nodes))];
}

}  // namespace

SelectNodes& EnsureSelectNodes(WaitRecord& record, size_t count) {
  if (record.select_nodes != nullptr && record.select_nodes->count >= count) return *record.select_nodes;
  ReleaseSelectNodes(record);
  FIBERSCOPE_CHECK(count < size_t{1} << 30, "a select over %d cases", count);
  const size_t nodes = std::bit_ceil(std::max(count, kMinNodes) + 1) - 1;
  FreeList& list = ListFor(nodes);
  SelectNodes* taken = nullptr;
  {
    std::lock_guard lock(list.lock);
    if (list.head != nullptr) taken = std::exchange(list.head, list.head->next_free);
  }
  if (taken == nullptr) {
    taken = new (ArenaAllocate(sizeof(SelectNodes) + nodes * sizeof(Waiter))) SelectNodes;
    taken->count = static_cast<uint32_t>(nodes);
    for (size_t i = 0; i < nodes; ++i) new (&(*taken)[i]) Waiter;
  }
  for (size_t i = 0; i < nodes; ++i) (*taken)[i].record = &record;
  record.select_nodes = taken;
  return *taken;
}

void ReleaseSelectNodes(WaitRecord& record) {
  SelectNodes* const nodes = std::exchange(record.select_nodes, nullptr);
  if (nodes == nullptr) return;
  FreeList& list = ListFor(nodes->count);
  std::lock_guard lock(list.lock);
  nodes->next_free = list.head;
  list.head = nodes;
}

}  // namespace fiberscope::internal
