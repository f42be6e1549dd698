#include "runtime/thread_waiter.h"

#include <mutex>
#include <new>

#include "runtime/base/futex_lock.h"
#include "runtime/runtime_arena.h"

namespace fiberscope::internal {
namespace {

constinit FutexLock g_lock;
constinit ThreadWaiter* g_free = nullptr;  // GUARDED_BY(g_lock)

constinit thread_local ThreadWaiter* t_waiter = nullptr;

// Gives the thread's waiter back when the thread ends. A destructor of another thread_local that waits after this one gets a
// waiter that is not given back.
struct ReturnAtThreadEnd {
  ~ReturnAtThreadEnd() {
    std::lock_guard lock(g_lock);
    t_waiter->next_free = g_free;
    g_free = t_waiter;
    t_waiter = nullptr;
  }
};

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
    static thread_local ReturnAtThreadEnd at_end;
    static_cast<void>(at_end);
  }
  return *t_waiter;
}

Waiter& NodeOfThread(WaitRecord& record) {
  return reinterpret_cast<ThreadWaiter*>(reinterpret_cast<char*>(&record) - offsetof(ThreadWaiter, record))->node;
}

}  // namespace fiberscope::internal
