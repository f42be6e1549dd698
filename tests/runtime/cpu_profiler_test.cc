#include "runtime/cpu_profiler.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "runtime/execution_trace.h"
#include "runtime/process_threads.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/place.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

nanoseconds Now(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

nanoseconds ProcessCpu() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto time = [](const timeval& value) {
    return std::chrono::seconds(value.tv_sec) + std::chrono::microseconds(value.tv_usec);
  };
  return time(usage.ru_utime) + time(usage.ru_stime);
}

__attribute__((noinline, noipa)) void UseCpu(nanoseconds time) {
  const nanoseconds end = Now(CLOCK_THREAD_CPUTIME_ID) + time;
  do {
    for (int i = 0; i < 20'000; ++i) {
      asm volatile("");
    }
  } while (Now(CLOCK_THREAD_CPUTIME_ID) < end);
}

// Uses so much CPU time of the thread.
template <int kPlace>
PLACE void Burn(nanoseconds time) {
  UseCpu(time);
  asm volatile("" ::"i"(kPlace) : "memory");
}

// Periods of samples whose stack comes through Burn<kPlace>.
template <int kPlace>
int64_t CountIn(const CpuProfile& profile) {
  int64_t count = 0;
  for (const CpuSamples& samples : profile.samples) {
    if (testing::GoesThrough(samples.stack, &Burn<kPlace>)) count += samples.count;
  }
  return count;
}

std::unique_ptr<CpuProfiler> MustStart(int hz = 100) {
  absl::StatusOr<std::unique_ptr<CpuProfiler>> profiler = CpuProfiler::Start({.hz = hz});
  EXPECT_TRUE(profiler.ok()) << profiler.status();
  return profiler.ok() ? *std::move(profiler) : nullptr;
}

