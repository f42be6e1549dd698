#include "runtime/thread_waiter.h"

#include <unistd.h>

#include <atomic>
#include <mutex>
#include <new>

#include "runtime/base/futex_lock.h"
#include "runtime/runtime_arena.h"
#include "runtime/select_nodes.h"

namespace fiberscope::internal {
namespace {

constinit FutexLock g_lock;
constinit ThreadWaiter* g_free = nullptr;  // GUARDED_BY(g_lock)

constinit thread_local ThreadWaiter* t_waiter = nullptr;

// Gives the thread's waiter back when the thread ends. A destructor of another thread_local that waits after this one gets a
// waiter that is not given back.
struct ReturnAtThreadEnd {
  ~ReturnAtThreadEnd() {
    ReleaseSelectNodes(t_waiter->record);
    std::lock_guard lock(g_lock);
    t_waiter->next_free = g_free;
    g_free = t_waiter;
    t_waiter = nullptr;
  }
};

// Thread ids are used again, hence the number.
uint64_t NewOwnerWord() {
  static constinit std::atomic<uint64_t> last_number{0};
  const uint64_t number = last_number.fetch_add(1, std::memory_order_relaxed) + 1;
  return uint64_t{1} << 63 | (number & 0x7fff'ffff) << 32 | static_cast<uint64_t>(gettid()) << 1;
}

ThreadWaiter* Take() {
  {
    std::lock_guard lock(g_lock);
    if (ThreadWaiter* const waiter = g_free) {
      g_free = waiter->next_free;
      return waiter;
    }
  }
  auto* const waiter = new (ArenaAllocate(sizeof(ThreadWaiter))) ThreadWaiter;
  waiter->record.is_thread = true;
  waiter->node.record = &waiter->record;
  return waiter;
}

}  // namespace

ThreadWaiter& CurrentThreadWaiter() {
  if (t_waiter == nullptr) {
    t_waiter = Take();
    t_waiter->owner_word = NewOwnerWord();
    static thread_local ReturnAtThreadEnd at_end;
    static_cast<void>(at_end);
  }
  return *t_waiter;
}

}  // namespace fiberscope::internal
