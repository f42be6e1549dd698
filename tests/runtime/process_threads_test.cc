// Threads of this test's own, each in a function that it can be recognised by.
#include "runtime/process_threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "gmock/gmock.h"
#include "runtime/thread_status.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using Outcome = ThreadSnapshot::Outcome;

// Enough on a machine that is busy with other things; threads that answer take microseconds.
constexpr ThreadOptions kPatient{.timeout = std::chrono::minutes(5)};

// ThreadSanitizer holds signals back until the thread makes a system call, so one that computes does not answer.
#ifdef FIBERSCOPE_TSAN
constexpr bool kSpinnersAnswer = false;
#else
constexpr bool kSpinnersAnswer = true;
#endif

std::vector<std::string> Functions(const ThreadSnapshot& thread) {
  std::vector<std::string> names;
  for (const uintptr_t pc : thread.stack) {
    char name[256];
    names.push_back(absl::Symbolize(reinterpret_cast<void*>(pc - 1), name, sizeof(name)) ? name : "?");
  }
  return names;
}

const ThreadSnapshot* Find(const std::vector<ThreadSnapshot>& threads, int thread_id) {
  const auto found = std::ranges::find(threads, thread_id, &ThreadSnapshot::thread_id);
  return found == threads.end() ? nullptr : &*found;
}

ThreadSnapshot Capture(int thread_id, const ThreadOptions& options = kPatient) {
  const std::vector<ThreadSnapshot> threads = CaptureThreads(options);
  const ThreadSnapshot* const thread = Find(threads, thread_id);
  EXPECT_NE(thread, nullptr);
  return thread != nullptr ? *thread : ThreadSnapshot();
}

std::atomic<bool> g_stop{false};
int g_ends[2];  // a pipe
std::mutex g_mutex;
std::condition_variable g_changed;
std::atomic<int> g_errors{0};  // what the sleeping calls returned

__attribute__((noinline, noipa)) void SpinHere() {
  while (!g_stop.load(std::memory_order_relaxed)) {
  }
}
__attribute__((noinline, noipa)) void WaitForFutexHere() {
  std::unique_lock lock(g_mutex);
  g_changed.wait(lock, [] { return g_stop.load(); });
  asm volatile("" ::: "memory");
}
__attribute__((noinline, noipa)) void ReadPipeHere() {
  char byte;
  if (read(g_ends[0], &byte, 1) != 1) ++g_errors;
  asm volatile("" ::: "memory");
}
__attribute__((noinline, noipa)) void NanosleepHere() {
  const timespec duration{.tv_sec = 0, .tv_nsec = 400'000'000};
  if (clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, nullptr) != 0) ++g_errors;
  asm volatile("" ::: "memory");
}
__attribute__((noinline, noipa)) int DescendAndRead(int depth) {
  if (depth == 0) ReadPipeHere();
  const int result = depth == 0 ? 0 : DescendAndRead(depth - 1) + 1;
  asm volatile("" ::: "memory");
  return result;
}

// A thread that runs `body`, which ends by itself once all is stopped.
class TestThread {
 public:
  explicit TestThread(std::function<void()> body) : thread_([this, body] {
          id_ = gettid();
          body();
        }) {
    while (id_ == 0) sched_yield();
  }
  ~TestThread() { thread_.join(); }
  int id() const { return id_; }
  void AwaitSleep() const {
    while (!internal::SleepsInKernel(id_)) sched_yield();
  }

 private:
  std::atomic<int> id_{0};
  std::thread thread_;
};

void StopAll() {
  {
    const std::lock_guard lock(g_mutex);
    g_stop = true;
  }
  g_changed.notify_all();
}

class ProcessThreadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    g_stop = false;
    g_errors = 0;
    ASSERT_EQ(pipe(g_ends), 0);
  }
  void TearDown() override {
    close(g_ends[0]);
    close(g_ends[1]);
  }
  static void WriteOne() { ASSERT_EQ(write(g_ends[1], "x", 1), 1); }
};

