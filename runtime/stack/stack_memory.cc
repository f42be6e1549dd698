#include "runtime/stack/stack_memory.h"

#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace fiberscope {
namespace {

constexpr uintptr_t kStackAlignment = 16;
constexpr size_t kPageBytes = 4096;
// Of one call. Each is 16 bytes on a stack that may be a small alternate one.
constexpr size_t kMostPages = 17;

// A transfer stops between two pieces, never within one, so each page is a piece.
size_t CopyReadable(uintptr_t address, std::span<std::byte> to) {
  size_t copied = 0;
  while (copied < to.size()) {
    std::array<iovec, kMostPages> pages;
    size_t count = 0;
    size_t planned = copied;
    for (; count < kMostPages && planned < to.size(); ++count) {
      const uintptr_t from = address + planned;
      const size_t bytes = std::min(to.size() - planned, kPageBytes - from % kPageBytes);
      pages[count] = {.iov_base = reinterpret_cast<void*>(from), .iov_len = bytes};
      planned += bytes;
    }
    const iovec local{.iov_base = to.data() + copied, .iov_len = planned - copied};
    // Not the C library's function, which sanitizers take the place of.
    const long got = syscall(SYS_process_vm_readv, getpid(), &local, 1UL, pages.data(), count, 0UL);
    if (got <= 0) break;
    copied += static_cast<size_t>(got);
    if (copied < planned) break;
  }
  return copied;
}

}  // namespace

StackMemory CopyStack(uintptr_t sp, std::span<std::byte> copy) {
  const uintptr_t red_zone = (sp - kRedZoneBytes) / kStackAlignment * kStackAlignment;
  const uintptr_t page = sp / kPageBytes * kPageBytes;
  // The red zone of a pointer at the low end of a stack is in the guard page, where nothing can be kept.
  for (const uintptr_t low : {red_zone, page}) {
    if (const size_t bytes = CopyReadable(low, copy); low + bytes > sp) return StackMemory(low, copy.first(bytes));
  }
  return StackMemory();
}

}  // namespace fiberscope
