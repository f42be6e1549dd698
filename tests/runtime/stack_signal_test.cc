// Threads of this test's own, each in a function that it can be recognised by.
#include "runtime/stack_signal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "gmock/gmock.h"
#include "runtime/base/clock.h"
#include "runtime/thread_status.h"
#include "tests/runtime/unwind/guarded_stack.h"

namespace fiberscope::internal {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Outcome = RunningStack::Outcome;

// No test waits that long; the deadline of those that want an answer.
constexpr std::chrono::minutes kLong{5};
// Of those that cannot get one.
constexpr std::chrono::milliseconds kShort{5};

std::vector<std::string> Functions(const RunningStack& stack) {
  std::vector<std::string> names;
  for (size_t i = 0; i < stack.pcs.size(); ++i) {
    char name[256];
    const auto pc = reinterpret_cast<void*>(stack.pcs[i] - (i == 0 ? 0 : 1));
    names.push_back(absl::Symbolize(pc, name, sizeof(name)) ? name : "?");
  }
  return names;
}

// What a thread does until it is told to stop. Computes: no system calls.
std::atomic<bool> g_stop{false};
volatile uint64_t g_sink;

__attribute__((noinline, noipa)) void SpinInner() {
  while (!g_stop.load(std::memory_order_relaxed)) g_sink = g_sink + 1;
}
__attribute__((noinline, noipa)) void SpinOuter() {
  SpinInner();
  g_sink = 1;
}
__attribute__((noinline, noipa)) void OtherSpin() {
  while (!g_stop.load(std::memory_order_relaxed)) g_sink = g_sink + 2;
}
__attribute__((noinline, noipa)) uint64_t Descend(int depth) {
  if (depth == 0) SpinInner();
  return (depth == 0 ? 0 : Descend(depth - 1)) + g_sink;
}

// A thread that runs `body` until the end of the test.
class TestThread {
 public:
  explicit TestThread(std::function<void()> body) : thread_([this, body] {
          stack_ = ThreadStackBounds();
          id_ = gettid();
          body();
        }) {
    while (id_ == 0) sched_yield();
  }
  ~TestThread() {
    g_stop = true;
    thread_.join();
  }
  int id() const { return id_; }
  RunningThread running() const { return {.thread_id = id_, .own_stack = stack_}; }

 private:
  std::atomic<int> id_{0};
  StackBounds stack_;
  std::thread thread_;
};

class StackSignalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    g_stop = false;
    UnwindTable::Refresh();
  }

  static RunningStack AskOne(const RunningThread& thread, std::chrono::nanoseconds timeout = kLong) {
    RunningStack stack;
    EXPECT_TRUE(AskForStacks({&thread, 1}, timeout, {&stack, 1}).ok());
    return stack;
  }
  // The thread may be on its way to its function still.
  static RunningStack AskUntilIn(const RunningThread& thread, const char* function) {
    for (;;) {
      RunningStack stack = AskOne(thread);
      for (const std::string& name : Functions(stack)) {
        if (name.find(function) != std::string::npos) return stack;
      }
    }
  }
  static sigset_t OurSignal() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, StackSignalNumber());
    return set;
  }
  // The signal is chosen.
  static void Choose() { AskOne({.thread_id = gettid(), .own_stack = {}}); }
};

TEST_F(StackSignalTest, ABusyThreadTellsItsFunctionsFromTheExactPcToTheRoot) {
  TestThread thread(SpinOuter);
  const RunningStack stack = AskUntilIn(thread.running(), "SpinInner");
  EXPECT_EQ(stack.outcome, Outcome::kCaptured);
  EXPECT_EQ(stack.end, UnwindEnd::kRoot);
  EXPECT_FALSE(stack.fiber);
  const auto functions = Functions(stack);
  EXPECT_THAT(functions[0], HasSubstr("SpinInner"));
  EXPECT_THAT(functions[1], HasSubstr("SpinOuter"));
}

TEST_F(StackSignalTest, SeveralThreadsAnswerOneRequestEachInItsPlace) {
  TestThread first(SpinOuter), second(OtherSpin);
  AskUntilIn(first.running(), "SpinInner");
  AskUntilIn(second.running(), "OtherSpin");
  const std::array threads = {second.running(), first.running(), second.running()};
  std::array<RunningStack, 3> stacks;
  ASSERT_TRUE(AskForStacks(threads, kLong, stacks).ok());
  EXPECT_THAT(Functions(stacks[0]), Contains(HasSubstr("OtherSpin")));
  EXPECT_THAT(Functions(stacks[1]), Contains(HasSubstr("SpinInner")));
  EXPECT_THAT(Functions(stacks[2]), Contains(HasSubstr("OtherSpin"))) << "asked twice, answers twice";
}

