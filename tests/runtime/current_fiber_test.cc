#include "runtime/current_fiber.h"

#include <thread>
#include <vector>

#include "runtime/control_block.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope::internal {
namespace {

using CurrentFiberTest = testing::RuntimeTest;

TEST_P(CurrentFiberTest, ThereIsNoneOnAPlainThread) {
  EXPECT_EQ(CurrentFiber(), nullptr);
  std::thread([] { EXPECT_EQ(CurrentRunningFiber(), nullptr); }).join();
}

// Whatever the compiler knew before a switch about where the thread keeps its pointer, it must ask again.
TEST_P(CurrentFiberTest, IsRightBehindASwitchToAnotherThread) {
  std::vector<Fiber> fibers;
  for (int f = 0; f < 16; ++f) {
    fibers.push_back(scheduler().Spawn([] {
      ControlBlock* const self = CurrentFiber();
      ASSERT_NE(self, nullptr);
      EXPECT_EQ(self->fiber_id(), this_fiber::id());
      for (int i = 0; i < 500; ++i) {
        const RunningFiber* const before = CurrentRunningFiber();
        EXPECT_EQ(before->fiber.load(), self);
        this_fiber::Yield();
        EXPECT_EQ(CurrentFiber(), self);
        EXPECT_EQ(CurrentRunningFiber()->fiber.load(), self);
      }
    }));
  }
  for (const Fiber& fiber : fibers) fiber.Join();
}

INSTANTIATE_TEST_SUITE_P(Workers, CurrentFiberTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope::internal