// The sums are right: within 5 % of what the kernel says the process has used, and one period per thread, which may have begun.
TEST(CpuProfilerTest, SamplesStandForTheCpuTimeOfTheProcess) {
  for (const int threads : {1, 2, 8}) {
    const auto profiler = MustStart();
    const nanoseconds before = ProcessCpu();
    std::vector<std::thread> burners;
    for (int i = 0; i < threads; ++i) {
      burners.emplace_back([threads] { Burn<1>(milliseconds(threads == 8 ? 400 : 1'500)); });
    }
    for (std::thread& burner : burners) burner.join();
    const nanoseconds used = ProcessCpu() - before;
    const CpuProfile profile = profiler->Stop();
    // What the threads used before they were seen is known, but not where.
    const auto seen = static_cast<double>((profile.period * profile.count + profile.unseen).count());
    const auto truth = static_cast<double>(used.count());
    EXPECT_NEAR(seen, truth, 0.05 * truth + static_cast<double>((threads * profile.period).count())) << threads << " threads";
    EXPECT_GE(static_cast<double>(CountIn<1>(profile)), 0.85 * static_cast<double>(profile.count)) << threads << " threads";
    EXPECT_EQ(profile.lost, 0);
    EXPECT_EQ(profile.refused_threads, 0);
    EXPECT_GE(profile.threads, threads);
  }
}

#if defined(__SANITIZE_THREAD__)
constexpr bool kHandlersAreLate = true;
#else
constexpr bool kHandlersAreLate = false;
#endif

class CpuProfilerFiberTest : public testing::RuntimeTest {};

// Two functions on fibers that go from worker to worker. n signals at random times hit one with share p within sqrt(p (1 - p) / n);
// five times that, and a tenth, because a signal stands for several periods where the kernel's tick is slow.
TEST_P(CpuProfilerFiberTest, SharesAreThoseOfTheFunctions) {
  if (kHandlersAreLate) GTEST_SKIP() << "ThreadSanitizer puts handlers off";
  std::atomic<int64_t> in_large{0};
  std::atomic<int64_t> in_small{0};
  CpuProfile profile;
  RunInFiber([&] {
    const auto profiler = MustStart(200);
    WaitGroup group;
    for (int f = 0; f < 6; ++f) {
      group.Add(1);
      Spawn([&] {
        for (int i = 0; i < 60; ++i) {
          const nanoseconds start = Now(CLOCK_THREAD_CPUTIME_ID);
          Burn<2>(milliseconds(8));
          const nanoseconds middle = Now(CLOCK_THREAD_CPUTIME_ID);
          Burn<3>(milliseconds(2));
          in_large += (middle - start).count();
          in_small += (Now(CLOCK_THREAD_CPUTIME_ID) - middle).count();
          this_fiber::Yield();
        }
        group.Done();
      });
    }
    group.Wait();
    profile = profiler->Stop();
  });
  const auto large = static_cast<double>(CountIn<2>(profile));
  const auto small = static_cast<double>(CountIn<3>(profile));
  const double p = static_cast<double>(in_large) / static_cast<double>(in_large + in_small);
  ASSERT_GT(profile.signals, 200);
  const double tolerance = 5 * std::sqrt(p * (1 - p) / static_cast<double>(profile.signals)) * 1.1;
  EXPECT_NEAR(large / (large + small), p, tolerance);
  // On fibers, whose stacks are walked in place: all of them whole.
  EXPECT_LE(profile.truncated, profile.count / 100);
}

TEST_P(CpuProfilerFiberTest, SamplesAreInATraceOfTheSameTime) {
  if (kHandlersAreLate) GTEST_SKIP() << "ThreadSanitizer puts handlers off";
  const auto trace = ExecutionTrace::Start();
  ASSERT_TRUE(trace.ok()) << trace.status();
  uint64_t fiber = 0;
  CpuProfile profile;
  RunInFiber([&] {
    const auto profiler = MustStart(200);
    fiber = this_fiber::id().value;
    Burn<2>(milliseconds(500));
    profile = profiler->Stop();
  });
  const TraceGenerations generations = (*trace)->Stop();
  int64_t of_fiber = 0;
  int64_t on_processor = 0;
  for (const auto& generation : generations) {
    for (const TraceSample& sample : generation->samples) {
      const auto stack = std::ranges::find(generation->stacks, sample.stack, &TraceStack::number);
      ASSERT_NE(stack, generation->stacks.end());
      EXPECT_GE(sample.time, generations.front()->start);
      of_fiber += sample.fiber == fiber ? 1 : 0;
      on_processor += sample.fiber == fiber && sample.processor != UINT64_MAX ? 1 : 0;
    }
  }
  EXPECT_GT(of_fiber, 20);
  EXPECT_EQ(on_processor, of_fiber);
  EXPECT_LE(of_fiber, profile.signals);
}

TEST_P(CpuProfilerFiberTest, SamplesCarryTheLabelsOfTheFiberThatRan) {
  if (kHandlersAreLate) GTEST_SKIP() << "ThreadSanitizer puts handlers off";
  CpuProfile profile;
  RunInFiber([&] {
    const auto profiler = MustStart(500);
    WaitGroup group;
    for (int f = 0; f < 4; ++f) {
      group.Add(1);
      Spawn([&group, f] {
        for (int i = 0; i < 40; ++i) {
          // New labels, which nobody else holds, each time.
          this_fiber::SetLabels(Labels({{"fiber", std::to_string(f % 2)}}));
          f % 2 == 0 ? Burn<4>(milliseconds(5)) : Burn<5>(milliseconds(5));
          this_fiber::SetLabels({});
          this_fiber::Yield();
        }
        group.Done();
      });
    }
    group.Wait();
    profile = profiler->Stop();
  });
  int64_t count = 0;
  for (const CpuSamples& samples : profile.samples) {
    CpuProfile one;
    one.samples = {samples};
    if (CountIn<4>(one) + CountIn<5>(one) == 0) continue;
    ASSERT_EQ(samples.labels.size(), 1u);
    EXPECT_EQ(samples.labels[0], (Label{"fiber", CountIn<4>(one) != 0 ? "0" : "1"}));
    count += samples.count;
  }
  EXPECT_GT(count, 100);
}

INSTANTIATE_TEST_SUITE_P(Processors, CpuProfilerFiberTest, ::testing::Values(2));

TEST(CpuProfilerTest, ThreadsThatAreBornMeanwhileAreSeen) {
  const auto profiler = MustStart();
  nanoseconds used{0};
  for (int i = 0; i < 3; ++i) {
    // One after the other: the kernel may give them the same id.
    std::thread([&used] {
      Burn<6>(milliseconds(600));
      used += Now(CLOCK_THREAD_CPUTIME_ID);
    }).join();
  }
  const CpuProfile profile = profiler->Stop();
  EXPECT_GT(profile.period * CountIn<6>(profile), used * 6 / 10);
  EXPECT_LT(profile.period * CountIn<6>(profile), used * 11 / 10);
}

// ---- What is left of it

size_t CountEntries(const char* directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(directory), &closedir);
  size_t count = 0;
  while (entries != nullptr && readdir(entries.get()) != nullptr) ++count;
  return count;
}

size_t CountTimers() {
  std::ifstream timers("/proc/self/timers");
  size_t count = 0;
  for (std::string line; std::getline(timers, line);) count += line.starts_with("ID:");
  return count;
}

size_t ResidentPages() {
  std::ifstream file("/proc/self/statm");
  size_t total = 0;
  size_t resident = 0;
  file >> total >> resident;
  return resident;
}

TEST(CpuProfilerTest, AThousandProfilesLeaveNothingBehind) {
  for (int i = 0; i < 20; ++i) MustStart(1000)->Stop();
  const int64_t threads = ThreadCount();
  const size_t timers = CountTimers();
  const size_t descriptors = CountEntries("/proc/self/fd");
  const size_t pages = ResidentPages();
  for (int i = 0; i < 1000; ++i) {
    const auto profiler = MustStart(1000);
    if (i % 3 == 0) Burn<7>(nanoseconds(1));
    if (i % 2 == 0) profiler->Stop();  // or the destructor does
  }
  EXPECT_EQ(ThreadCount(), threads);
  EXPECT_EQ(CountTimers(), timers);
  EXPECT_EQ(CountEntries("/proc/self/fd"), descriptors);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LE(ResidentPages(), pages + 512);  // 2 MiB
#else
  EXPECT_GT(pages, 0u);
#endif
}

TEST(CpuProfilerTest, IsOneAtATime) {
  const auto profiler = MustStart();
  const absl::Status second = CpuProfiler::Start().status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(second.message(), "cpu profiling already in use");
  (void)profiler->Stop();
  EXPECT_EQ(profiler->Stop().count, 0);  // once
  EXPECT_NE(MustStart(), nullptr);
}

TEST(CpuProfilerTest, RefusesARateThatCannotBe) {
  for (const int hz : {0, -1, 1001}) {
    const absl::Status status = CpuProfiler::Start({.hz = hz}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << hz;
    EXPECT_EQ(status.message(), "cpu profile: " + std::to_string(hz) + " samples per second; 1 to 1000 are possible");
  }
}

// ---- The signal

std::atomic<int> g_applications{0};
void OfTheApplication(int) { ++g_applications; }

TEST(CpuProfilerTest, DoesNotTakeASignalThatTheApplicationHas) {
  for (void (*const handler)(int) : {&OfTheApplication, SIG_IGN}) {
    struct sigaction theirs = {};
    theirs.sa_handler = handler;
    struct sigaction before;
    sigaction(SIGPROF, &theirs, &before);
    const absl::Status status = CpuProfiler::Start().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_NE(status.message().find("(SIGPROF) is "), absl::string_view::npos) << status;
    struct sigaction after;
    sigaction(SIGPROF, &before, &after);
    EXPECT_EQ(after.sa_handler, handler);
  }
  EXPECT_NE(MustStart(), nullptr);  // ours is back, or the default
}

TEST(CpuProfilerTest, StraySignalsDoNothing) {
  MustStart()->Stop();
  const auto send = [] {
    for (int i = 0; i < 1000; ++i) raise(SIGPROF);
    for (int i = 0; i < 100; ++i) {
      sigqueue(getpid(), SIGPROF, {.sival_ptr = reinterpret_cast<void*>(0xf1be'0000'0000'4000 + i)});
    }
    // A timer of somebody else's, with a value that is nobody's address.
    for (const uintptr_t value : {uintptr_t{0}, uintptr_t{1}, ~uintptr_t{0}, uintptr_t{0xf1be'0000'0000'0000},
                                  uintptr_t{0xf1be'ffff'ffff'ffff}}) {
      sigevent event = {};
      event.sigev_notify = SIGEV_SIGNAL;
      event.sigev_signo = SIGPROF;
      event.sigev_value.sival_ptr = reinterpret_cast<void*>(value);
      timer_t timer;
      ASSERT_EQ(timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer), 0);
      const itimerspec at_once = {.it_interval = {}, .it_value = {.tv_sec = 0, .tv_nsec = 1}};
      timer_settime(timer, 0, &at_once, nullptr);
      Burn<8>(milliseconds(10));
      timer_delete(timer);
    }
  };
  send();
  const auto profiler = MustStart();
  send();
  EXPECT_GT(profiler->Stop().count, 0);
  send();
}

// ---- Whatever the process does

// Its caller is Outer, always.
PLACE void Inner() {
  Burn<9>(milliseconds(1));
  asm volatile("" ::: "memory");
}
PLACE void Outer() {
  Inner();
  asm volatile("" ::: "memory");
}

__attribute__((noinline)) void ThrowThrough(int depth) {
  if (depth == 0) throw std::runtime_error("thrown");
  ThrowThrough(depth - 1);
  asm volatile("" ::: "memory");
}

TEST(CpuProfilerTest, SurvivesChurnExceptionsLoadingAndForks) {
  std::atomic<bool> done{false};
  CpuProfile profile;
  {
    Scheduler scheduler({.processors = 2});
    const auto profiler = MustStart(1000);
    std::thread loader([&] {
      while (!done) {
        if (void* const library = dlopen("libz.so.1", RTLD_NOW)) dlclose(library);
      }
    });
#if !defined(__SANITIZE_THREAD__)  // which does not get along with fork() in a process with threads
    std::thread forker([&] {
      while (!done) {
        char* const arguments[] = {const_cast<char*>("true"), nullptr};
        pid_t child = 0;
        int status = 0;
        ASSERT_EQ(posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environ), 0);
        waitpid(child, &status, 0);
        EXPECT_EQ(status, 0);
        child = fork();
        if (child == 0) execv("/bin/true", arguments);
        waitpid(child, &status, 0);
        EXPECT_EQ(status, 0);
      }
    });
#endif
    scheduler.Spawn([] {
      for (int round = 0; round < 400; ++round) {
        std::vector<Fiber> fibers;
        for (int i = 0; i < 4; ++i) {
          fibers.push_back(Spawn([] {
            for (int k = 0; k < 20; ++k) {
              try {
                ThrowThrough(20);
              } catch (const std::runtime_error&) {
                this_fiber::Yield();
              }
            }
            Outer();
          }));
        }
        for (Fiber& fiber : fibers) fiber.Join();
      }
    }).Join();
    done = true;
    loader.join();
#if !defined(__SANITIZE_THREAD__)
    forker.join();
#endif
    profile = profiler->Stop();
  }
  // Every stack through Burn<9> is Burn, Inner, Outer.
  int64_t seen = 0;
  for (const CpuSamples& samples : profile.samples) {
    const auto burn = std::ranges::find_if(samples.stack, [](uintptr_t address) { return testing::IsIn(address, &Burn<9>); });
    if (burn == samples.stack.end()) continue;
    ASSERT_GE(samples.stack.end() - burn, 3);
    if (!kHandlersAreLate) {
      EXPECT_TRUE(testing::IsIn(burn[1], &Inner));
      EXPECT_TRUE(testing::IsIn(burn[2], &Outer));
    }
    seen += samples.count;
  }
  EXPECT_GT(seen, 100);
}

#if !defined(__SANITIZE_THREAD__)
TEST(CpuProfilerTest, AChildIsNotProfiledAndMayProfileItself) {
  auto profiler = MustStart(1000);
  const pid_t child = fork();
  if (child == 0) {
    Burn<10>(milliseconds(20));
    if (profiler->Stop().count != 0) _exit(1);
    absl::StatusOr<std::unique_ptr<CpuProfiler>> own = CpuProfiler::Start({.hz = 200});
    if (!own.ok()) _exit(2);
    Burn<10>(milliseconds(100));
    _exit((*own)->Stop().count > 0 ? 0 : 3);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << WEXITSTATUS(status);
  Burn<10>(milliseconds(50));
  EXPECT_GT(profiler->Stop().count, 0);
}
#endif

}  // namespace
}  // namespace fiberscope
