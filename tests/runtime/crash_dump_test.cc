// Every process here dies by a signal (gtest's death tests); the matchers read what it wrote to standard error.
#include "runtime/crash_dump.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "runtime/crash_threads.h"
#include "runtime/fiber_pool.h"
#include "runtime/stack_signal.h"
#include "runtime/sync/channel.h"
#include "runtime/thread_status.h"
#include "tests/runtime/unwind/guarded_stack.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ExitedWithCode;
using ::testing::HasSubstr;
using ::testing::Not;

// A sanitizer's own handler, which was there before ours, ends the process with a report of its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FIBERSCOPE_SANITIZED
#define EXPECT_KILLED(statement, signal, matcher) EXPECT_DEATH(statement, matcher)
#else
#define EXPECT_KILLED(statement, signal, matcher) EXPECT_EXIT(statement, ::testing::KilledBySignal(signal), matcher)
#endif

// UndefinedBehaviorSanitizer must let the mistakes be made.
#define FIBERSCOPE_MISTAKE __attribute__((noinline, noipa, no_sanitize("undefined")))

FIBERSCOPE_MISTAKE void WriteToNull() {
  volatile int* volatile null = nullptr;
  *null = 1;
  asm volatile("");
}
FIBERSCOPE_MISTAKE void DivideByZero() {
  volatile int zero = 0;
  volatile int one = 1;
  [[maybe_unused]] volatile int result = one / zero;
  asm volatile("");
}
__attribute__((noinline, noipa)) void RunIllegal() { asm volatile("ud2"); }
__attribute__((noinline, noipa)) void Abort() {
  std::abort();
  asm volatile("");
}
__attribute__((noinline, noipa)) void ParkOn(Channel<int>& channel) {
  channel.Receive();
  asm volatile("");
}

class CrashDumpTest : public testing::RuntimeTest {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  // `body` on a fiber, beside `parked` others.
  template <typename F>
  void Run(F body, int parked = 5, const CrashDumpOptions& options = {}) {
    InstallCrashDump(options);
    static Channel<int> never;
    for (int i = 0; i < parked; ++i)
      AwaitState(scheduler().Spawn([] { ParkOn(never); }, {.name = "parked"}), FiberState::kWaiting);
    scheduler().Spawn(body, {.name = "culprit"}).Join();
  }
};

TEST_P(CrashDumpTest, AFaultIsReportedWithItsStackAndAllFibers) {
  EXPECT_KILLED(
      Run(WriteToNull), SIGSEGV,
      AllOf(HasSubstr("fatal signal: SIGSEGV: Segmentation fault, code 1, address 0x0\npc 0x"),
            HasSubstr("created by "),
            ContainsRegex("fiber [0-9]+ \\[running\\] \"culprit\":\n    0x[0-9a-f]+ .*WriteToNull"),
            HasSubstr("\n5 other fibers\n"),
            ContainsRegex("\n5 fibers \\[channel receive, longest [0-9]+ s\\], one is fiber [0-9]+ \"parked\":\n"),
            ContainsRegex("    0x[0-9a-f]+ .*ParkOn")));
}

#ifndef FIBERSCOPE_SANITIZED  // they leave some of these alone
TEST_P(CrashDumpTest, EveryFatalSignalIsReported) {
  EXPECT_KILLED(Run(DivideByZero), SIGFPE,
                AllOf(HasSubstr("fatal signal: SIGFPE: "), HasSubstr("DivideByZero"), HasSubstr("5 other fibers")));
  EXPECT_KILLED(Run(RunIllegal), SIGILL,
                AllOf(HasSubstr("fatal signal: SIGILL: "), HasSubstr("RunIllegal"), HasSubstr("5 other fibers")));
  const auto send = [] {
    kill(getpid(), SIGBUS);
    pause();
  };
  EXPECT_KILLED(
      Run(send), SIGBUS,
      AllOf(HasSubstr("fatal signal: SIGBUS: Bus error, code 0, sent by process"), HasSubstr("other fibers")));
}
#endif