TEST_F(ProcessThreadsTest, TheCallingThreadIsListedWithItsOwnStack) {
  const ThreadSnapshot self = Capture(gettid());
  EXPECT_EQ(self.outcome, Outcome::kCaptured);
  EXPECT_EQ(self.end, UnwindEnd::kRoot);
  EXPECT_EQ(self.state, 'R');
  EXPECT_THAT(Functions(self), Contains(HasSubstr("CaptureThreads")));
  EXPECT_THAT(Functions(self), Contains("main"));
}

TEST_F(ProcessThreadsTest, ThreadsComeInTheOrderOfTheirIdsAndAllAreCounted) {
  TestThread first(ReadPipeHere), second(ReadPipeHere);
  const auto threads = CaptureThreads(kPatient);
  EXPECT_TRUE(std::ranges::is_sorted(threads, {}, &ThreadSnapshot::thread_id));
  EXPECT_NE(Find(threads, getpid()), nullptr);
  EXPECT_NE(Find(threads, first.id()), nullptr);
  EXPECT_NE(Find(threads, second.id()), nullptr);
  EXPECT_EQ(ThreadCount(), static_cast<int64_t>(threads.size()));
  WriteOne();
  WriteOne();
}

TEST_F(ProcessThreadsTest, SleepingThreadsAreSeenInTheirFunctionsAndNoticeNothing) {
  TestThread in_futex(WaitForFutexHere), in_read(ReadPipeHere), in_sleep(NanosleepHere);
  for (const TestThread* thread : {&in_futex, &in_read, &in_sleep}) thread->AwaitSleep();
  const auto threads = CaptureThreads(kPatient);
  const struct {
    int thread_id;
    const char* function;
  } expected[] = {{in_futex.id(), "WaitForFutexHere"}, {in_read.id(), "ReadPipeHere"}, {in_sleep.id(), "NanosleepHere"}};
  for (const auto& [thread_id, function] : expected) {
    const ThreadSnapshot* const thread = Find(threads, thread_id);
    ASSERT_NE(thread, nullptr);
    EXPECT_EQ(thread->outcome, Outcome::kCaptured) << function;
    EXPECT_EQ(thread->state, 'S') << function;
    EXPECT_FALSE(thread->fiber);
    EXPECT_THAT(Functions(*thread), Contains(HasSubstr(function)));
  }
  for (int i = 0; i < 20; ++i) CaptureThreads(kPatient);
  WriteOne();
  StopAll();
  while (internal::IdentityOfThread(in_sleep.id()).has_value()) sched_yield();
  EXPECT_EQ(g_errors, 0) << "a call was cut short";
}

TEST_F(ProcessThreadsTest, ASpinningThreadIsSeenFromTheExactPcToTheRoot) {
  TestThread thread(SpinHere);
  ThreadSnapshot seen;
  do {  // it may be on its way there still
    seen = Capture(thread.id(), kSpinnersAnswer ? kPatient : ThreadOptions());
  } while (kSpinnersAnswer && Functions(seen).at(0).find("SpinHere") == std::string::npos);
  if (kSpinnersAnswer) {
    EXPECT_EQ(seen.state, 'R');
    EXPECT_EQ(seen.outcome, Outcome::kCaptured);
    EXPECT_EQ(seen.end, UnwindEnd::kRoot);
  }
  StopAll();
}

TEST_F(ProcessThreadsTest, TheMainThreadIsSeenByAnotherOne) {
  ThreadSnapshot main_thread;
  TestThread([&] {
    while (!internal::SleepsInKernel(getpid())) sched_yield();
    main_thread = Capture(getpid());
  });
  EXPECT_EQ(main_thread.outcome, Outcome::kCaptured);
  EXPECT_THAT(Functions(main_thread), Contains(HasSubstr("TheMainThreadIsSeenByAnotherOne")));
  EXPECT_EQ(main_thread.end, UnwindEnd::kRoot);
}

