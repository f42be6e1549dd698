// Every process here dies by a signal (gtest's death tests); the matchers read what it wrote to standard error.
#include "runtime/crash_dump.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "runtime/fiber_pool.h"
#include "runtime/sync/channel.h"
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
                AllOf(HasSubstr("WriteToNull"), Not(HasSubstr("other fibers"))));
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

INSTANTIATE_TEST_SUITE_P(Processors, CrashDumpTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