TEST_P(CrashDumpTest, AnAbortIsReported) {
  EXPECT_KILLED(Run(Abort), SIGABRT,
                AllOf(HasSubstr("fatal signal: SIGABRT: Aborted"), HasSubstr("Abort"), HasSubstr("\"culprit\""),
                      HasSubstr("\n5 other fibers\n")));
}

TEST_P(CrashDumpTest, AnUncaughtExceptionIsToldOnceAndThenAllFibers) {
  EXPECT_KILLED(Run([] { throw std::runtime_error("no such order"); }), SIGABRT,
                AllOf(HasSubstr("panic: std::runtime_error: no such order\n"), HasSubstr("fatal signal: SIGABRT"),
                      HasSubstr("\n5 other fibers\n"), Not(ContainsRegex("culprit(.|\n)*culprit"))));
}

TEST_P(CrashDumpTest, AFaultOnAPlainThreadIsReportedWithItsStack) {
  EXPECT_KILLED(
      Run([] { std::thread(WriteToNull).join(); }), SIGSEGV,
      AllOf(HasSubstr("fatal signal: SIGSEGV"),
            ContainsRegex("thread [0-9]+ \"[^\n]*\"\n    0x[0-9a-f]+ .*WriteToNull"), HasSubstr("\n6 other fibers\n")));
}

TEST_P(CrashDumpTest, TheTracebackMayBeShorter) {
  EXPECT_KILLED(Run(WriteToNull, 5, {.traceback = CrashDumpOptions::Traceback::kSingle}), SIGSEGV,
                AllOf(HasSubstr("WriteToNull"), Not(HasSubstr("other fibers")), Not(HasSubstr("other threads"))));
  EXPECT_KILLED(Run(WriteToNull, 5, {.traceback = CrashDumpOptions::Traceback::kNone}), SIGSEGV,
                AllOf(HasSubstr("fatal signal"), Not(HasSubstr("fiber "))));
}

TEST_P(CrashDumpTest, TheEnvironmentOverrulesAndAMistakeInItIsTold) {
  EXPECT_KILLED((setenv("FIBERSCOPE_TRACEBACK", "single", 1), Run(WriteToNull)), SIGSEGV,
                AllOf(HasSubstr("WriteToNull"), Not(HasSubstr("other fibers"))));
  EXPECT_KILLED((setenv("FIBERSCOPE_TRACEBACK", "a\nll", 1), Run(WriteToNull)), SIGSEGV,
                AllOf(HasSubstr("FIBERSCOPE_TRACEBACK=\"a\\x0all\" is ignored: it is none, single or all\n"),
                      HasSubstr("\n5 other fibers\n")));
}

TEST_P(CrashDumpTest, QuitEndsTheProcessOrNot) {
  EXPECT_KILLED((Run([] {}), raise(SIGQUIT)), SIGQUIT,
                AllOf(HasSubstr("fatal signal: SIGQUIT"), HasSubstr("\n5 other fibers\n")));
  // Twice: the first one leaves nothing behind that spoils the second.
  EXPECT_EXIT((Run([] {}, 5, {.quit_ends_process = false}), raise(SIGQUIT), raise(SIGQUIT), _exit(7)),
              ExitedWithCode(7), ContainsRegex("\n5 other fibers\n\n5 fibers(.|\n)*\n5 other fibers\n\n5 fibers"));
}

TEST_P(CrashDumpTest, QuitEndsABackgroundProcessOfAShellToo) {
  EXPECT_KILLED((signal(SIGQUIT, SIG_IGN), Run([] {}), raise(SIGQUIT), _exit(7)), SIGQUIT, HasSubstr("\n5 other fibers\n"));
}

void GoOn(int) {}

TEST_P(CrashDumpTest, AProcessThatOutlivesQuitIsReportedWhenItFails) {
  EXPECT_KILLED((signal(SIGQUIT, GoOn), Run([] {}), raise(SIGQUIT), std::thread(WriteToNull).join()), SIGSEGV,
                ContainsRegex("SIGQUIT(.|\n)*\n5 other fibers\n(.|\n)*SIGSEGV(.|\n)*\n5 other fibers\n"));
}

