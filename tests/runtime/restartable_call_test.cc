#include "runtime/restartable_call.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>

#include "gtest/gtest.h"

namespace fiberscope::internal {
namespace {

SystemCall Call(int64_t number, std::array<uint64_t, 6> arguments = {}) {
  return {.number = number, .arguments = arguments, .sp = 0, .pc = 0};
}

TEST(RestartableCallTest, SleepsPollsAndWhateverHasADeadlineDoNotOutliveASignal) {
  for (const int64_t number : {SYS_nanosleep, SYS_clock_nanosleep, SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_wait,
                               SYS_epoll_pwait, SYS_epoll_pwait2, SYS_pause, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_semop,
                               SYS_semtimedop, SYS_msgsnd, SYS_msgrcv, SYS_io_getevents, SYS_io_uring_enter, SYS_connect, SYS_write,
                               SYS_sendto, SYS_fsync, SYS_openat, SYS_restart_syscall}) {
    EXPECT_FALSE(OutlivesSignal(Call(number))) << number;
  }
}

TEST(RestartableCallTest, AFutexOutlivesASignalUnlessItHasADeadline) {
  constexpr uint64_t kTimeout = 0x7f0000001000;
  for (const uint64_t operation : {FUTEX_WAIT, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME,
                                   FUTEX_LOCK_PI, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG}) {
    EXPECT_TRUE(OutlivesSignal(Call(SYS_futex, {0x1000, operation, 2, 0}))) << operation;
    EXPECT_FALSE(OutlivesSignal(Call(SYS_futex, {0x1000, operation, 2, kTimeout}))) << operation;
  }
  EXPECT_FALSE(OutlivesSignal(Call(SYS_futex, {0x1000, FUTEX_WAIT_REQUEUE_PI, 2, 0})));
}

TEST(RestartableCallTest, PageFaultsAndWaitsForChildrenOutliveASignal) {
  EXPECT_TRUE(OutlivesSignal(Call(-1)));
  EXPECT_TRUE(OutlivesSignal(Call(SYS_wait4)));
  EXPECT_TRUE(OutlivesSignal(Call(SYS_waitid)));
}

TEST(RestartableCallTest, AReadIsJudgedByWhatItReadsFrom) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int event = eventfd(0, 0);
  const int file = open("/proc/self/exe", O_RDONLY);
  for (const int64_t number : {SYS_read, SYS_readv}) {
    EXPECT_TRUE(OutlivesSignal(Call(number, {static_cast<uint64_t>(ends[0])})));
    EXPECT_FALSE(OutlivesSignal(Call(number, {static_cast<uint64_t>(event)})));
    EXPECT_FALSE(OutlivesSignal(Call(number, {static_cast<uint64_t>(file)})));
    EXPECT_FALSE(OutlivesSignal(Call(number, {static_cast<uint64_t>(-1)})));
  }
  for (const int opened : {ends[0], ends[1], event, file}) close(opened);
}

TEST(RestartableCallTest, ASocketOutlivesASignalUnlessItHasATimeoutOrAMinimum) {
  const timeval timeout{.tv_sec = 0, .tv_usec = 1000}, none{};
  const int two = 2, one = 1;
  for (const int domain : {AF_UNIX, AF_INET, AF_INET6}) {
    const int created = socket(domain, SOCK_STREAM, 0);
    if (created < 0 && domain == AF_INET6) continue;  // switched off on this machine
    const auto fd = static_cast<uint64_t>(created);
    const auto all_outlive = [fd] {
      int outlive = 0;
      for (const int64_t number : {SYS_read, SYS_readv, SYS_recvfrom, SYS_recvmsg, SYS_accept, SYS_accept4}) {
        outlive += OutlivesSignal(Call(number, {fd}));
      }
      return outlive;
    };
    EXPECT_EQ(all_outlive(), 6);
    EXPECT_FALSE(OutlivesSignal(Call(SYS_recvfrom, {fd, 0, 10, MSG_WAITALL})));
    EXPECT_FALSE(OutlivesSignal(Call(SYS_recvmsg, {fd, 0, MSG_WAITALL})));
    ASSERT_EQ(setsockopt(created, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    EXPECT_EQ(all_outlive(), 0);
    ASSERT_EQ(setsockopt(created, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)), 0);
    ASSERT_EQ(setsockopt(created, SOL_SOCKET, SO_RCVLOWAT, &two, sizeof(two)), 0);
    EXPECT_EQ(all_outlive(), 0);
    ASSERT_EQ(setsockopt(created, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one)), 0);
    EXPECT_EQ(all_outlive(), 6);
    close(created);
  }
  const int netlink = socket(AF_NETLINK, SOCK_RAW, 0);
  EXPECT_FALSE(OutlivesSignal(Call(SYS_read, {static_cast<uint64_t>(netlink)})));
  close(netlink);
}

}  // namespace
}  // namespace fiberscope::internal