TEST_F(ProcessThreadsTest, AStackOfTheApplicationsOwnIsWalkedLikeAnother) {
  constexpr size_t kBytes = 1 << 20;
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  for (void (*const body)() : {&ReadPipeHere, &SpinHere}) {
    static std::atomic<int> id;
    static void (*run)();
    id = 0;
    run = body;
    g_stop = false;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    ASSERT_EQ(pthread_attr_setstack(&attributes, memory, kBytes), 0);
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, &attributes,
                  [](void*) -> void* {
                    id = gettid();
                    run();
                    return nullptr;
                  },
                  nullptr),
              0);
    pthread_attr_destroy(&attributes);
    while (id == 0 || (body == &ReadPipeHere && !internal::SleepsInKernel(id))) sched_yield();
    if (body == &ReadPipeHere || kSpinnersAnswer) {
      ThreadSnapshot seen;
      do {
        seen = Capture(id);
      } while (!std::ranges::any_of(Functions(seen), [](const auto& name) { return name.find("Here") != std::string::npos; }));
      EXPECT_EQ(seen.outcome, Outcome::kCaptured);
      EXPECT_EQ(seen.end, UnwindEnd::kRoot);
    }
    WriteOne();
    StopAll();
    ASSERT_EQ(pthread_join(thread, nullptr), 0);
    char byte;
    if (body == &SpinHere) {
      ASSERT_EQ(read(g_ends[0], &byte, 1), 1);
    }
  }
  munmap(memory, kBytes);
}

