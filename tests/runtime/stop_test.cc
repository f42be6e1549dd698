// The end of a scheduler, and the beginnings that fail.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/blocking.h"
#include "runtime/sync/channel.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using StopTest = testing::RuntimeTest;

TEST_P(StopTest, DrainingWaitsForTheFibersAndLetsThemSpawn) {
  std::atomic<int> finished{0};
  Channel<int> go;
  for (int i = 0; i < 10; ++i) {
    scheduler().Spawn([&] {
      go.Receive();
      this_fiber::SleepFor(std::chrono::microseconds(100));
      Spawn([&] { ++finished; });
    });
  }
  std::thread closer([&] { go.Close(); });
  EXPECT_TRUE(scheduler().Stop({.drain = std::chrono::hours(1)}));
  closer.join();
  EXPECT_EQ(finished, 10);
}

TEST_P(StopTest, DrainingRefusesSpawnsFromOutside) {
  Channel<int> go;
  const Fiber last = scheduler().Spawn([&] { go.Receive(); });
  AwaitState(last, FiberState::kWaiting);
  std::thread stopper([&] { EXPECT_TRUE(scheduler().Stop({.drain = std::chrono::hours(1)})); });
  while (scheduler().TrySpawn([] {}).ok()) sched_yield();
  EXPECT_EQ(scheduler().TrySpawn([] {}).status().code(), absl::StatusCode::kFailedPrecondition);
  go.Close();
  stopper.join();
}

TEST_P(StopTest, WhatIsLeftAtTheDeadlineIsUnwound) {
  std::atomic<int> destroyed{0};
  Channel<int> never;
  for (int i = 0; i < 10; ++i) {
    const Fiber fiber = scheduler().Spawn([&] {
      struct Guard {
        std::atomic<int>& count;
        ~Guard() { ++count; }
      } guard{destroyed};
      never.Receive();
    });
    AwaitState(fiber, FiberState::kWaiting);
  }
  EXPECT_FALSE(scheduler().Stop({.drain = std::chrono::milliseconds(1)}));
  EXPECT_EQ(destroyed, 10);
}

TEST_P(StopTest, AFiberThatSpawnsMeanwhileIsUnwoundThere) {
  std::atomic<bool> started{false};
  std::atomic<bool> destroyed{false};
  std::atomic<bool> returned{false};
  scheduler().Spawn([&] {
    struct Guard {
      std::atomic<bool>& destroyed;
      ~Guard() { destroyed = true; }
    } guard{destroyed};
    // No waits, no yields: they would unwind it, too.
    started = true;
    while (scheduler().TrySpawn([] {}).ok()) sched_yield();
    Spawn([] {});
    returned = true;
  });
  while (!started) sched_yield();
  EXPECT_FALSE(scheduler().Stop());
  EXPECT_TRUE(destroyed);
  EXPECT_FALSE(returned);
}

TEST_P(StopTest, InABlockingCallASpawnMeanwhileIsRefusedByAnException) {
  std::atomic<bool> started{false};
  std::atomic<bool> refused{false};
  scheduler().Spawn([&] {
    Blocking([&] {
      started = true;
      while (scheduler().TrySpawn([] {}).ok()) sched_yield();
      try {
        Spawn([] {});
      } catch (const std::system_error&) {
        refused = true;
      }
    });
  });
  while (!started) sched_yield();
  scheduler().Stop();
  EXPECT_TRUE(refused);
}

TEST_P(StopTest, AFiberOfAnotherSchedulerGetsAnExceptionForASpawnThatIsRefused) {
  Scheduler stopped({.processors = 1});
  stopped.Stop();
  RunInFiber([&] { EXPECT_THROW(stopped.Spawn([] {}), std::system_error); });
}

TEST_P(StopTest, DrainingNothingReturnsAtOnce) {
  EXPECT_TRUE(scheduler().Stop({.drain = std::chrono::hours(1)}));
  EXPECT_TRUE(scheduler().Stop({.drain = std::chrono::hours(1)})) << "again";
}

TEST_P(StopTest, FibersThatFinishTogetherAreAllSeen) {
  for (int round = 0; round < 50; ++round) {
    Scheduler scheduler({.processors = GetParam()});
    for (int i = 0; i < 2 * GetParam(); ++i) scheduler.Spawn([] {});
    EXPECT_TRUE(scheduler.Stop({.drain = std::chrono::hours(1)}));
  }
}

