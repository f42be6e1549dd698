#include "runtime/thread_status.h"

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <string_view>
#include <thread>

#include "gtest/gtest.h"

namespace fiberscope::internal {
namespace {

TEST(ThreadStatusTest, ALineOfTheKernelsIsReadOrRefusedAsAWhole) {
  const auto call = ParseSystemCall("230 0x1 0x2 0x3 0x4 0x5 0x6 0x7ffdee5f3d38 0x7fac2a9e3503\n");
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->number, 230);
  EXPECT_EQ(call->arguments, (std::array<uint64_t, 6>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(call->sp, 0x7ffdee5f3d38u);
  EXPECT_EQ(call->pc, 0x7fac2a9e3503u);

  const auto no_call = ParseSystemCall("-1 0xffff 0x10\n");
  ASSERT_TRUE(no_call.has_value());
  EXPECT_EQ(no_call->number, -1);
  EXPECT_EQ(no_call->sp, 0xffffu);
  EXPECT_EQ(no_call->pc, 0x10u);

  for (const std::string_view line :
       {"", "\n", "running\n", "230\n", "230 0x1 0x2 0x3 0x4 0x5 0x6 0x7\n", "230 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8 0x9\n",
        "230 1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n", "230 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0xg\n", "-1 0x1\n",
        "99999999999999999999 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n", "230 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x11111111111111111\n"}) {
    EXPECT_FALSE(ParseSystemCall(line).has_value()) << line;
  }
}

TEST(ThreadStatusTest, ToldFromASleepingThreadAndFromARunningOne) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::atomic<int> id{0};
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    id = gettid();
    char byte;
    for (int i = 0; i < 2; ++i) EXPECT_EQ(read(ends[0], &byte, 1), 1);
    while (!stop) {
    }
  });
  while (id == 0 || !SleepingSystemCall(id)) sched_yield();
  // Its stack is its own, and the pc behind a `syscall` instruction.
  const auto call = SleepingSystemCall(id);
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->number, SYS_read);
  EXPECT_EQ(call->arguments[0], static_cast<uint64_t>(ends[0]));
  EXPECT_EQ(call->arguments[2], 1u);
  EXPECT_TRUE(SleepsInKernel(id));
  const auto sleeps = SleepCount(id);
  ASSERT_TRUE(sleeps.has_value());
  EXPECT_EQ(SleepCount(id), sleeps);

  ASSERT_EQ(write(ends[1], "x", 1), 1);
  while (SleepCount(id) == sleeps) sched_yield();  // it has slept once more
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  while (SleepsInKernel(id)) sched_yield();
  EXPECT_FALSE(SleepingSystemCall(id).has_value());
  stop = true;
  thread.join();
  close(ends[0]);
  close(ends[1]);
}

TEST(ThreadStatusTest, ASignalThatTheThreadBlocksIsPendingUntilItTakesIt) {
  const int number = SIGRTMIN + 3;
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, number);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
  EXPECT_FALSE(SignalIsPending(gettid(), number));
  ASSERT_EQ(pthread_kill(pthread_self(), number), 0);
  EXPECT_TRUE(SignalIsPending(gettid(), number));
  EXPECT_FALSE(SignalIsPending(gettid(), number + 1));
  EXPECT_FALSE(SignalIsPending(gettid(), number - 1));
  EXPECT_EQ(sigwaitinfo(&set, nullptr), number);
  EXPECT_FALSE(SignalIsPending(gettid(), number));
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
}

TEST(ThreadStatusTest, ABlockedSignalIsSeenAsSuch) {
  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMAX);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
  EXPECT_TRUE(SignalIsBlocked(gettid(), SIGRTMAX));
  EXPECT_FALSE(SignalIsBlocked(gettid(), SIGRTMAX - 1));
  EXPECT_FALSE(SignalIsBlocked(gettid(), 0));
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);
  EXPECT_FALSE(SignalIsBlocked(gettid(), SIGRTMAX));
}

TEST(ThreadStatusTest, TheNameIsWhatIsBetweenTheFirstAndTheLastBracket) {
  EXPECT_EQ(ParseThreadIdentity("4711 (work) S 1 2 3\n"), (ThreadIdentity{ThreadName("work"), 'S'}));
  EXPECT_EQ(ParseThreadIdentity("4711 (a) R (b) c) D 1\n"), (ThreadIdentity{ThreadName("a) R (b) c"), 'D'}));
  EXPECT_EQ(ParseThreadIdentity("4711 (\n\xff) R 1\n"), (ThreadIdentity{ThreadName("\n\xff"), 'R'}));
  EXPECT_EQ(ParseThreadIdentity("4711 () R"), (ThreadIdentity{ThreadName(""), 'R'}));
  EXPECT_EQ(ParseThreadIdentity("4711 (0123456789abcdefg) R 1\n"), (ThreadIdentity{ThreadName("0123456789abcde"), 'R'}));
  for (const std::string_view line : {"", "4711", "4711 (", "4711 )(", "4711 (a", "4711 (a)", "4711 (a) "}) {
    EXPECT_FALSE(ParseThreadIdentity(line).has_value()) << line;
  }
}

TEST(ThreadStatusTest, OfAThreadThatHasEndedNothingIsKnown) {
  int id = 0;
  std::thread([&] { id = gettid(); }).join();
  EXPECT_FALSE(SleepsInKernel(id));
  EXPECT_FALSE(SleepingSystemCall(id).has_value());
  EXPECT_FALSE(SleepCount(id).has_value());
  EXPECT_FALSE(IdentityOfThread(id).has_value());
  EXPECT_FALSE(SignalIsBlocked(id, SIGRTMAX));
  EXPECT_FALSE(SignalIsPending(id, SIGRTMAX));
}

}  // namespace
}  // namespace fiberscope::internal