TEST_F(ProcessThreadsTest, ADeepStackIsCutAtTheOuterEnd) {
  TestThread thread([] { DescendAndRead(3'000); });
  thread.AwaitSleep();
  const ThreadSnapshot seen = Capture(thread.id());
  EXPECT_EQ(seen.outcome, Outcome::kCaptured);
  EXPECT_EQ(seen.end, UnwindEnd::kBufferFull);
  EXPECT_EQ(seen.stack.size(), RunningStack::kMaxFrames);
  WriteOne();
}

TEST_F(ProcessThreadsTest, AThreadThatBlocksAllSignalsAndSpinsIsAHoleThatSaysSo) {
  std::atomic<bool> blocked{false};
  TestThread thread([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    blocked = true;
    SpinHere();
  });
  while (!blocked) sched_yield();
  const auto begin = std::chrono::steady_clock::now();
  const ThreadSnapshot seen = Capture(thread.id(), {.timeout = std::chrono::milliseconds(50)});
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(seen.outcome, Outcome::kBlocksSignal);
  EXPECT_TRUE(seen.stack.empty());
  StopAll();
}

TEST_F(ProcessThreadsTest, AThreadThatBlocksAllSignalsAndSleepsIsSeenWithoutWaitingForIt) {
  std::atomic<bool> blocked{false};
  TestThread thread([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    blocked = true;
    WaitForFutexHere();
  });
  while (!blocked) sched_yield();
  thread.AwaitSleep();
  // Would last for minutes if the thread were waited for.
  const ThreadSnapshot seen = Capture(thread.id());
  EXPECT_EQ(seen.outcome, Outcome::kCaptured);
  EXPECT_FALSE(seen.stack.empty());
  StopAll();
}

TEST_F(ProcessThreadsTest, WithoutTimeAllOtherThreadsAreHoles) {
  TestThread thread(ReadPipeHere);
  thread.AwaitSleep();
  EXPECT_EQ(Capture(thread.id(), {.timeout = std::chrono::nanoseconds(0)}).outcome, Outcome::kNoTime);
  EXPECT_EQ(Capture(gettid(), {.timeout = std::chrono::nanoseconds(0)}).outcome, Outcome::kCaptured);
  WriteOne();
}

TEST_F(ProcessThreadsTest, ANameIsToldByteByByte) {
  constexpr char kName[] = "a) R (\n\xff\"\\";
  TestThread thread([&] {
    prctl(PR_SET_NAME, kName);
    ReadPipeHere();
  });
  thread.AwaitSleep();
  const ThreadSnapshot seen = Capture(thread.id());
  EXPECT_EQ(seen.name, kName);
  EXPECT_EQ(seen.state, 'S');
  WriteOne();
}

TEST_F(ProcessThreadsTest, AThreadThatRunsAFiberIsOnTheFibersStack) {
  Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  std::atomic<int> id{0};
  const Fiber fiber = scheduler.Spawn([&] {
    id = gettid();
    ReadPipeHere();
  });
  while (id == 0 || !internal::SleepsInKernel(id)) sched_yield();
  const ThreadSnapshot seen = Capture(id);
  EXPECT_EQ(seen.outcome, Outcome::kCaptured);
  EXPECT_EQ(seen.fiber, fiber.id());
  EXPECT_THAT(Functions(seen), Contains(HasSubstr("ReadPipeHere")));
  WriteOne();
  fiber.Join();
}

// In a child: the first thread of this process has a test to finish.
TEST_F(ProcessThreadsTest, AMainThreadThatHasEndedIsListedAsSuch) {
  const pid_t child = fork();
  if (child == 0) {
    std::thread([] {
      while (!internal::IdentityOfThread(getpid()) || internal::IdentityOfThread(getpid())->state != 'Z') sched_yield();
      const ThreadSnapshot seen = Capture(getpid());
      _exit(seen.outcome == Outcome::kEnded && seen.state == 'Z' ? 0 : 1);
    }).detach();
    syscall(SYS_exit, 0);
  }
  int status = 1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

// Goal: no thread that begins or ends during a listing can make it fault or tell a stack that never was.
// Method: three threads make and join short-lived ones without pause, some of which sleep; others sleep and compute throughout.
TEST_F(ProcessThreadsTest, ThreadsThatComeAndGoDuringTwoHundredListingsDoNoHarm) {
  TestThread reader(ReadPipeHere), waiter(WaitForFutexHere);
  reader.AwaitSleep();
  waiter.AwaitSleep();
  std::atomic<int> born{0};
  std::vector<std::unique_ptr<TestThread>> makers;
  for (int i = 0; i < 3; ++i) {
    makers.push_back(std::make_unique<TestThread>([&born, i] {
      while (!g_stop) {
        std::thread short_lived([i] {
          if (i == 0) return;
          for (int n = 0; n < 20; ++n) sched_yield();
        });
        ++born;
        short_lived.join();
      }
    }));
  }
  while (born < 3) sched_yield();
  uint64_t captured = 0, holes = 0;
  for (int i = 0; i < 200; ++i) {
    const auto threads = CaptureThreads({});
    for (const ThreadSnapshot& thread : threads) (thread.outcome == Outcome::kCaptured ? captured : holes)++;
    const ThreadSnapshot* const seen = Find(threads, reader.id());
    ASSERT_NE(seen, nullptr);
    EXPECT_EQ(seen->outcome, Outcome::kCaptured);
    EXPECT_THAT(Functions(*seen), Contains(HasSubstr("ReadPipeHere")));
  }
  WriteOne();
  StopAll();
  makers.clear();
  EXPECT_EQ(g_errors, 0);
  std::printf("%d threads born, %llu stacks, %llu holes\n", born.load(), static_cast<unsigned long long>(captured),
              static_cast<unsigned long long>(holes));
}

// Prints what listings cost; fails only if they are not bounded.
TEST_F(ProcessThreadsTest, AThousandThreadsAreListedInBoundedTime) {
  for (const int count : {10, 1'000}) {
    std::vector<std::unique_ptr<TestThread>> threads;
    for (int i = 0; i < count; ++i) threads.push_back(std::make_unique<TestThread>(i % 2 == 0 ? ReadPipeHere : WaitForFutexHere));
    for (const auto& thread : threads) thread->AwaitSleep();
    CaptureThreads({});  // the first one builds tables
    const auto begin = std::chrono::steady_clock::now();
    const auto seen = CaptureThreads({});
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(seen.size(), static_cast<size_t>(count));
    EXPECT_LT(took, std::chrono::seconds(10)) << "200 ms and what a busy machine adds";
    const auto holes = std::ranges::count_if(seen, [](const auto& thread) { return thread.outcome != Outcome::kCaptured; });
    const auto whole = std::ranges::count(seen, UnwindEnd::kRoot, &ThreadSnapshot::end);
    std::printf("%zu threads: %lld us, %lld holes, %lld whole\n", seen.size(),
                static_cast<long long>(std::chrono::duration_cast<std::chrono::microseconds>(took).count()),
                static_cast<long long>(holes), static_cast<long long>(whole));
    for (int i = 0; i < count; i += 2) WriteOne();
    StopAll();
    threads.clear();
    g_stop = false;
  }
}

}  // namespace
}  // namespace fiberscope

int main(int argc, char** argv) {
  absl::InitializeSymbolizer(argv[0]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