void EndWith3(int) { _exit(3); }

TEST_P(CrashDumpTest, AHandlerThatWasThereRunsAfterwards) {
  for (const int number : {SIGABRT, SIGSEGV}) {
    EXPECT_EXIT((signal(number, EndWith3), Run([number] { number == SIGABRT ? Abort() : WriteToNull(); })),
                ExitedWithCode(3), HasSubstr("\n5 other fibers\n"));
  }
}

void AbortInHandler(int) { std::abort(); }

TEST_P(CrashDumpTest, AHandlerThatAbortsMakesNoSecondDump) {
  EXPECT_EXIT((signal(SIGSEGV, AbortInHandler), Run(WriteToNull)), ::testing::KilledBySignal(SIGABRT),
              AllOf(HasSubstr("\n5 other fibers\n"), Not(HasSubstr("SIGABRT"))));
}

#ifndef __SANITIZE_THREAD__  // in its handlers a further signal ends the process
// The dump reads a stack that is not there any more.
TEST_P(CrashDumpTest, SurvivesItsOwnFaults) {
  const auto corrupt_and_fail = [] {
    internal::FiberPool::Instance().ForEachBlock([](internal::ControlBlock& block) {
      std::array<char, internal::AtomicName::kBytes> name;
      if (block.id.load() == 0 || block.name.Load(name) != "parked") return true;
      block.stack_high = 0x20000;  // nothing is mapped there
      constexpr uintptr_t kUnmapped = 0x20000 - 4096;
      std::memcpy(&block.context.saved_sp, &kUnmapped, sizeof(kUnmapped));
      return false;
    });
    WriteToNull();
  };
  EXPECT_KILLED(Run(corrupt_and_fail), SIGSEGV,
                AllOf(ContainsRegex("fault while reading fiber [0-9]+\n"), HasSubstr("\n5 other fibers\n"),
                      HasSubstr("\n4 fibers [")));
}
#endif

TEST_P(CrashDumpTest, ThreadsThatFailAtTheSameTimeMakeOneDump) {
  const auto fail_on_threads = [] {
    std::atomic<bool> go{false};
    std::thread first([&] {
      while (!go) sched_yield();
      WriteToNull();
    });
    std::thread second([&] {
      go = true;
      WriteToNull();
    });
    first.join();
    second.join();
  };
  EXPECT_KILLED(Run(fail_on_threads), SIGSEGV, Not(ContainsRegex("fatal signal(.|\n)*fatal signal")));
}

// ---- The other threads

// What is told of a thread that computes, once it has been named.
std::string SpinnerAs([[maybe_unused]] const std::string& text) {
#ifdef FIBERSCOPE_TSAN
  // It holds signals back until the thread enters its runtime, so whether there is an answer in time is open.
  return "\\[running\\][^\n]*:\n    (no stack: no answer in time\n|0x)";
#else
  return text + ":\n(    0x[^\n]*\n)*    0x[0-9a-f]+ [^\n]*SpinHere";
#endif
}

std::atomic<bool> g_stop{false};
std::atomic<int> g_ready{0};  // how many threads and fibers are where they belong
int g_ends[2];                 // a pipe

__attribute__((noinline, noipa)) void SpinHere() {
  ++g_ready;
  while (!g_stop.load(std::memory_order_relaxed)) asm volatile("");
}
__attribute__((noinline, noipa)) void ReadHere() {
  ++g_ready;
  char byte;
  [[maybe_unused]] const ssize_t got = read(g_ends[0], &byte, 1);
  asm volatile("");
}
void BlockAllAndSpin() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  SpinHere();
}

void AwaitReady(int count) {
  while (g_ready < count) sched_yield();
}

// A thread of that name until the process ends, once it is in `body`.
void StartThread(const char* name, void (*body)()) {
  const int before = g_ready;
  std::thread thread(body);
  pthread_setname_np(thread.native_handle(), name);
  thread.detach();
  AwaitReady(before + 1);
}

