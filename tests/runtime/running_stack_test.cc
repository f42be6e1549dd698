// What fibers do when they do not let go of their threads, seen from outside.
#include "runtime/running_stack.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <ostream>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "gmock/gmock.h"
#include "runtime/thread_status.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using Outcome = RunningStack::Outcome;

constexpr std::chrono::minutes kLong{5};

std::vector<std::string> Functions(const RunningStack& stack) {
  std::vector<std::string> names;
  for (size_t i = 0; i < stack.pcs.size(); ++i) {
    char name[256];
    const auto pc = reinterpret_cast<void*>(stack.pcs[i] - (i == 0 ? 0 : 1));
    names.push_back(absl::Symbolize(pc, name, sizeof(name)) ? name : "?");
  }
  return names;
}

RunningStack CaptureOne(int thread_id) {
  const RunningThread thread{.thread_id = thread_id, .own_stack = {}};
  return CaptureRunningStacks({&thread, 1}, {.timeout = kLong}).front();
}

// ---- Threads that sleep in the kernel

int g_ends[2];     // a pipe
int g_sockets[2];  // connected to each other
std::timed_mutex g_timed_mutex;
pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;

struct SleepingCall {
  const char* name;
  // 0, or an error number: what the program sees. Called by SleepingFunction on a fiber.
  int (*call)();
  // Ends the call; null: it ends by itself.
  void (*end)();
  // Whether the stack must be had to the root: by a signal that the call outlives, or because the C library saves rbp.
  bool is_complete;
};
void PrintTo(const SleepingCall& call, std::ostream* os) { *os << call.name; }

int ErrorOf(int64_t result) { return result < 0 ? errno : 0; }
void WriteToBoth() {
  ASSERT_EQ(write(g_ends[1], "x", 1), 1);
  ASSERT_EQ(write(g_sockets[1], "x", 1), 1);
}

