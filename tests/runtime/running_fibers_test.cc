// Fibers that do not park, found with their stacks: by themselves and in listings of all fibers.
#include "runtime/running_fibers.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "absl/functional/function_ref.h"
#include "gmock/gmock.h"
#include "runtime/blocking.h"
#include "runtime/sync/channel.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr CaptureOptions kLong{.timeout = std::chrono::minutes(5)};

// Return addresses, as FiberSnapshot has them.
std::vector<std::string> Functions(std::span<const uintptr_t> stack) {
  std::vector<std::string> names;
  for (const uintptr_t address : stack) {
    char name[256];
    names.push_back(absl::Symbolize(reinterpret_cast<void*>(address - 1), name, sizeof(name)) ? name : "?");
  }
  return names;
}

// Two ways to be busy that no compiler makes one of. Each says, in `where`, that it is there.
__attribute__((noinline, noipa)) void SpinEven(std::atomic<bool>& where, const std::atomic<bool>& leave) {
  where = true;
  while (!leave) {
  }
}
__attribute__((noinline, noipa)) void SpinOdd(std::atomic<bool>& where, const std::atomic<bool>& leave) {
  where = true;
  while (!leave) asm volatile("nop");
}

class RunningFibersTest : public testing::RuntimeTest {
 protected:
  static void SetUpTestSuite() { absl::InitializeSymbolizer(""); }

  Fiber SpawnSpinner(bool even) {
    std::atomic<bool> where{false};
    const Fiber fiber =
        scheduler().Spawn([this, &where, even] { even ? SpinEven(where, leave_) : SpinOdd(where, leave_); });
    while (!where) sched_yield();
    return fiber;
  }
  void Leave() { leave_ = true; }

  // As the listing of a dump has it, unless nobody answered within its 10 ms: on a busy machine a thread waits longer
  // for a CPU.
  static void WithRunningSnapshot(FiberId id, absl::FunctionRef<void(const FiberSnapshot&)> use) {
    for (bool found = false; !found;) {
      ForEachFiber({.running_stacks = true}, [&](const FiberSnapshot& snapshot) {
        if (snapshot.id != id) return true;
        found = snapshot.stack_available;
        if (found) use(snapshot);
        return false;
      });
    }
  }

 private:
  std::atomic<bool> leave_{false};
};

TEST_P(RunningFibersTest, NoneRuns) {
  EXPECT_TRUE(CaptureRunningFibers(kLong).empty());
  Channel<int> never;
  const Fiber parked = scheduler().Spawn([&] { never.Receive(); });
  AwaitState(parked, FiberState::kWaiting);
  EXPECT_TRUE(CaptureRunningFibers(kLong).empty());
  never.Close();
  StopScheduler();
  EXPECT_TRUE(CaptureRunningFibers(kLong).empty());
}

TEST_P(RunningFibersTest, AllThatRunAreFoundWithTheirOwnStacks) {
  std::vector<Fiber> spinners;
  for (int i = 0; i < GetParam(); ++i) spinners.push_back(SpawnSpinner(i % 2 == 0));
  const std::vector<RunningStack> stacks = CaptureRunningFibers(kLong);
  ASSERT_EQ(stacks.size(), spinners.size());
  for (size_t i = 0; i < spinners.size(); ++i) {
    const auto found = std::ranges::find(stacks, spinners[i].id(), &RunningStack::fiber);
    ASSERT_NE(found, stacks.end());
    EXPECT_EQ(found->end, UnwindEnd::kRoot);
    std::vector<uintptr_t> addresses = found->pcs;
    ++addresses.front();
    EXPECT_THAT(Functions(addresses), Contains(HasSubstr(i % 2 == 0 ? "SpinEven" : "SpinOdd")));
  }
  Leave();
  StopScheduler();
}