TEST_F(StackSignalTest, MoreThreadsThanPlacesAreAskedInTurns) {
  TestThread thread(SpinOuter);
  AskUntilIn(thread.running(), "SpinInner");
  // Among them one that cannot be asked: each answer is where it belongs.
  std::vector<RunningThread> threads(600, thread.running());
  threads[300].thread_id = -1;
  std::vector<RunningStack> stacks(threads.size());
  ASSERT_TRUE(AskForStacks(threads, kLong, stacks).ok());
  for (size_t i = 0; i < stacks.size(); ++i) {
    ASSERT_EQ(stacks[i].outcome, i == 300 ? Outcome::kRefused : Outcome::kCaptured);
    if (i == 300) continue;
    ASSERT_THAT(Functions(stacks[i]), Contains(HasSubstr("SpinOuter")));
  }
}

TEST_F(StackSignalTest, TheRequestingThreadCanAskItself) {
  const RunningStack stack = AskOne({.thread_id = gettid(), .own_stack = ThreadStackBounds()});
  EXPECT_EQ(stack.outcome, Outcome::kCaptured);
  EXPECT_THAT(Functions(stack), Contains(HasSubstr("AskForStacks")));
}

TEST_F(StackSignalTest, OfAnUnknownStackOnlyThePcIsTold) {
  TestThread thread(SpinOuter);
  AskUntilIn(thread.running(), "SpinInner");
  const RunningStack stack = AskOne({.thread_id = thread.id(), .own_stack = {}});
  EXPECT_EQ(stack.outcome, Outcome::kCaptured);
  EXPECT_EQ(stack.pcs.size(), 1u);
  EXPECT_EQ(stack.end, UnwindEnd::kBadFrame);
  // Bounds of another stack are no better than none.
  const RunningStack wrong = AskOne({.thread_id = thread.id(), .own_stack = ThreadStackBounds()});
  EXPECT_EQ(wrong.pcs.size(), 1u);
}

TEST_F(StackSignalTest, ADeepStackIsCutAtTheOuterEnd) {
  TestThread thread([] { Descend(RunningStack::kMaxFrames + 50); });
  const RunningStack stack = AskUntilIn(thread.running(), "SpinInner");
  EXPECT_EQ(stack.end, UnwindEnd::kBufferFull);
  EXPECT_EQ(stack.pcs.size(), RunningStack::kMaxFrames);
  EXPECT_THAT(Functions(stack)[0], HasSubstr("SpinInner"));
}

TEST_F(StackSignalTest, AThreadThatHasEndedIsSaidToHave) {
  int id = 0;
  std::thread([&] { id = gettid(); }).join();
  EXPECT_EQ(AskOne({.thread_id = id, .own_stack = {}}).outcome, Outcome::kNoThread);
}

TEST_F(StackSignalTest, WithoutRoomForASignalTheOutcomeIsRefused) {
  TestThread thread(SpinOuter);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_SIGPENDING, &before), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &none), 0);
  EXPECT_EQ(AskOne(thread.running()).outcome, Outcome::kRefused);
  ASSERT_EQ(setrlimit(RLIMIT_SIGPENDING, &before), 0);
  EXPECT_EQ(AskOne(thread.running()).outcome, Outcome::kCaptured);
}

// What a worker's alternate stack need not be larger than: the kernel's minimum and 8 KiB, a page below it that cannot be accessed.
TEST_F(StackSignalTest, TheHandlerFitsASmallAlternateStack) {
  constexpr uintptr_t kPaint = 0x5a5a5a5a5a5a5a5a;
  const testing::GuardedStack memory(getauxval(AT_MINSIGSTKSZ) + (8 << 10));
  std::ranges::fill(memory.words(), kPaint);
  TestThread thread([&] {
    const stack_t alternate{.ss_sp = memory.words().data(), .ss_flags = 0, .ss_size = memory.words().size_bytes()};
    stack_t before;
    ASSERT_EQ(sigaltstack(&alternate, &before), 0);
    Descend(100);
    ASSERT_EQ(sigaltstack(&before, nullptr), 0);
  });
  const RunningStack stack = AskUntilIn(thread.running(), "SpinInner");
  EXPECT_GT(stack.pcs.size(), 100u);
  const auto words = memory.words();
  const size_t untouched = std::ranges::find_if(words, [&](uintptr_t w) { return w != kPaint; }) - words.begin();
  EXPECT_LT(untouched, words.size()) << "it ran somewhere else";
  RecordProperty("bytes_used", static_cast<int>((words.size() - untouched) * sizeof(uintptr_t)));
  std::printf("%zu of %zu bytes used\n", (words.size() - untouched) * sizeof(uintptr_t), words.size_bytes());
}

