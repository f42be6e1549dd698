#include "runtime/runtime_arena.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <mutex>

#include "runtime/base/check.h"
#include "runtime/base/futex_lock.h"

namespace fiberscope::internal {
namespace {

constexpr size_t kChunkBytes = 64 << 10;

constinit FutexLock g_lock;
constinit char* g_next = nullptr;  // GUARDED_BY(g_lock): the rest of the last chunk
constinit size_t g_left = 0;       // GUARDED_BY(g_lock)
constinit std::atomic<size_t> g_mapped{0};

char* Map(size_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  FIBERSCOPE_CHECK(memory != MAP_FAILED, "no memory for %d bytes of the runtime's own: mmap: errno %d", bytes, errno);
  g_mapped.fetch_add(bytes, std::memory_order_relaxed);
  return static_cast<char*>(memory);
}

}  // namespace

void* ArenaAllocate(size_t bytes) {
  bytes = (bytes + 15) & ~size_t{15};
  // Large ones get mappings of their own, so that no rest of a chunk is thrown away for them.
  if (bytes > kChunkBytes / 4) return Map((bytes + 4095) & ~size_t{4095});
  std::lock_guard lock(g_lock);
  if (bytes > g_left) {
    g_next = Map(kChunkBytes);
    g_left = kChunkBytes;
  }
  char* const result = g_next;
  g_next += bytes;
  g_left -= bytes;
  return result;
}

size_t ArenaBytes() { return g_mapped.load(std::memory_order_relaxed); }

}  // namespace fiberscope::internal
