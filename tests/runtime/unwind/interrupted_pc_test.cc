// Goal: a walk from any instruction at which a thread may be interrupted, in prologues, epilogues, procedure linkage
// stubs, the dynamic linker and the unwinder of exceptions itself, is right.
// Method: a handler on an alternate stack holds our walk from the interrupted registers against libgcc's walk through
// the signal frame. Once after every single instruction (trap flag) of short work, and once at random (timer) in long
// work.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/auxv.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/runtime/unwind/foreign_frames.h"
#include "tests/runtime/unwind/guarded_stack.h"
#include "tests/runtime/unwind/stack_truth.h"

namespace fiberscope {
namespace {

using testing::CaptureWithLibgcc;
using testing::Pcs;
using testing::ThreadStack;

// What the handler found. Plain data: it runs on the only thread that uses it.
struct Findings {
  static constexpr size_t kMaxKept = 20;
  struct Difference {
    uintptr_t pc;        // interrupted
    uintptr_t frame_pc;  // the frame whose caller we got wrong
    UnwindEnd end;
  };

  StackBounds stack;
  size_t samples = 0;
  size_t equal = 0;
  size_t gave_up = 0;   // ended early with kNoRule, and right up to there
  size_t unusable = 0;  // libgcc did not find its way out of the handler, or came to an address that is no code
  size_t kept = 0;
  std::array<Difference, kMaxKept> differences;

  size_t different() const { return samples - equal - gave_up - unusable; }
  std::string Describe() const {
    std::string text = absl::StrFormat("%d samples: %d equal, %d gave up, %d wrong, %d unusable\n", samples, equal,
                                       gave_up, different(), unusable);
    for (const Difference& d : std::span(differences).first(kept)) {
      absl::StrAppendFormat(&text, "  at %s, differs behind %s, end %d\n", Where(d.pc), Where(d.frame_pc),
                            static_cast<int>(d.end));
    }
    return text;
  }

 private:
  static std::string Where(uintptr_t pc) {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(pc), &info) == 0) return absl::StrFormat("%x", pc);
    return absl::StrFormat("%s+%x (%s)", info.dli_fname, pc - reinterpret_cast<uintptr_t>(info.dli_fbase),
                           info.dli_sname != nullptr ? info.dli_sname : "?");
  }
};

Findings g_findings;
Pcs g_truth;
Pcs g_ours;

void CompareInterruptedStack(int, siginfo_t*, void* context) {
  const int saved_errno = errno;
  const Registers interrupted = InterruptedRegisters(context);
  const UnwindResult result = Unwind(*UnwindTable::Current(), interrupted, g_findings.stack, g_ours.values);
  g_ours.depth = result.depth;
  CaptureWithLibgcc(g_truth);
  ++g_findings.samples;
  // In front of the interrupted frame libgcc has those of this handler.
  const auto truth_begin = std::find(g_truth.From(0).begin(), g_truth.From(0).end(), interrupted.pc);
  const std::span truth(truth_begin, g_truth.From(0).end());
  const size_t common = std::ranges::mismatch(truth, g_ours.From(0)).in1 - truth.begin();
  const bool is_truth = !truth.empty() && std::ranges::all_of(truth.subspan(1), [](uintptr_t pc) {
    return UnwindTable::Current()->Find(pc - 1) != nullptr;
  });
  if (!is_truth) {
    ++g_findings.unusable;
  } else if (common == truth.size() && common == g_ours.depth) {
    ++g_findings.equal;
  } else {
    g_findings.gave_up += result.end == UnwindEnd::kNoRule && common == g_ours.depth;
    if (g_findings.kept < Findings::kMaxKept) {
      g_findings.differences[g_findings.kept++] = {interrupted.pc, truth[std::max<size_t>(common, 1) - 1], result.end};
    }
  }
  errno = saved_errno;
}

// Runs CompareInterruptedStack for `signal_number` on an alternate stack.
class InterruptedPcTest : public ::testing::Test {
 protected:
  // Ours needs less than 1 KiB; libgcc's walk takes most of it.
  static constexpr size_t kStackBytes = 64 << 10;

  void SetUp() override {
    UnwindTable::Refresh();
    CaptureWithLibgcc(g_truth);  // libgcc's own initialisation is not for a handler
    g_findings = Findings{};
    g_findings.stack = ThreadStack();
    const stack_t alternate{.ss_sp = stack_.get(), .ss_flags = 0, .ss_size = kStackBytes};
    ASSERT_EQ(sigaltstack(&alternate, &previous_stack_), 0);
  }
  void TearDown() override { ASSERT_EQ(sigaltstack(&previous_stack_, nullptr), 0); }

  static void Handle(int signal_number) {
    struct sigaction action = {};
    action.sa_sigaction = CompareInterruptedStack;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    ASSERT_EQ(sigaction(signal_number, &action, nullptr), 0);
  }

 private:
  std::unique_ptr<char[]> stack_ = std::make_unique<char[]>(kStackBytes);
  stack_t previous_stack_ = {};
};

volatile int g_sink;

__attribute__((noinline)) void Realigned(int x) {
  alignas(64) volatile char buffer[128];
  buffer[x] = static_cast<char>(x);
  g_sink = buffer[x];
}

__attribute__((noinline)) void ThrowAndCatch() {
  struct Guard {
    ~Guard() { g_sink = g_sink + 1; }
  };
  try {
    const Guard guard;
    throw std::runtime_error("thrown to be caught");
  } catch (const std::exception& e) {
    g_sink = e.what()[0];
  }
}