TEST_F(StackSignalTest, ErrnoIsKeptAndStraySignalsAreIgnored) {
  Choose();
  std::atomic<int> turns{0};
  std::atomic<bool> kept{true};
  TestThread thread([&] {
    errno = 77;
    while (!g_stop) {
      if (errno != 77) kept = false;
      ++turns;
    }
  });
  const int number = StackSignalNumber();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(AskOne(thread.running()).outcome, Outcome::kCaptured);
    // By kill, and with numbers that nobody has asked with.
    ASSERT_EQ(syscall(SYS_tgkill, getpid(), thread.id(), number), 0);
    for (const uintptr_t value : {uintptr_t{0}, uintptr_t{1}, ~uintptr_t{0}, uintptr_t{256} * 1'000'000}) {
      siginfo_t info = {};
      info.si_code = SI_QUEUE;
      info.si_value.sival_ptr = reinterpret_cast<void*>(value);
      ASSERT_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), thread.id(), number, &info), 0);
    }
  }
  for (const int before = turns; turns == before;) sched_yield();
  EXPECT_TRUE(kept);
}

TEST_F(StackSignalTest, AThreadThatBlocksTheSignalIsAHoleAndIsSentOneSignalOnly) {
  Choose();
  std::atomic<bool> count{false};
  int pending = 0;
  {
    TestThread thread([&] {
      const sigset_t ours = OurSignal();
      pthread_sigmask(SIG_BLOCK, &ours, nullptr);
      while (!count) sched_yield();
      const timespec now = {};
      siginfo_t info;
      while (sigtimedwait(&ours, &info, &now) > 0) ++pending;
      pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
      SpinOuter();
    });
    // It may answer until it has come to block it.
    while (AskOne(thread.running(), kShort).outcome == Outcome::kCaptured) {
    }
    for (int i = 0; i < 3; ++i) EXPECT_EQ(AskOne(thread.running(), kShort).outcome, Outcome::kNoAnswer);
    count = true;
    while (SignalIsPending(thread.id(), StackSignalNumber())) sched_yield();
    // The signal is gone, by no fault of ours: that is noticed, and the thread asked anew.
    EXPECT_THAT(Functions(AskUntilIn(thread.running(), "SpinInner"))[0], HasSubstr("SpinInner"));
  }
  EXPECT_EQ(pending, 1);
}

// The handler of the first request runs while the second one is open, and has answered it nothing.
TEST_F(StackSignalTest, AHandlerThatComesTooLateLeavesTheNextRequestAlone) {
  Choose();
  const sigset_t ours = OurSignal();
  std::atomic<bool> late_go{false}, late_done{false}, other_go{false};
  std::atomic<int> blocked{0};
  TestThread late([&] {
    pthread_sigmask(SIG_BLOCK, &ours, nullptr);
    ++blocked;
    while (!late_go) {
    }
    pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);  // the handler runs in here
    late_done = true;
    OtherSpin();
  });
  TestThread other([&] {
    pthread_sigmask(SIG_BLOCK, &ours, nullptr);
    ++blocked;
    while (!other_go) {
    }
    pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
    SpinOuter();
  });
  while (blocked != 2) sched_yield();
  ASSERT_EQ(AskOne(late.running(), kShort).outcome, Outcome::kNoAnswer);
  ASSERT_TRUE(SignalIsPending(late.id(), StackSignalNumber()));

  std::optional<RunningStack> second;
  std::thread requester([&] { second = AskOne(other.running()); });
  while (!SignalIsPending(other.id(), StackSignalNumber())) sched_yield();
  late_go = true;
  while (!late_done) sched_yield();
  EXPECT_FALSE(SignalIsPending(late.id(), StackSignalNumber()));
  other_go = true;
  requester.join();

  ASSERT_EQ(second->outcome, Outcome::kCaptured);
  EXPECT_EQ(second->end, UnwindEnd::kRoot);
  EXPECT_THAT(Functions(*second), ::testing::Not(Contains(HasSubstr("OtherSpin"))));
  EXPECT_THAT(Functions(*second), Contains(HasSubstr("pthread_sigmask")));
  // And the late one is well again.
  EXPECT_THAT(Functions(AskUntilIn(late.running(), "OtherSpin")), Contains(HasSubstr("OtherSpin")));
}

