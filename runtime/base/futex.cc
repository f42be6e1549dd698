#include "runtime/base/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace fiberscope {
namespace {

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "the kernel reads the word as it is");

long Futex(std::atomic<uint32_t>& word, int operation, uint32_t value, const timespec* timeout) {
  const int saved_errno = errno;
  const long result = syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value,
                              timeout, nullptr, 0);
  const long outcome = result >= 0 ? result : -errno;
  errno = saved_errno;
  return outcome;
}

}  // namespace

void FutexWait(std::atomic<uint32_t>& word, uint32_t expected) { Futex(word, FUTEX_WAIT, expected, nullptr); }

bool FutexWaitFor(std::atomic<uint32_t>& word, uint32_t expected, std::chrono::nanoseconds timeout) {
  if (timeout.count() < 0) timeout = std::chrono::nanoseconds(0);
  const timespec relative{static_cast<time_t>(timeout.count() / 1'000'000'000),
                          static_cast<long>(timeout.count() % 1'000'000'000)};
  return Futex(word, FUTEX_WAIT, expected, &relative) != -ETIMEDOUT;
}

void FutexWake(std::atomic<uint32_t>& word, int count) {
  Futex(word, FUTEX_WAKE, static_cast<uint32_t>(count), nullptr);
}

}  // namespace fiberscope
