#include "runtime/own_stack.h"

#include <signal.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using Stack = std::vector<uintptr_t>;

// Known places: the address that a call returns to lies within the function that made it.
struct Range {
  uintptr_t low;
  uintptr_t high;
  bool Contains(uintptr_t return_address) const { return return_address > low && return_address <= high; }
};

template <typename F>
uintptr_t AddressOf(F* function) {
  return reinterpret_cast<uintptr_t>(function);
}

__attribute__((noinline, noipa)) Stack CaptureHere(const OwnStackOptions& options, size_t most = 64) {
  Stack stack(most);
  stack.resize(CaptureOwnStack(stack, options));
  return stack;
}
__attribute__((noinline, noipa)) Stack Middle(int depth, const OwnStackOptions& options, size_t most = 64) {
  Stack stack = depth == 0 ? CaptureHere(options, most) : Middle(depth - 1, options, most);
  asm volatile("" ::: "memory");  // no tail call
  return stack;
}

bool IsIn(uintptr_t return_address, uintptr_t function) { return Range{function, function + 4096}.Contains(return_address); }

TEST(OwnStackTest, BeginsWithTheCaller) {
  const Stack stack = Middle(3, {});
  ASSERT_GE(stack.size(), 6u);
  EXPECT_TRUE(IsIn(stack[0], AddressOf(&CaptureHere)));
  for (size_t i = 1; i <= 4; ++i) EXPECT_TRUE(IsIn(stack[i], AddressOf(&Middle))) << i;
  EXPECT_EQ(stack[2], stack[3]);  // the recursive call
}

TEST(OwnStackTest, LeavesOutTheFramesAskedFor) {
  for (size_t skip = 0; skip < 4; ++skip) {
    const Stack whole = Middle(3, {});
    const Stack rest = Middle(3, {.skip = skip});
    ASSERT_EQ(rest.size() + skip, whole.size());
    // The two calls above return to different places.
    for (size_t i = 0; i + skip < 4; ++i) EXPECT_EQ(rest[i], whole[i + skip]) << skip;
  }
  EXPECT_TRUE(Middle(0, {.skip = 1000}).empty());
}

TEST(OwnStackTest, LeavesOutOuterFramesThatDoNotFit) {
  EXPECT_EQ(Middle(20, {}, 10).size(), 9u);  // one place goes for a frame of its own
  EXPECT_EQ(Middle(20, {}, 1).size(), 0u);
  EXPECT_EQ(Middle(20, {}, 0).size(), 0u);
}

TEST(OwnStackTest, OfEveryThreadItsOwn) {
  std::vector<std::thread> threads;
  std::array<Stack, 4> stacks;
  for (Stack& stack : stacks) {
    threads.emplace_back([&stack] {
      for (int i = 0; i < 100; ++i) stack = Middle(2, {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Stack& stack : stacks) EXPECT_EQ(stack, stacks[0]);
}

TEST(OwnStackTest, WithoutAskingThereIsNoneOnAThreadUntilSomebodyAsks) {
  std::thread([] {
    const OwnStackOptions quiet{.may_refresh = false, .may_ask = false};
    EXPECT_TRUE(Middle(2, quiet).empty());
    EXPECT_FALSE(Middle(2, {.may_refresh = false}).empty());
    EXPECT_FALSE(Middle(2, quiet).empty());
  }).join();
}

class OwnStackFiberTest : public testing::RuntimeTest {};

TEST_P(OwnStackFiberTest, OfAFiberItsOwnAfterItMigrated) {
  RunInFiber([] {
    const auto capture = [] { return Middle(2, {}); };
    const Stack first = capture();
    EXPECT_TRUE(IsIn(first[0], AddressOf(&CaptureHere)));
    for (int i = 0; i < 100; ++i) {
      this_fiber::Yield();
      const Stack again = capture();
      EXPECT_EQ(again.size(), first.size());
      EXPECT_EQ(again[2], first[2]);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Processors, OwnStackFiberTest, ::testing::Values(1, 3));

// On a stack that nobody knows there is nothing to walk.
std::array<uintptr_t, 64> g_of_handler;
size_t g_depth = 0;
void OnSignal(int) { g_depth = CaptureOwnStack(g_of_handler, {.may_refresh = false, .may_ask = false}); }

TEST(OwnStackTest, NothingOnAnAlternateStack) {
  (void)CaptureHere({});  // the bounds of this thread are known now
  static std::array<char, 64 * 1024> alternate;
  const stack_t stack{.ss_sp = alternate.data(), .ss_flags = 0, .ss_size = alternate.size()};
  stack_t before;
  ASSERT_EQ(sigaltstack(&stack, &before), 0);
  struct sigaction action = {};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_ONSTACK;
  struct sigaction old;
  ASSERT_EQ(sigaction(SIGUSR1, &action, &old), 0);
  g_depth = 1;
  raise(SIGUSR1);
  EXPECT_EQ(g_depth, 0u);
  sigaction(SIGUSR1, &old, nullptr);
  sigaltstack(&before, nullptr);
}

}  // namespace
}  // namespace fiberscope