TEST_P(RunningFibersTest, AFiberInABlockingCallIsNotAmongThem) {
  std::atomic<bool> end{false};
  const Fiber fiber = scheduler().Spawn([&] { Blocking([&] { end.wait(false); }); });
  AwaitState(fiber, FiberState::kBlocking);
  EXPECT_TRUE(CaptureRunningFibers(kLong).empty());
  end = true;
  end.notify_one();
  StopScheduler();
}

TEST_P(RunningFibersTest, AListingShowsThemWhereItIsAskedTo) {
  const Fiber fiber = SpawnSpinner(true);
  WithRunningSnapshot(fiber.id(), [](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.state, FiberState::kRunning);
    EXPECT_FALSE(snapshot.stack_truncated);
    EXPECT_THAT(Functions(snapshot.stack).front(), HasSubstr("SpinEven"));
  });
  WithSnapshot(fiber.id(), [](const FiberSnapshot& snapshot) { EXPECT_FALSE(snapshot.stack_available); });
  ForEachFiber({.stacks = false, .running_stacks = true}, [](const FiberSnapshot& snapshot) {
    EXPECT_FALSE(snapshot.stack_available);
    return true;
  });
  Leave();
  StopScheduler();
}

TEST_P(RunningFibersTest, AFiberWhoseThreadDoesNotAnswerIsListedWithoutStack) {
  std::atomic<bool> blocked{false};
  std::atomic<bool> leave{false};
  const Fiber fiber = scheduler().Spawn([&] {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    blocked = true;
    while (!leave) {
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  });
  while (!blocked) sched_yield();
  bool listed = false;
  ForEachFiber({.running_stacks = true}, [&](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.id, fiber.id());
    EXPECT_EQ(snapshot.state, FiberState::kRunning);
    EXPECT_FALSE(snapshot.stack_available);
    EXPECT_TRUE(snapshot.stack.empty());
    return listed = true;
  });
  EXPECT_TRUE(listed);
  leave = true;
  StopScheduler();
}

// Goal: no fiber is shown with another one's stack, however short its turns. Method: fibers compute and park in turns,
// each in one function only, which its name tells; they end and their control blocks are used again while the listings
// run.
void Compute(int rounds) {
  for (int i = 0; i < rounds; ++i) asm volatile("");
}
__attribute__((noinline, noipa)) void WorkEven(Channel<int>& channel) {
  Compute(2'000);
  channel.Receive();
  asm volatile("");
}
__attribute__((noinline, noipa)) void WorkOdd(Channel<int>& channel) {
  Compute(3'000);
  channel.Receive();
  asm volatile("");
}

TEST_P(RunningFibersTest, StacksBelongToTheirFibersInAStorm) {
  constexpr int kListings = 300;
  constexpr int kWanted = 50;
  std::atomic<bool> done{false};
  Channel<int> closed;
  closed.Close();
  std::vector<Fiber> parents;
  for (int p = 0; p < 4; ++p) {
    parents.push_back(scheduler().Spawn([&] {
      while (!done) {
        const Fiber even = Spawn([&] { WorkEven(closed); }, {.name = "even"});
        const Fiber odd = Spawn([&] { WorkOdd(closed); }, {.name = "odd"});
        even.Join();
        odd.Join();
      }
    }));
  }
  int running_seen = 0;
  for (int listing = 0; listing < kListings || running_seen < kWanted; ++listing) {
    ForEachFiber({.running_stacks = true}, [&](const FiberSnapshot& snapshot) {
      if (snapshot.name.empty() || !snapshot.stack_available) return true;
      const std::vector<std::string> functions = Functions(snapshot.stack);
      EXPECT_THAT(functions, Not(Contains(HasSubstr(snapshot.name == "even" ? "WorkOdd" : "WorkEven"))));
      const bool works =
          std::ranges::any_of(functions, [](const auto& name) { return name.find("Work") != std::string::npos; });
      running_seen += works && snapshot.state == FiberState::kRunning;
      return true;
    });
  }
  done = true;
  for (const Fiber& parent : parents) parent.Join();
  StopScheduler();
}

INSTANTIATE_TEST_SUITE_P(Processors, RunningFibersTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
