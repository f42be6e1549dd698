#include "runtime/thread_creation.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <span>

#include "runtime/own_stack.h"
#include "runtime/process_threads.h"
#include "runtime/thread_creation_table.h"

namespace fiberscope {
namespace {

// Distinct places that make threads are few: 512 of them are 0.5 MiB.
using Table = internal::ThreadCreationTable<512>;

constinit std::mutex g_mutex;
constinit Table g_table;  // GUARDED_BY(g_mutex)

// Threads seen being made, or about to be: a thread that is there already but not in g_table yet was not overlooked.
constinit std::atomic<int64_t> g_begun{0};

// In a child of fork() another thread's lock on the unwind table may be left held for ever. The child walks with the table that
// there is.
constinit std::atomic<bool> g_is_forked{false};

// So that a child does not find g_mutex locked by a thread that it does not have.
void WatchForks() {
  static constinit std::atomic<bool> is_watched{false};
  if (is_watched.exchange(true, std::memory_order_relaxed)) return;
  pthread_atfork([] { g_mutex.lock(); }, [] { g_mutex.unlock(); },
                 [] {
                   g_table.Clear();
                   g_begun.store(0, std::memory_order_relaxed);
                   g_is_forked.store(true, std::memory_order_relaxed);
                   g_mutex.unlock();
                 });
}

// The caller of pthread_create() did not ask for a cancellation point, and reading where its stack lies may be one.
class CancellationDisabled {
 public:
  CancellationDisabled() { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~CancellationDisabled() { pthread_setcancelstate(before_, nullptr); }
  CancellationDisabled(const CancellationDisabled&) = delete;
  CancellationDisabled& operator=(const CancellationDisabled&) = delete;

 private:
  int before_;
};

// More threads than were seen being made: the others were not. Asked in this order, so that one that is made meanwhile is not taken
// for one of them.
void NoticeUnseen() {
  const int64_t threads = ThreadCount();
  g_table.Notice(threads - g_begun.load(std::memory_order_acquire));
}

}  // namespace

namespace internal {

void BeginThreadCreation() { g_begun.fetch_add(1, std::memory_order_acq_rel); }

// Not inlined: two frames are left out below, this function's and pthread_create()'s.
__attribute__((noinline)) void EndThreadCreation(bool is_made) {
  if (!is_made) {
    g_begun.fetch_sub(1, std::memory_order_acq_rel);
    return;
  }
  const int saved_errno = errno;
  {
    const CancellationDisabled disabled;
    WatchForks();
    std::array<uintptr_t, Table::kMaxFrames + 3> pcs;  // and one for that of CaptureOwnStack
    const size_t depth =
        CaptureOwnStack(pcs, {.skip = 2, .may_refresh = !g_is_forked.load(std::memory_order_relaxed)});
    const std::lock_guard lock(g_mutex);
    g_table.Add(std::span(pcs).first(depth));
  }
  errno = saved_errno;
}

}  // namespace internal

ThreadCreationSnapshot ReadThreadCreation() {
  const std::lock_guard lock(g_mutex);
  NoticeUnseen();
  return g_table.Read();
}

int64_t ThreadsCreated() {
  const std::lock_guard lock(g_mutex);
  NoticeUnseen();
  return g_table.total();
}

}  // namespace fiberscope
