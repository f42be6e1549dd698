// Goal: a great many fibers at once are spawned, parked, woken and joined, each woken exactly once. Method: each parks on one of
// five kinds of object, chosen by a seed, after it has said that it is about to; the objects let go in an order of the seed's, half
// of them from a plain thread and half from fibers; all are joined and none is left.
//
// A million of them: bazel test --test_tag_filters= --test_output=all //tests/runtime:many_fibers_soak_test
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "runtime/suspend.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/semaphore.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"
#include "tests/testing/take_flag.h"

namespace fiberscope {
namespace {

uint64_t g_seed = 1;
#ifdef __SANITIZE_THREAD__
uint64_t g_fibers = 4'000;  // ThreadSanitizer of gcc 12 ends at 8,128 alive
#else
uint64_t g_fibers = 20'000;
#endif

using ManyFibersTest = testing::RuntimeTest;

long StatusKiB(const char* format) {
  long kib = 0;
  if (FILE* const file = std::fopen("/proc/self/status", "r")) {
    char line[256];
    while (std::fgets(line, sizeof(line), file) != nullptr && std::sscanf(line, format, &kib) != 1) {
    }
    std::fclose(file);
  }
  return kib;
}

// How long the step took and what the process takes now.
void Report(const char* step) {
  static auto before = std::chrono::steady_clock::now();
  const auto now = std::chrono::steady_clock::now();
  std::printf("%-8s %7.3f s, %ld KiB\n", step, std::chrono::duration<double>(now - before).count(), StatusKiB("VmRSS: %ld"));
  before = now;
}

TEST_P(ManyFibersTest, AreSpawnedParkedWokenAndJoined) {
  enum Kind { kReceive, kSemaphore, kWaitGroup, kSuspend, kJoin, kKinds };
  std::mt19937_64 random(g_seed);
  std::vector<std::atomic<uint8_t>> woken(g_fibers);
  std::vector<internal::Suspension::Token> tokens(g_fibers);  // of those that suspend themselves
  std::vector<uint64_t> suspended;
  std::vector<Fiber> fibers(g_fibers);
  std::array<uint64_t, kKinds> count{};
  std::atomic<uint64_t> began{0};
  Channel<uint64_t> channel;
  Semaphore semaphore(0);
  WaitGroup gate;
  gate.Add(1);
  Report("begin");
  for (uint64_t i = 0; i < g_fibers; ++i) {
    const auto kind = i == 0 ? kSuspend : static_cast<Kind>(random() % kKinds);
    ++count[kind];
    if (kind == kSuspend) suspended.push_back(i);
    const Fiber other = kind == kJoin ? fibers[random() % i] : Fiber();
    fibers[i] = scheduler().Spawn(
        [&, i, kind, other] {
          switch (kind) {
            case kReceive:
              ++began;
              channel.Receive();
              break;
            case kSemaphore:
              ++began;
              semaphore.Acquire();
              break;
            case kWaitGroup:
              ++began;
              gate.Wait();
              break;
            case kSuspend: {
              internal::Suspension suspension;
              tokens[i] = suspension.token();
              ++began;
              EXPECT_EQ(suspension.Wait({}), internal::WaitOutcome::kDone);
              break;
            }
            case kJoin:
              ++began;
              other.Join();
              break;
            case kKinds:
              break;
          }
          ++woken[i];
        },
        {.stack_bytes = 16 << 10});
  }
  Report("spawned");
  while (began != g_fibers) sched_yield();
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  EXPECT_EQ(FiberCount(), static_cast<int64_t>(g_fibers));
  Report("parked");
  const auto wake = [&](uint64_t part) {
    for (uint64_t i = part; i < count[kReceive]; i += 2) channel.Send(i);
    for (uint64_t i = part; i < count[kSemaphore]; i += 2) semaphore.Release();
    for (uint64_t i = part; i < suspended.size(); i += 2) {
      EXPECT_TRUE(internal::Suspension::Complete(tokens[suspended[i]], [](void*) {}));
    }
  };
  std::shuffle(suspended.begin(), suspended.end(), random);
  const Fiber waker = scheduler().Spawn([&] { wake(0); });
  wake(1);
  gate.Done();
  waker.Join();
  Report("woken");
  for (const Fiber& fiber : fibers) fiber.Join();
  Report("joined");
  for (const auto& times : woken) ASSERT_EQ(times, 1);
  while (FiberCount() != 0) sched_yield();
  std::printf("peak     %ld KiB\n", StatusKiB("VmHWM: %ld"));
}

INSTANTIATE_TEST_SUITE_P(Processors, ManyFibersTest, ::testing::Values(2));

}  // namespace
}  // namespace fiberscope

int main(int argc, char** argv) {
  using namespace fiberscope;
  using fiberscope::testing::TakeFlag;
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (!TakeFlag(argv[i], "--seed=", g_seed) && !TakeFlag(argv[i], "--fibers=", g_fibers)) {
      std::fprintf(stderr, "unknown argument %s; there are --seed= --fibers=\n", argv[i]);
      return 2;
    }
  }
  std::printf("--seed=%llu --fibers=%llu\n", static_cast<unsigned long long>(g_seed), static_cast<unsigned long long>(g_fibers));
  return RUN_ALL_TESTS();
}
