#include "runtime/sync/once.h"

#include <atomic>
#include <stdexcept>

#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using OnceTest = testing::RuntimeTest;

TEST_P(OnceTest, RunsOnceAndEverybodyReturnsAfterwards) {
  Once once;
  int runs = 0;
  std::atomic<int> seen{0};
  Channel<int> go;
  WaitGroup group;
  for (int f = 0; f < 20; ++f) {
    group.Add(1);
    scheduler().Spawn([&] {
      once.Do([&] {
        go.Receive();
        ++runs;
      });
      seen += runs;
      group.Done();
    });
  }
  EXPECT_FALSE(once.done());
  go.Send(1);
  group.Wait();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(seen, 20);
  EXPECT_TRUE(once.done());
}

TEST_P(OnceTest, AFunctionThatThrowsWasNotDone) {
  RunInFiber([] {
    Once once;
    EXPECT_THROW(once.Do([] { throw std::runtime_error("not now"); }), std::runtime_error);
    EXPECT_FALSE(once.done());
    bool ran = false;
    once.Do([&] { ran = true; });
    EXPECT_TRUE(ran);
  });
}

class OnceDeathTest : public testing::RuntimeTest {};

TEST_P(OnceDeathTest, AFunctionThatAsksForItselfIsNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(RunInFiber([] {
                 Once once("setup");
                 once.Do([&] { once.Do([] {}); });
               }),
               "fiber [0-9]+ locks mutex \\(setup\\) twice");
}

INSTANTIATE_TEST_SUITE_P(Processors, OnceDeathTest, ::testing::Values(1));
INSTANTIATE_TEST_SUITE_P(Processors, OnceTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace fiberscope