void Sort() {
  std::vector<std::string> words;
  for (int i = 0; i < 30; ++i) words.push_back(std::to_string(i * 7919 % 1000));
  std::sort(words.begin(), words.end());
  g_sink = words[0][0];
}

void Format() {
  char text[64];
  std::snprintf(text, sizeof(text), "%g %s %d", 3.25e-7, "text", 42);
  g_sink = static_cast<int>(std::strtod(text, nullptr) * 1e9);
  std::ostringstream stream;
  stream << 1.5 << ' ' << 42;
  double back = 0;
  std::istringstream(stream.str()) >> back;
  g_sink = static_cast<int>(back);
}

void MatchRegex() {
  const std::string text = "abaabbabc123";
  std::smatch match;
  g_sink = std::regex_match(text, match, std::regex("(a|b)*c[0-9]+x?"));
}

int ReturnSeven() { return 7; }
void ForeignFrames() {
  CallWithCfaInRbx(ReturnSeven);
  CallWithCfaInR12(ReturnSeven);
  CallWithCfaByExpression(ReturnSeven);
  CallWithMovedReturnAddress(ReturnSeven);
}

// Equal but for two small exceptions, none of them silent:
// - Where only a scratch register leads on, the walk must give up: in the last instructions of libgcc's unwinder, the
//   first of a realigned frame without frame pointer, and in ForeignFrames() on purpose.
// - At the `ret` of such a realigned frame, gcc 12 forgets to say that rbp has been restored. libgcc, which reads any
//   memory, then goes astray; there is no truth to compare with.
void ExpectAllRight() {
  std::printf("%s", g_findings.Describe().c_str());
  EXPECT_EQ(g_findings.different(), 0u);
  EXPECT_LE(g_findings.gave_up, g_findings.samples / 1000);
  EXPECT_LE(g_findings.unusable, g_findings.samples / 10'000);
}

TEST_F(InterruptedPcTest, IsWalkedRightlyAfterEverySingleInstruction) {
  void* library = dlopen("tests/runtime/unwind/libforeign.so", RTLD_LAZY | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const auto lazy_call = reinterpret_cast<int (*)(const char*)>(dlsym(library, "ForeignLazyCall"));
  const auto realigned =
      reinterpret_cast<int (*)(int, int, int, int, int, int, int, int (*)())>(dlsym(library, "ForeignRealigned"));
  UnwindTable::Refresh();
  Handle(SIGTRAP);

  StartSingleStepping();
  lazy_call("12.5");
  StopSingleStepping();
  const size_t with_resolver = g_findings.samples;
  StartSingleStepping();
  lazy_call("12.5");
  StopSingleStepping();
  // The library was bound lazily: its first calls led through the linker.
  EXPECT_GT(with_resolver, 2 * (g_findings.samples - with_resolver));

  StartSingleStepping();
  realigned(1, 2, 3, 4, 5, 6, 7, ReturnSeven);
  Realigned(5);
  ThrowAndCatch();
  Sort();
  ForeignFrames();
  StopSingleStepping();

  EXPECT_GT(g_findings.samples, 10'000u);
  ExpectAllRight();
  dlclose(library);
}

int DescendAndRaise(int depth);
// Through a pointer that the compiler cannot see through, so that each call has its frame.
int (*volatile g_descend)(int) = DescendAndRaise;
int DescendAndRaise(int depth) { return depth == 0 ? raise(SIGUSR1) : g_descend(depth - 1) + g_sink; }

// What a worker's alternate stack has: the kernel's minimum and 8 KiB. Below it lies a page that cannot be accessed.
TEST(SmallAlternateStackTest, AWalkInAHandlerFits) {
  UnwindTable::Refresh();
  g_findings.stack = ThreadStack();
  const testing::GuardedStack memory(getauxval(AT_MINSIGSTKSZ) + (8 << 10));
  const stack_t alternate{.ss_sp = memory.words().data(), .ss_flags = 0, .ss_size = memory.words().size_bytes()};
  stack_t previous = {};
  ASSERT_EQ(sigaltstack(&alternate, &previous), 0);
  struct sigaction action = {};
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    const Registers interrupted = InterruptedRegisters(context);
    const UnwindResult result = Unwind(*UnwindTable::Current(), interrupted, g_findings.stack, g_ours.values);
    g_ours.depth = result.end == UnwindEnd::kRoot ? result.depth : 0;
  };
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);

  DescendAndRaise(100);

  EXPECT_GT(g_ours.depth, 100u);
  ASSERT_EQ(sigaltstack(&previous, nullptr), 0);
}

TEST_F(InterruptedPcTest, IsWalkedRightlyAtRandomTimes) {
  constexpr size_t kSamples = 100'000;
  Handle(SIGALRM);
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  timer_t timer;
  ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  const itimerspec every_97_us = {.it_interval = {0, 97'000}, .it_value = {0, 97'000}};
  ASSERT_EQ(timer_settime(timer, 0, &every_97_us, nullptr), 0);

  while (g_findings.samples < kSamples) {
    Realigned(5);
    ThrowAndCatch();
    Sort();
    Format();
    MatchRegex();
  }

  ASSERT_EQ(timer_delete(timer), 0);
  ExpectAllRight();
}

}  // namespace
}  // namespace fiberscope