TEST_P(CrashDumpTest, TheOtherThreadsAreListedWithTheirStacks) {
  const auto fail_beside_threads = [] {
    ASSERT_EQ(pipe(g_ends), 0);
    StartThread("spin\ner", SpinHere);
    StartThread("reader", ReadHere);
    WriteToNull();
  };
  EXPECT_KILLED(Run(fail_beside_threads), SIGSEGV,
                AllOf(ContainsRegex("\n[0-9]+ other threads\n"),
                      HasSubstr(" \"spin\\x0aer\""), ContainsRegex(SpinnerAs(" \"spin.x0aer\" \\[running\\]")),
                      ContainsRegex("\nthread [0-9]+ \"reader\" \\[[a-z]+\\]:\n(    0x[^\n]*\n)*    0x[0-9a-f]+ [^\n]*ReadHere"),
                      HasSubstr("\n5 other fibers\n")));
}

TEST_P(CrashDumpTest, ARunningFiberIsListedWithItsThreadAndItsStack) {
  const auto fail_beside_fiber = [this] {
    Run([] {});
    scheduler().Spawn(SpinHere, {.name = "busy"});
    AwaitReady(1);
    WriteToNull();
  };
  EXPECT_KILLED(fail_beside_fiber(), SIGSEGV,
                AllOf(ContainsRegex(SpinnerAs("\nthread [0-9]+ \"fiber-w[0-9]+\" \\[running\\] runs fiber [0-9]+ \"busy\"")),
                      ContainsRegex("\n1 fiber \\[running\\], fiber [0-9]+ \"busy\":\n")));
}

TEST_P(CrashDumpTest, AThreadThatBlocksTheSignalIsNamed) {
  EXPECT_KILLED(Run([] {
                  StartThread("deaf", BlockAllAndSpin);
                  WriteToNull();
                }),
                SIGSEGV,
                ContainsRegex("\nthread [0-9]+ \"deaf\" \\[running\\]:\n"
                              "    no stack: the thread blocks signal [0-9]+, which asks for it\n"));
}

TEST_P(CrashDumpTest, ASignalThatTheApplicationHasTakenSinceIsNotSent) {
  EXPECT_KILLED(Run([] {
                  StartThread("spinner", SpinHere);
                  signal(internal::StackSignalNumber(), EndWith3);
                  WriteToNull();
                }),
                SIGSEGV,
                AllOf(HasSubstr(" \"spinner\""),
                      ContainsRegex(" \\[running\\]:\n    no stack: the application uses the signal that asks for it\n")));
}

#ifndef FIBERSCOPE_TSAN  // each dump waits a second for answers that it holds back
__attribute__((noinline, noipa)) void RaiseHere() {
  raise(SIGQUIT);
  asm volatile("");
}
std::string Contents(int file) {
  std::string text(static_cast<size_t>(lseek(file, 0, SEEK_END)), ' ');
  text.resize(static_cast<size_t>(pread(file, text.data(), text.size(), 0)));
  return text;
}

// Two threads keep failing, until a dump of one of them has met the other.
TEST_P(CrashDumpTest, AThreadThatFailedTooIsListedWithWhereThatWas) {
  const auto fail_together = [this] {
    Run([] {}, 5, {.quit_ends_process = false});
    const int error_output = dup(STDERR_FILENO);
    const int file = memfd_create("dumps", 0);
    ASSERT_EQ(dup2(file, STDERR_FILENO), STDERR_FILENO);
    StartThread("other", [] {
      ++g_ready;
      for (;;) RaiseHere();
    });
    std::string text;
    do {
      ASSERT_EQ(ftruncate(file, 0), 0);
      lseek(file, 0, SEEK_SET);
      RaiseHere();
      text = Contents(file);
    } while (text.find(", too]") == std::string::npos);
    [[maybe_unused]] const ssize_t written = write(error_output, text.data(), text.size());
    _exit(7);
  };
  EXPECT_EXIT(fail_together(), ExitedWithCode(7),
              ContainsRegex("\nthread [0-9]+ \"[^\"]*\" \\[SIGQUIT, too\\]:\n(    0x[^\n]*\n)*    0x[0-9a-f]+ [^\n]*RaiseHere"));
}
#endif

