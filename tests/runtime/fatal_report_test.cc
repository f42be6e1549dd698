// Every mistake is made in a child process (gtest's death tests); the matchers read what it wrote to standard error.
#include "runtime/fatal_report.h"

#include <alloca.h>
#include <sched.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "runtime/fiber_pool.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

MATCHER_P2(HasTimes, text, times, "") {
  int found = 0;
  for (size_t at = arg.find(text); at != std::string::npos; at = arg.find(text, at + 1)) ++found;
  return found == times;
}

class FatalReportTest : public testing::RuntimeTest {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  // Runs `body` on a fiber that a named function spawns from a named fiber.
  template <typename F>
  __attribute__((noinline)) void SpawnsTheCulprit(F body, size_t stack_bytes = 64 << 10) {
    Spawn(body, {.name = "culprit", .stack_bytes = stack_bytes}).Join();
  }
  template <typename F>
  void Run(F body, size_t stack_bytes = 64 << 10) {
    RunInFiber([&] { SpawnsTheCulprit(body, stack_bytes); });
  }
};

template <typename E>
__attribute__((noinline, noipa)) void ThrowSite(const E& exception) {
  throw exception;
}

struct ThrowsInWhat : std::exception {
  const char* what() const noexcept override {
    ThrowSite(std::runtime_error("from what()"));
    return "";
  }
};
struct SaysNull : std::exception {
  const char* what() const noexcept override { return nullptr; }
};
struct NotStandard {
  int value = 3;
};

// ---- Exceptions

TEST_P(FatalReportTest, AnExceptionIsReportedWithTypeTextFiberAndThrowSite) {
  EXPECT_DEATH(Run([] { ThrowSite(std::runtime_error("no such order")); }),
               AllOf(HasSubstr("panic: std::runtime_error: no such order\n"),
                     ContainsRegex("fiber [0-9]+ \\[running\\] \"culprit\":\n"), HasSubstr("ThrowSite"),
                     ContainsRegex("created by .*SpawnsTheCulprit.* \\(0x[0-9a-f]+\\) in fiber [0-9]+\n"),
                     HasTimes("panic: ", 1)));
}

TEST_P(FatalReportTest, AnExceptionOfAnyTypeIsReportedWithItsType) {
  EXPECT_DEATH(Run([] { ThrowSite(NotStandard()); }), AllOf(ContainsRegex("panic: fiberscope::.*NotStandard\n"),
                                                            HasSubstr("ThrowSite"), HasSubstr("\"culprit\"")));
  EXPECT_DEATH(Run([] { ThrowSite(7); }), HasSubstr("panic: int\n"));
}

TEST_P(FatalReportTest, TextFromOutsideCannotForgeALine) {
  EXPECT_DEATH(Run([] { ThrowSite(std::runtime_error("first\nfiber 1 [running]:\r\x1b[31m \xff\xc3 \"quoted\" \\")); }),
               AllOf(HasSubstr("panic: std::runtime_error: first\\x0afiber 1 [running]:\\x0d\\x1b[31m \\xff\\xc3 "
                               "\\x22quoted\\x22 \\x5c\n"),
                     Not(HasSubstr("\nfiber 1 [running]:\r"))));
  EXPECT_DEATH(RunInFiber([] {
                 this_fiber::SetName("a\nb\"");
                 ThrowSite(1);
               }),
               HasSubstr("[running] \"a\\x0ab\\x22\":\n"));
}