TEST_F(StackSignalTest, ASignalThatCameTooLateForOneRequestAnswersTheNextOneToTheSameThread) {
  Choose();
  const sigset_t ours = OurSignal();
  std::atomic<bool> blocked{false}, go{false};
  TestThread thread([&] {
    pthread_sigmask(SIG_BLOCK, &ours, nullptr);
    blocked = true;
    while (!go) {
    }
    pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
    SpinOuter();
  });
  while (!blocked) sched_yield();
  ASSERT_EQ(AskOne(thread.running(), kShort).outcome, Outcome::kNoAnswer);
  std::optional<RunningStack> second;
  std::thread requester([&] { second = AskOne(thread.running()); });
  go = true;
  requester.join();
  EXPECT_EQ(second->outcome, Outcome::kCaptured);
  EXPECT_EQ(second->end, UnwindEnd::kRoot);
}

// A thread of the debug server does. Before any other request: the number must not be chosen yet, so in a process of its own.
TEST(StackSignalDeathTest, AThreadThatBlocksAllSignalsCanAskOthersFirst) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        g_stop = false;
        UnwindTable::Refresh();
        TestThread thread(SpinOuter);
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
        const RunningThread running = thread.running();
        RunningStack stack;
        const bool asked = AskForStacks({&running, 1}, kLong, {&stack, 1}).ok();
        _exit(asked && stack.outcome == Outcome::kCaptured ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST_F(StackSignalTest, OfAnUnknownStackACopyIsWalkedIfThatIsAskedFor) {
  TestThread thread([] { Descend(100); });
  AskUntilIn(thread.running(), "SpinInner");
  const RunningStack stack = AskOne({.thread_id = thread.id(), .own_stack = {}, .copy_stack = true});
  EXPECT_EQ(stack.outcome, Outcome::kCaptured);
  EXPECT_EQ(stack.end, UnwindEnd::kRoot);
  EXPECT_GT(stack.pcs.size(), 100u);
  EXPECT_THAT(Functions(stack)[0], HasSubstr("SpinInner"));
}

// ---- In a crash

std::vector<std::string> Functions(const CrashStack& stack) {
  return Functions(RunningStack{.outcome = stack.outcome,
                                .fiber = {},
                                .word = {},
                                .pcs = {stack.pcs.begin(), stack.pcs.begin() + static_cast<ptrdiff_t>(stack.walk.depth)}});
}

int64_t In(std::chrono::nanoseconds time) { return MonotonicNowNs() + time.count(); }

TEST_F(StackSignalTest, InACrashAsManyAsThereAreAnswerInTurns) {
  ASSERT_TRUE(PrepareStackSignal().ok());
  TestThread thread([] { Descend(100); });
  AskUntilIn(thread.running(), "SpinInner");
  std::vector<CrashStack> stacks(200);
  std::vector<CrashStack*> pointers;
  for (CrashStack& stack : stacks) {
    stack.thread_id = thread.id();
    pointers.push_back(&stack);
  }
  std::thread([&] { stacks[100].thread_id = gettid(); }).join();
  AskInCrash(pointers, In(kLong));
  for (size_t i = 0; i < stacks.size(); ++i) {
    ASSERT_EQ(stacks[i].outcome, i == 100 ? Outcome::kNoThread : Outcome::kCaptured);
    if (i == 100) continue;
    EXPECT_EQ(stacks[i].walk.end, UnwindEnd::kBufferFull);
    EXPECT_EQ(stacks[i].walk.depth, CrashStack::kMaxFrames);
    EXPECT_THAT(Functions(stacks[i])[0], HasSubstr("SpinInner"));
  }
}

// Neither a request that nobody answers nor its late answers stand in the way of the next ones, and a stack from elsewhere stays.
TEST_F(StackSignalTest, InACrashALateAnswerIsNobodys) {
  ASSERT_TRUE(PrepareStackSignal().ok());
  const sigset_t ours = OurSignal();
  std::atomic<bool> blocked{false}, go{false}, done{false};
  TestThread late([&] {
    pthread_sigmask(SIG_BLOCK, &ours, nullptr);
    blocked = true;
    while (!go) sched_yield();
    pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
    done = true;
    OtherSpin();
  });
  TestThread other(SpinOuter);
  AskUntilIn(other.running(), "SpinInner");
  while (!blocked) sched_yield();
  CrashStack stack{.thread_id = late.id(), .walk = {.depth = 1, .end = UnwindEnd::kNoRule}, .pcs = {4711}};
  CrashStack* const pointer = &stack;
  for (int i = 0; i < 100; ++i) {
    AskInCrash({&pointer, 1}, In(std::chrono::milliseconds(1)));
    ASSERT_EQ(stack.outcome, Outcome::kNoAnswer);
  }
  EXPECT_EQ(stack.walk.depth, 1u);
  EXPECT_EQ(stack.pcs[0], 4711u);
  go = true;
  while (!done) sched_yield();
  EXPECT_EQ(stack.pcs[0], 4711u);
  CrashStack next{.thread_id = other.id()};
  CrashStack* const next_pointer = &next;
  AskInCrash({&next_pointer, 1}, In(kLong));
  ASSERT_EQ(next.outcome, Outcome::kCaptured);
  EXPECT_THAT(Functions(next), Contains(HasSubstr("SpinOuter")));
}

TEST_F(StackSignalTest, InACrashNothingIsSentAfterTheDeadline) {
  ASSERT_TRUE(PrepareStackSignal().ok());
  CrashStack stack{.thread_id = gettid()};
  CrashStack* const pointer = &stack;
  AskInCrash({&pointer, 1}, 0);
  EXPECT_EQ(stack.outcome, Outcome::kNoTime);
}

std::atomic<int> g_application_calls{0};
void ApplicationHandler(int) { ++g_application_calls; }

TEST_F(StackSignalTest, NumbersThatTheApplicationHandlesIgnoresOrWaitsForAreLeftAlone) {
  Choose();
  const int first = StackSignalNumber();
  TestThread thread(SpinOuter);
  struct sigaction handled = {}, ignored = {}, now;
  handled.sa_handler = ApplicationHandler;
  ignored.sa_handler = SIG_IGN;
  sigset_t awaited, mask;
  sigemptyset(&awaited);
  sigaddset(&awaited, first - 2);
  // Ours is taken away, and the next ones are in use.
  ASSERT_EQ(sigaction(first, &handled, nullptr), 0);
  ASSERT_EQ(sigaction(first - 1, &ignored, nullptr), 0);
  ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &awaited, &mask), 0);

  EXPECT_THAT(AskUntilIn(thread.running(), "SpinInner").outcome, Outcome::kCaptured);

  EXPECT_EQ(StackSignalNumber(), first - 3);
  EXPECT_EQ(g_application_calls, 0);
  ASSERT_EQ(sigaction(first, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, ApplicationHandler);
  ASSERT_EQ(sigaction(first - 1, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
  ASSERT_EQ(sigaction(first - 2, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
  ASSERT_EQ(sigaction(first - 3, nullptr, &now), 0);
  EXPECT_EQ(now.sa_flags & (SA_SIGINFO | SA_ONSTACK | SA_RESTART), SA_SIGINFO | SA_ONSTACK | SA_RESTART);
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, &mask, nullptr), 0);
}

TEST_F(StackSignalTest, WithoutAFreeNumberTheRequestSaysSoAndSendsNothing) {
  Choose();
  TestThread thread(SpinOuter);
  std::vector<std::pair<int, struct sigaction>> before;
  struct sigaction handled = {};
  handled.sa_handler = ApplicationHandler;
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) {
    before.emplace_back(number, handled);
    ASSERT_EQ(sigaction(number, &handled, &before.back().second), 0);
  }
  const RunningThread running = thread.running();
  RunningStack stack;
  EXPECT_EQ(AskForStacks({&running, 1}, kLong, {&stack, 1}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(PrepareStackSignal().code(), absl::StatusCode::kResourceExhausted);
  CrashStack in_crash{.thread_id = thread.id()};
  CrashStack* const pointer = &in_crash;
  AskInCrash({&pointer, 1}, In(kLong));
  EXPECT_EQ(in_crash.outcome, Outcome::kNoSignal);
  EXPECT_EQ(g_application_calls, 0);
  for (const auto& [number, action] : before) ASSERT_EQ(sigaction(number, &action, nullptr), 0);
  EXPECT_EQ(AskOne(running).outcome, Outcome::kCaptured);
}

}  // namespace
}  // namespace fiberscope::internal

int main(int argc, char** argv) {
  absl::InitializeSymbolizer(argv[0]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