const SleepingCall kCalls[] = {
    // Those that a signal would cut short.
    {"sleep",
     [] {
       errno = 0;
       sleep(1);  // returns whole seconds: 0 even when it was cut short
       return errno;
     },
     nullptr, true},
    {"sleep_until",
     [] {
       const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
       std::this_thread::sleep_until(until);  // goes back to sleep after EINTR: what counts is what is seen
       return 0;
     },
     nullptr, false},
    {"clock_nanosleep",
     [] {
       const timespec duration{.tv_sec = 0, .tv_nsec = 300'000'000};
       return clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, nullptr);
     },
     nullptr, false},
    {"poll",
     [] {
       pollfd entry{.fd = g_ends[0], .events = POLLIN, .revents = 0};
       return ErrorOf(poll(&entry, 1, 60'000));
     },
     WriteToBoth, false},
    {"select",
     [] {
       fd_set set;
       FD_ZERO(&set);
       FD_SET(g_ends[0], &set);
       return ErrorOf(select(g_ends[0] + 1, &set, nullptr, nullptr, nullptr));
     },
     WriteToBoth, false},
    {"epoll_wait",
     [] {
       const int epoll = epoll_create1(0);
       epoll_event event{.events = EPOLLIN, .data = {}};
       epoll_ctl(epoll, EPOLL_CTL_ADD, g_ends[0], &event);
       const int error = ErrorOf(epoll_wait(epoll, &event, 1, -1));
       close(epoll);
       return error;
     },
     WriteToBoth, false},
    {"recv_with_timeout",
     [] {
       const timeval timeout{.tv_sec = 60, .tv_usec = 0}, none{};
       setsockopt(g_sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
       char byte;
       const int error = ErrorOf(recv(g_sockets[0], &byte, 1, 0));
       setsockopt(g_sockets[0], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
       return error;
     },
     WriteToBoth, false},
    {"recv_of_two_bytes",
     [] {
       char bytes[2];
       const ssize_t got = recv(g_sockets[0], bytes, 2, MSG_WAITALL);
       return got == 2 ? 0 : EINTR;
     },
     [] {
       WriteToBoth();
       WriteToBoth();
     },
     false},
    // Those that outlive one.
    {"read",
     [] {
       char byte;
       return ErrorOf(read(g_ends[0], &byte, 1));
     },
     WriteToBoth, true},
    {"recv",
     [] {
       char byte;
       return ErrorOf(recv(g_sockets[0], &byte, 1, 0));
     },
     WriteToBoth, true},
    {"pthread_mutex_lock",
     [] {
       const int error = pthread_mutex_lock(&g_mutex);
       pthread_mutex_unlock(&g_mutex);
       return error;
     },
     [] { pthread_mutex_unlock(&g_mutex); }, true},
    {"waitpid",
     [] {
       const pid_t child = fork();
       if (child == 0) {
         char byte;
         _exit(read(g_ends[0], &byte, 1) == 1 ? 0 : 1);
       }
       int status = 1;
       const int error = ErrorOf(waitpid(child, &status, 0));
       return error != 0 ? error : status;
     },
     WriteToBoth, true},
};

__attribute__((noinline, noipa)) int SleepingFunction(const SleepingCall& call) {
  const int error = call.call();
  asm volatile("" ::: "memory");  // not a tail call
  return error;
}

class SleepingThreadTest : public ::testing::TestWithParam<SleepingCall> {
 protected:
  void SetUp() override {
    ASSERT_EQ(pipe(g_ends), 0);
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, g_sockets), 0);
    pthread_mutex_lock(&g_mutex);
  }
  void TearDown() override {
    pthread_mutex_trylock(&g_mutex);
    pthread_mutex_unlock(&g_mutex);
    for (const int file : {g_ends[0], g_ends[1], g_sockets[0], g_sockets[1]}) close(file);
  }
};

TEST_P(SleepingThreadTest, IsSeenAsFarAsCanBeKnownAndNeverNoticesIt) {
  const SleepingCall& call = GetParam();
  Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  std::atomic<int> thread_id{0};
  std::atomic<int> error{-1};
  const Fiber fiber = scheduler.Spawn(
      [&] {
        thread_id = gettid();
        error = SleepingFunction(call);
      },
      {.name = "sleeper"});
  while (thread_id == 0 || !internal::SleepsInKernel(thread_id)) sched_yield();

  std::vector<RunningStack> stacks;
  for (int i = 0; i < 5; ++i) stacks.push_back(CaptureOne(thread_id));

  EXPECT_EQ(error, -1) << "it was still asleep";
  if (call.end != nullptr) call.end();
  fiber.Join();
  EXPECT_EQ(error, 0) << strerror(error);
  for (const RunningStack& stack : stacks) {
    ASSERT_EQ(stack.outcome, Outcome::kCaptured);
    EXPECT_EQ(stack.fiber, fiber.id());
    EXPECT_EQ(stack.word.state(), FiberState::kRunning);
    const auto functions = Functions(stack);
    // The function that made the call is always there.
    ASSERT_GE(functions.size(), 2u);
    EXPECT_THAT(functions, Contains(HasSubstr("kCalls")));
    if (call.is_complete) {
      EXPECT_EQ(stack.end, UnwindEnd::kRoot);
      EXPECT_THAT(functions, Contains(HasSubstr("SleepingFunction")));
    } else {
      EXPECT_THAT(stack.end, ::testing::AnyOf(UnwindEnd::kRoot, UnwindEnd::kUnknownRegister));
    }
  }
  std::printf("%s: end %d\n", call.name, static_cast<int>(stacks[0].end));
  for (const std::string& function : Functions(stacks[0])) std::printf("    %s\n", function.c_str());
}

INSTANTIATE_TEST_SUITE_P(Calls, SleepingThreadTest, ::testing::ValuesIn(kCalls),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- Threads that run

std::atomic<bool> g_stop{false};

__attribute__((noinline, noipa)) void SpinOnFiber() {
  while (!g_stop.load(std::memory_order_relaxed)) {
  }
}

class RunningStackTest : public testing::RuntimeTest {
 protected:
  void SetUp() override { g_stop = false; }
};

TEST_P(RunningStackTest, EachComputingFiberIsNamedWithItsStateWordAndItsWholeStack) {
  std::vector<std::atomic<int>> thread_ids(GetParam());
  std::vector<Fiber> fibers;
  for (int i = 0; i < GetParam(); ++i) {
    fibers.push_back(scheduler().Spawn([&thread_ids, i] {
      thread_ids[i] = gettid();
      SpinOnFiber();
    }));
  }
  std::vector<RunningThread> threads;
  for (std::atomic<int>& id : thread_ids) {
    while (id == 0) sched_yield();
    threads.push_back({.thread_id = id, .own_stack = {}});
  }
  std::vector<RunningStack> stacks;
  const auto spins = [](const RunningStack& stack) { return Functions(stack)[0].find("SpinOnFiber") != std::string::npos; };
  do {  // they may be on their way there still
    stacks = CaptureRunningStacks(threads, {.timeout = kLong});
  } while (!std::ranges::all_of(stacks, spins));
  for (int i = 0; i < GetParam(); ++i) {
    EXPECT_EQ(stacks[i].outcome, Outcome::kCaptured);
    EXPECT_EQ(stacks[i].fiber, fibers[i].id());
    EXPECT_EQ(stacks[i].word.state(), FiberState::kRunning);
    EXPECT_EQ(stacks[i].word.sequence() % 2, 1u);
    EXPECT_EQ(stacks[i].end, UnwindEnd::kRoot);
  }
  g_stop = true;
  for (const Fiber& fiber : fibers) fiber.Join();
}

TEST_P(RunningStackTest, AThreadThatHasEndedIsAHole) {
  int id = 0;
  std::thread([&] { id = gettid(); }).join();
  EXPECT_EQ(CaptureOne(id).outcome, Outcome::kNoThread);
}

TEST_P(RunningStackTest, WithoutASignalThoseThatSleepAreSeenAllTheSame) {
  std::vector<std::pair<int, struct sigaction>> before;
  struct sigaction handled = {};
  handled.sa_handler = [](int) {};
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) {
    before.emplace_back(number, handled);
    ASSERT_EQ(sigaction(number, &handled, &before.back().second), 0);
  }
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::atomic<int> sleeper{0}, spinner{0};
  std::thread sleeping([&] {
    sleeper = gettid();
    char byte;
    EXPECT_EQ(read(ends[0], &byte, 1), 1);
  });
  std::thread spinning([&] {
    spinner = gettid();
    SpinOnFiber();
  });
  while (sleeper == 0 || spinner == 0 || !internal::SleepsInKernel(sleeper) || internal::SleepsInKernel(spinner)) sched_yield();
  const std::array threads = {RunningThread{.thread_id = spinner, .own_stack = {}},
                              RunningThread{.thread_id = sleeper, .own_stack = {}}};
  const auto stacks = CaptureRunningStacks(threads, {.timeout = kLong});
  EXPECT_EQ(stacks[0].outcome, Outcome::kNoSignal);
  EXPECT_EQ(stacks[1].outcome, Outcome::kCaptured);
  g_stop = true;
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  sleeping.join();
  spinning.join();
  for (const auto& [number, action] : before) ASSERT_EQ(sigaction(number, &action, nullptr), 0);
  close(ends[0]);
  close(ends[1]);
}

// Goal: a handler at any moment of switches, allocations and throws disturbs none of them, and tells the right fiber and a
// right stack.
// Method: fibers do all that as fast as they can and check their results; their threads are captured again and again.
TEST_P(RunningStackTest, NothingIsDisturbedAndNothingInventedInAStormOfSwitchesAllocationsAndThrows) {
  constexpr unsigned kSeed = 20'260'802;
  constexpr int kFibers = 16;
  constexpr int kCaptures = 1'000;
  std::array<std::atomic<int>, kFibers> thread_ids{};
  std::array<std::atomic<uint64_t>, kFibers> ids{};
  std::atomic<int> wrong{0};
  std::vector<Fiber> fibers;
  for (int i = 0; i < kFibers; ++i) {
    fibers.push_back(scheduler().Spawn([&, i] {
      std::mt19937 random(kSeed + static_cast<unsigned>(i));
      ids[i] = this_fiber::id().value;
      while (!g_stop) {
        thread_ids[i] = gettid();
        errno = i + 1;
        switch (random() % 4) {
          case 0: this_fiber::Yield(); break;
          case 1: {
            const std::vector<char> block(random() % 5000 + 1, static_cast<char>(i));
            if (block.back() != static_cast<char>(i)) ++wrong;
            break;
          }
          case 2:
            try {
              throw std::runtime_error(std::to_string(i));
            } catch (const std::runtime_error& error) {
              if (error.what() != std::to_string(i)) ++wrong;
            }
            break;
          case 3: {
            double sum = 0;
            for (int n = 1; n < 50; ++n) sum += 1.0 / n;
            if (sum < 4.4 || sum > 4.5) ++wrong;
            break;
          }
        }
      }
    }));
  }
  for (auto& id : thread_ids) {
    while (id == 0) sched_yield();
  }
  uint64_t on_fibers = 0, complete = 0, gave_up = 0, bad = 0;
  std::set<uintptr_t> roots;
  std::set<uint64_t> seen;
  for (int i = 0; i < kCaptures; ++i) {
    std::set<int> workers(thread_ids.begin(), thread_ids.end());
    std::vector<RunningThread> threads;
    for (const int id : workers) threads.push_back({.thread_id = id, .own_stack = {}});
    for (const RunningStack& stack : CaptureRunningStacks(threads, {.timeout = kLong})) {
      ASSERT_EQ(stack.outcome, Outcome::kCaptured);
      if (!stack.fiber) continue;  // the worker's own stack
      ++on_fibers;
      seen.insert(stack.fiber.value);
      EXPECT_EQ(stack.word.state(), FiberState::kRunning);
      complete += stack.end == UnwindEnd::kRoot;
      gave_up += stack.end == UnwindEnd::kNoRule;
      bad += stack.end == UnwindEnd::kBadFrame;
      if (stack.end == UnwindEnd::kRoot) roots.insert(stack.pcs.back());
    }
  }
  g_stop = true;
  for (const Fiber& fiber : fibers) fiber.Join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(on_fibers, kCaptures / 2u) << "seed " << kSeed;
  // tests/runtime/unwind/interrupted_pc_test.cc says where a walk gives up, and where the compiler's rules are wrong.
  EXPECT_LE(gave_up, on_fibers / 200);
  EXPECT_LE(bad, on_fibers / 1000);
  EXPECT_GE(complete, on_fibers - on_fibers / 100);
  EXPECT_LE(roots.size(), 2u) << "the trampoline before and after the first call";
  const std::set<uint64_t> known(ids.begin(), ids.end());
  EXPECT_TRUE(std::ranges::includes(known, seen));
  EXPECT_GT(seen.size(), 1u);
  std::printf("%llu on fibers, %llu complete, %llu gave up, %llu bad\n", static_cast<unsigned long long>(on_fibers),
              static_cast<unsigned long long>(complete), static_cast<unsigned long long>(gave_up),
              static_cast<unsigned long long>(bad));
}

INSTANTIATE_TEST_SUITE_P(Processors, RunningStackTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope

int main(int argc, char** argv) {
  absl::InitializeSymbolizer(argv[0]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