TEST_P(FatalReportTest, AnEndlessTextIsCut) {
  EXPECT_DEATH(Run([] { ThrowSite(std::runtime_error(std::string(100'000, 'x'))); }),
               AllOf(HasSubstr(std::string(256, 'x')), Not(HasSubstr(std::string(300, 'x'))), HasSubstr("ThrowSite")));
}

TEST_P(FatalReportTest, AWhatThatFailsDoesNotHideTheReport) {
  EXPECT_DEATH(
      Run([] { ThrowSite(ThrowsInWhat()); }),
      AllOf(ContainsRegex("panic: fiberscope::.*ThrowsInWhat: \\(what\\(\\) threw\\)\n"), HasSubstr("ThrowSite")));
  EXPECT_DEATH(Run([] { ThrowSite(SaysNull()); }),
               AllOf(ContainsRegex("panic: fiberscope::.*SaysNull"), HasSubstr("ThrowSite")));
}

TEST_P(FatalReportTest, TheSmallestStackIsEnoughForTheReport) {
  EXPECT_DEATH(Run([] { ThrowSite(std::runtime_error("small")); }, 16 << 10),
               AllOf(HasSubstr("panic: std::runtime_error: small\n"), HasSubstr("ThrowSite"),
                     ContainsRegex("created by .*SpawnsTheCulprit"), Not(HasSubstr("stack overflow"))));
}

TEST_P(FatalReportTest, TerminateWithoutAnExceptionIsReportedToo) {
  EXPECT_DEATH(Run([] { std::terminate(); }),
               AllOf(HasSubstr("panic: std::terminate called without an exception\n"), HasSubstr("\"culprit\"")));
}

TEST_P(FatalReportTest, AnExceptionOnAPlainThreadDoesNotClaimToBeAFiber) {
  EXPECT_DEATH(
      {
        scheduler();
        std::thread([] { ThrowSite(std::runtime_error("plain")); }).join();
      },
      AllOf(HasSubstr("panic: std::runtime_error: plain\n"), Not(ContainsRegex("fiber [0-9]+")),
            Not(HasSubstr("created by"))));
}

// Goal: two that fail at the same time do not cut each other's report off. Method: the first one's what() waits until
// the second has thrown and has had ample opportunity to end the process.
std::atomic<bool> g_first_reports{false};
std::atomic<bool> g_second_throws{false};
struct SlowToSay : std::exception {
  const char* what() const noexcept override {
    g_first_reports = true;
    while (!g_second_throws) sched_yield();
    for (int i = 0; i < 20'000; ++i) sched_yield();
    return "the first";
  }
};

TEST_P(FatalReportTest, OfTwoFailuresAtTheSameTimeTheFirstIsReportedWhole) {
  EXPECT_DEATH(
      {
        scheduler();
        std::thread second([] {
          while (!g_first_reports) sched_yield();
          g_second_throws = true;
          throw std::runtime_error("the second");
        });
        Run([] { ThrowSite(SlowToSay()); });
        second.join();
      },
      AllOf(ContainsRegex("panic: fiberscope::.*SlowToSay: the first\n"), HasSubstr("ThrowSite"),
            ContainsRegex("created by .*SpawnsTheCulprit")));
}

// ---- Stack overflows

volatile int g_never = 0;

__attribute__((noinline, noipa)) int Recurse(int depth) {
  volatile char frame[256];
  frame[0] = static_cast<char>(depth);
  if (g_never != 0) return 0;
  return Recurse(depth + 1) + frame[0];
}

__attribute__((noinline, noipa)) int UseMuchStack(size_t bytes) {
  auto* const memory = static_cast<volatile char*>(alloca(bytes));
  memory[0] = 1;
  return memory[0];
}

auto OneOverflowReport() {
  return AllOf(HasTimes("fatal error: stack overflow\n", 1), ContainsRegex("fiber [0-9]+ \"culprit\": stack \\[0x"),
               HasSubstr("in its guard page"), ContainsRegex("created by .*SpawnsTheCulprit.* in fiber [0-9]+\n"),
               Not(HasSubstr("panic: ")));
}

TEST_P(FatalReportTest, EndlessRecursionIsReportedAsStackOverflow) {
  EXPECT_DEATH(Run([] { Recurse(0); }), OneOverflowReport());
  EXPECT_DEATH(Run([] { Recurse(0); }, 16 << 10), OneOverflowReport());
}

TEST_P(FatalReportTest, AnArrayLargerThanTheStackIsReportedAsStackOverflow) {
  EXPECT_DEATH(Run([] { UseMuchStack(1 << 20); }), OneOverflowReport());
}

TEST_P(FatalReportTest, AStackOverflowOfAPlainThreadDoesNotClaimToBeAFiber) {
  EXPECT_DEATH(
      {
        scheduler();
        std::thread([] { Recurse(0); }).join();
      },
      AllOf(Not(HasSubstr("fatal error: stack overflow")), Not(ContainsRegex("fiber [0-9]+"))));
}

TEST_P(FatalReportTest, AWildWriteIntoAnotherFibersGuardPageIsNotThatFibersOverflow) {
  EXPECT_DEATH(Run([] {
                 volatile char local = 0;
                 internal::ControlBlock* const self =
                     internal::FiberPool::Instance().BlockOfStack(reinterpret_cast<uintptr_t>(&local));
                 const uintptr_t guard = self->stack().low - 8;
                 Spawn([guard] { *reinterpret_cast<volatile char*>(guard) = 1; }).Join();
               }),
               Not(HasSubstr("fatal error: stack overflow")));
}

TEST_P(FatalReportTest, AnOverflowOfAStackWithoutGuardIsFoundWhenTheFiberEnds) {
  EXPECT_DEATH(
      {
        setenv("FIBERSCOPE_STACK_GUARDS", "none", 1);
        Run([] {
          const char local = 0;
          const auto* const block = internal::FiberPool::Instance().BlockOfStack(reinterpret_cast<uintptr_t>(&local));
          *reinterpret_cast<volatile char*>(block->stack().low - 1) = 1;
        });
      },
      AllOf(HasSubstr("fiberscope: some fiber stacks have no guard page"),
            HasSubstr("fatal error: stack overflow, found when the fiber had ended"),
            ContainsRegex("a fiber \"culprit\": stack \\[0x"), ContainsRegex("created by .*SpawnsTheCulprit")));
}

TEST_P(FatalReportTest, AFiberOnAStackWithoutGuardEndsNormallyIfItStayedInside) {
  EXPECT_EXIT(
      {
        setenv("FIBERSCOPE_STACK_GUARDS", "none", 1);
        Run([] {});
        std::_Exit(0);
      },
      ::testing::ExitedWithCode(0), HasTimes("no guard page", 1));
}

TEST_P(FatalReportTest, ANullPointerIsNotAStackOverflow) {
  EXPECT_DEATH(Run([] {
                 volatile char* volatile nowhere = nullptr;
                 *nowhere = 1;
               }),
               Not(HasSubstr("fatal error: stack overflow")));
}

INSTANTIATE_TEST_SUITE_P(Processors, FatalReportTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