// A third of a thousand for each of three numbers of processors.
TEST_P(StopTest, RestartsLeaveNothingBehind) {
  const auto threads = [] {
    int count = 0;
    if (FILE* const file = std::fopen("/proc/self/status", "r")) {
      char line[256];
      while (std::fgets(line, sizeof(line), file) != nullptr) std::sscanf(line, "Threads: %d", &count);
      std::fclose(file);
    }
    return count;
  };
  const int before = threads();
  constexpr int kRestarts = 1000 / 3 + 1;
  for (int i = 0; i < kRestarts; ++i) {
    Scheduler scheduler({.processors = GetParam()});
    Channel<int> never;
    scheduler.Spawn([&] { never.Receive(); });
    scheduler.Spawn([&] { Blocking([] {}, {.expect_long = true}); }).Join();
    scheduler.Spawn([] { this_fiber::SleepFor(std::chrono::hours(1)); });
    EXPECT_FALSE(scheduler.Stop());
    ASSERT_EQ(FiberCount(), 0);
  }
  EXPECT_EQ(threads(), before);
}

INSTANTIATE_TEST_SUITE_P(Processors, StopTest, ::testing::Values(1, 2, 4));

// ---- What the environment can refuse. In a child process: the limits cannot be raised again.

// What `body` prints, and "exit <code>" or "signal <number>".
template <typename F>
std::string InChild(F body) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    body();
    std::fflush(stdout);
    _exit(0);
  }
  close(ends[1]);
  std::string output;
  char buffer[4096];
  for (ssize_t size; (size = read(ends[0], buffer, sizeof(buffer))) > 0;) output.append(buffer, static_cast<size_t>(size));
  close(ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status)) return output + "signal " + std::to_string(WTERMSIG(status));
  return output + "exit " + std::to_string(WEXITSTATUS(status));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
rlim_t AddressSpaceBytes() {
  long pages = 0;
  if (FILE* const file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld", &pages) != 1) std::printf("statm ");
    std::fclose(file);
  }
  return static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

// Leaves address space for so many more threads. (RLIMIT_NPROC, the usual limit, does not bind root, as whom tests may run.)
void LimitThreads(int more) {
  constexpr size_t kStackBytes = 256 << 20;
  constexpr size_t kBesides = 64 << 20;  // malloc's arena
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  if (pthread_setattr_default_np(&attributes) != 0) std::printf("default stack size ");
  const rlim_t bytes = AddressSpaceBytes() + static_cast<rlim_t>(more) * (kStackBytes + kBesides) + kStackBytes / 2;
  const rlimit limit{bytes, bytes};
  if (setrlimit(RLIMIT_AS, &limit) != 0) std::printf("setrlimit failed ");
}

TEST(StopLimitTest, AConstructorThatGetsNoThreadThrowsAndNamesTheLimit) {
  for (const int already : {0, 2}) {
    const std::string output = InChild([already] {
      LimitThreads(already);  // none, or the monitor and a worker
      try {
        Scheduler scheduler({.processors = 4});
        std::printf("started ");
      } catch (const std::system_error& error) {
        std::printf("%s ", error.what());
      }
    });
    EXPECT_NE(output.find("RLIMIT_NPROC"), std::string::npos) << output;
    EXPECT_NE(output.find("exit 0"), std::string::npos) << output;
  }
}

TEST(StopLimitTest, WithoutMemoryForAStackSpawnFailsAndTheRestGoesOn) {
  const std::string output = InChild([] {
    Scheduler scheduler({.processors = 1});
    Channel<int> never;
    scheduler.Spawn([] {}).Join();
    // Address space for little more than what is there.
    const rlim_t bytes = AddressSpaceBytes() + (16u << 20);
    const rlimit limit{bytes, bytes};
    setrlimit(RLIMIT_AS, &limit);
    std::vector<Fiber> fibers;
    fibers.reserve(100'000);
    absl::StatusCode code = absl::StatusCode::kOk;
    for (int i = 0; i < 100'000 && code == absl::StatusCode::kOk; ++i) {
      const auto fiber = scheduler.TrySpawn([&] { never.Receive(); }, {.stack_bytes = 1 << 20});
      code = fiber.status().code();
      if (fiber.ok()) fibers.push_back(*fiber);
    }
    std::printf("%s ", code == absl::StatusCode::kResourceExhausted ? "exhausted" : "other");
    never.Close();
    for (const Fiber& fiber : fibers) fiber.Join();
    std::printf("joined ");
  });
  EXPECT_EQ(output, "exhausted joined exit 0");
}
#endif

}  // namespace
}  // namespace fiberscope
