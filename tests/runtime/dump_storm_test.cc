// Goal: no listing ever shows a stack that its fiber did not have. Method: fibers of a depth that their names tell wait only at
// that depth, and are switched, born and ended as fast as possible, while three threads list them without a pause, one of them
// with running fibers' stacks, one as of one instant. Every stack of a fiber that waits must have exactly as many frames of the
// recursion as the name says, that of a running one not more.
//
// For five minutes: bazel test --test_tag_filters= --test_output=all //tests/runtime:dump_storm_soak_test
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"
#include "tests/testing/take_flag.h"

namespace fiberscope {
namespace {

uint64_t g_seed = 1;
uint64_t g_seconds = 2;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kFibers = 60;
#else
constexpr int kFibers = 300;
#endif
constexpr int kMaxDepth = 40;
constexpr int kSteps = 20;  // of one fiber; then it is replaced by a new one

class DumpStormTest : public testing::RuntimeTest {
 protected:
  // What all fibers work with.
  struct Storm {
    explicit Storm(Scheduler& runs_on) : scheduler(runs_on) {}

    Scheduler& scheduler;
    Channel<int> channel;
    WaitGroup group;
    std::atomic<bool> end{false};
    std::atomic<uint64_t> fibers{0};
  };

  // What a dumping thread saw.
  struct Seen {
    uint64_t listings = 0;
    uint64_t waiting = 0;
    uint64_t running = 0;
    uint64_t running_truncated = 0;
  };

  static void SpawnOne(Storm& storm, uint64_t seed);
  static void Wait(Storm& storm, std::mt19937_64& random);
  static void List(const RegistryOptions& options, Seen& seen);
  static void Check(const FiberSnapshot& fiber, Seen& seen);
};

// The return address of the recursion's one call site.
std::atomic<uintptr_t> g_recursion{0};

__attribute__((noinline, noipa)) void Descend(int depth, bool inside, absl::FunctionRef<void()> at_the_bottom) {
  if (inside) g_recursion.store(reinterpret_cast<uintptr_t>(__builtin_return_address(0)), std::memory_order_relaxed);
  if (depth > 0) {
    Descend(depth - 1, /*inside=*/true, at_the_bottom);
  } else {
    at_the_bottom();
  }
  asm volatile("");  // not a tail call
}

// Ends soon whatever the others do.
void DumpStormTest::Wait(Storm& storm, std::mt19937_64& random) {
  switch (random() % 4) {
    case 0:
      this_fiber::Yield();
      break;
    case 1:
      this_fiber::SleepFor(std::chrono::microseconds(random() % 200));
      break;
    case 2:
      (void)storm.channel.SendFor(1, std::chrono::microseconds(random() % 300));
      break;
    case 3:
      (void)storm.channel.ReceiveFor(std::chrono::microseconds(random() % 300));
      break;
  }
}

void DumpStormTest::SpawnOne(Storm& storm, uint64_t seed) {
  const int depth = static_cast<int>(seed % kMaxDepth);
  storm.fibers.fetch_add(1, std::memory_order_relaxed);
  storm.group.Add(1);
  storm.scheduler.Spawn(
      [&storm, seed, depth] {
        std::mt19937_64 random(seed);
        for (int step = 0; step < kSteps; ++step) Descend(depth, /*inside=*/false, [&] { Wait(storm, random); });
        if (!storm.end.load(std::memory_order_relaxed)) SpawnOne(storm, random());
        storm.group.Done();
      },
      {.name = std::to_string(depth)});
}

void DumpStormTest::Check(const FiberSnapshot& fiber, Seen& seen) {
  int depth = -1;
  std::from_chars(fiber.name.data(), fiber.name.data() + fiber.name.size(), depth);
  ASSERT_GE(depth, 0) << "name " << fiber.name;
  const auto frames = std::ranges::count(fiber.stack, g_recursion.load(std::memory_order_relaxed));
  if (fiber.state == FiberState::kRunning) {
    seen.running += fiber.stack_available ? 1 : 0;
    seen.running_truncated += fiber.stack_truncated ? 1 : 0;
    ASSERT_LE(frames, depth);
    return;
  }
  if (fiber.state == FiberState::kNew || (fiber.state == FiberState::kRunnable && fiber.slices == 0)) return;
  ++seen.waiting;
  ASSERT_TRUE(fiber.stack_available);
  ASSERT_FALSE(fiber.stack_truncated);
  ASSERT_EQ(frames, depth) << StateName(fiber.state) << ", fiber " << fiber.id.value << ", " << fiber.stack.size() << " frames";
}

void DumpStormTest::List(const RegistryOptions& options, Seen& seen) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(g_seconds);
  while (std::chrono::steady_clock::now() < end && !HasFatalFailure()) {
    ++seen.listings;
    ForEachFiber(options, [&seen](const FiberSnapshot& fiber) {
      Check(fiber, seen);
      return !HasFatalFailure();
    });
  }
}

TEST_P(DumpStormTest, NoListingShowsAStackThatAFiberDidNotHave) {
  Storm storm(scheduler());
  std::mt19937_64 random(g_seed);
  Descend(1, /*inside=*/false, [] {});  // so that the address is known before the first listing
  for (int i = 0; i < kFibers; ++i) SpawnOne(storm, random());
  Seen seen[3];
  std::thread parked([&] { List({}, seen[0]); });
  std::thread all([&] { List({.running_stacks = true}, seen[1]); });
  std::thread at_one_instant([&] { List({.one_instant = true}, seen[2]); });
  parked.join();
  all.join();
  at_one_instant.join();
  storm.end = true;
  storm.group.Wait();
  for (const Seen& each : seen) {
    std::printf("%llu listings, %llu stacks of waiting and %llu of running fibers (%llu of these without a root)\n",
                static_cast<unsigned long long>(each.listings), static_cast<unsigned long long>(each.waiting),
                static_cast<unsigned long long>(each.running), static_cast<unsigned long long>(each.running_truncated));
    EXPECT_GT(each.waiting, 0u);
  }
  std::printf("%llu fibers\n", static_cast<unsigned long long>(storm.fibers.load()));
  StopScheduler();
}

INSTANTIATE_TEST_SUITE_P(Processors, DumpStormTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope

int main(int argc, char** argv) {
  using namespace fiberscope;
  using fiberscope::testing::TakeFlag;
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (!TakeFlag(argv[i], "--seed=", g_seed) && !TakeFlag(argv[i], "--seconds=", g_seconds)) {
      std::fprintf(stderr, "unknown argument %s; there are --seed= --seconds=\n", argv[i]);
      return 2;
    }
  }
  std::printf("--seed=%llu --seconds=%llu\n", static_cast<unsigned long long>(g_seed), static_cast<unsigned long long>(g_seconds));
  return RUN_ALL_TESTS();
}