std::atomic<int> g_poller{0};
std::atomic<int> g_poll_result{-2};
__attribute__((noinline, noipa)) void PollHere() {
  g_poller = gettid();
  ++g_ready;
  pollfd entry{.fd = g_ends[0], .events = POLLIN, .revents = 0};
  g_poll_result = poll(&entry, 1, -1);
}

TEST_P(CrashDumpTest, QuitThatLeavesTheProcessAliveCutsNoSystemCallShort) {
  const auto quit_beside_poll = [this] {
    Run([] {}, 5, {.quit_ends_process = false});
    ASSERT_EQ(pipe(g_ends), 0);
    StartThread("poller", PollHere);
    while (!internal::SleepsInKernel(g_poller)) sched_yield();
    for (int i = 0; i < 3; ++i) raise(SIGQUIT);
    ASSERT_EQ(write(g_ends[1], "x", 1), 1);
    while (g_poll_result == -2) sched_yield();
    _exit(g_poll_result == 1 ? 7 : 1);
  };
  EXPECT_EXIT(quit_beside_poll(), ExitedWithCode(7),
              ContainsRegex("\nthread [0-9]+ \"poller\" \\[sleeping\\]:\n(    0x[^\n]*\n)*    0x[0-9a-f]+ [^\n]*PollHere"));
}

#ifndef FIBERSCOPE_SANITIZED  // their frames are larger
// A page below it cannot be accessed, so that a handler that needs more ends the process.
TEST_P(CrashDumpTest, TheHandlerFitsASmallAlternateStack) {
  const auto quit_on_small_stack = [this] {
    constexpr uintptr_t kPaint = 0x5a5a5a5a5a5a5a5a;
    const testing::GuardedStack memory(getauxval(AT_MINSIGSTKSZ) + (8 << 10));
    std::ranges::fill(memory.words(), kPaint);
    Run([] {}, 5, {.quit_ends_process = false});
    ASSERT_EQ(pipe(g_ends), 0);
    StartThread("spinner", SpinHere);
    StartThread("reader", ReadHere);
    std::thread([&] {
      const stack_t alternate{.ss_sp = memory.words().data(), .ss_flags = 0, .ss_size = memory.words().size_bytes()};
      ASSERT_EQ(sigaltstack(&alternate, nullptr), 0);
      RaiseHere();
      const auto used = std::ranges::find_if(memory.words(), [](uintptr_t word) { return word != kPaint; });
      std::fprintf(stderr, "%td of %zu bytes used\n", (memory.words().end() - used) * 8, memory.words().size_bytes());
    }).join();
    _exit(7);
  };
  EXPECT_EXIT(quit_on_small_stack(), ExitedWithCode(7), AllOf(HasSubstr("\n5 other fibers\n"), HasSubstr("SpinHere")));
}
#endif

TEST_P(CrashDumpTest, ThreadsThatAreAlikeAreToldOnceAndThoseThatDoNotFitAreCounted) {
  constexpr int kThreads = internal::CrashThreads::kMost + 20;
  const auto fail_beside_many = [] {
    ASSERT_EQ(pipe(g_ends), 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 << 10);
    for (int i = 0; i < kThreads; ++i) {
      const auto read_here = [](void*) -> void* { return ReadHere(), nullptr; };
      pthread_t thread;
      ASSERT_EQ(pthread_create(&thread, &attributes, read_here, nullptr), 0);
    }
    AwaitReady(kThreads);
    WriteToNull();
  };
  EXPECT_KILLED(Run(fail_beside_many), SIGSEGV,
                AllOf(ContainsRegex("\n10[0-9]+ other threads\n"),
                      ContainsRegex("\n[0-9]{3,4} threads \\[sleeping\\]:\n(    0x[^\n]*\n)*    0x[0-9a-f]+ [^\n]*ReadHere[^\n]*\n"
                                    "(    [^\n]*\n)*these are [0-9]+ \""),
                      ContainsRegex("\n[0-9]+ more threads, beyond the first 1024\n"), HasSubstr("\n5 other fibers\n")));
}

INSTANTIATE_TEST_SUITE_P(Processors, CrashDumpTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
