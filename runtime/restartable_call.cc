#include "runtime/restartable_call.h"

#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string_view>

namespace fiberscope::internal {
namespace {

// futex_wait() in kernel/futex/waitwake.c: -ERESTARTSYS without a deadline, else -ERESTART_RESTARTBLOCK, which a handler turns
// into EINTR. futex_lock_pi(): -ERESTARTNOINTR.
bool FutexOutlives(const SystemCall& call) {
  const auto operation = static_cast<int>(call.arguments[1]) & FUTEX_CMD_MASK;
  const bool has_deadline = call.arguments[3] != 0;
  return !has_deadline &&
         (operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET || operation == FUTEX_LOCK_PI || operation == FUTEX_LOCK_PI2);
}

template <typename T>
std::optional<T> SocketOption(int socket, int option) {
  T value{};
  socklen_t size = sizeof(value);
  if (getsockopt(socket, SOL_SOCKET, option, &value, &size) != 0 || size != sizeof(value)) return std::nullopt;
  return value;
}

// sock_intr_errno(): -ERESTARTSYS without a timeout, else -EINTR. With a minimum of more than one byte a signal would end the call
// with fewer. Of the other families each has its own ways.
bool SocketReceiveOutlives(int socket) {
  const auto domain = SocketOption<int>(socket, SO_DOMAIN);
  const auto timeout = SocketOption<timeval>(socket, SO_RCVTIMEO);
  const auto minimum = SocketOption<int>(socket, SO_RCVLOWAT);
  return domain && (*domain == AF_INET || *domain == AF_INET6 || *domain == AF_UNIX) && timeout && timeout->tv_sec == 0 &&
         timeout->tv_usec == 0 && minimum && *minimum <= 1;
}

// By name: fstat() on somebody's network file system may hang.
bool ReadOutlives(int file) {
  std::array<char, 32> path;
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", file);
  std::array<char, 32> target;
  const ssize_t size = readlink(path.data(), target.data(), target.size());
  if (size <= 0) return false;
  const std::string_view name(target.data(), static_cast<size_t>(size));
  return name.starts_with("pipe:[") || (name.starts_with("socket:[") && SocketReceiveOutlives(file));
}

bool ReceiveOutlives(int socket, uint64_t flags) { return (flags & MSG_WAITALL) == 0 && SocketReceiveOutlives(socket); }

}  // namespace

bool OutlivesSignal(const SystemCall& call) {
  const auto file = static_cast<int>(call.arguments[0]);
  switch (call.number) {
    case -1: return true;  // no call: the instruction that faulted is run again
    case SYS_futex: return FutexOutlives(call);
    case SYS_read:
    case SYS_readv: return ReadOutlives(file);
    case SYS_recvfrom: return ReceiveOutlives(file, call.arguments[3]);
    case SYS_recvmsg: return ReceiveOutlives(file, call.arguments[2]);
    case SYS_accept:
    case SYS_accept4: return SocketReceiveOutlives(file);
    case SYS_wait4:
    case SYS_waitid: return true;
    default: return false;
  }
}

}  // namespace fiberscope::internal
