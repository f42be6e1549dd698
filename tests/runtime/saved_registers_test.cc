#include "runtime/saved_registers.h"

#include "gtest/gtest.h"
#include "runtime/fiber_pool.h"
#include "runtime/sync/channel.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;
using internal::SavedRegisters;
using SavedRegistersTest = testing::RuntimeTest;

const ControlBlock* BlockOf(const Fiber& fiber) {
  const ControlBlock* found = nullptr;
  internal::FiberPool::Instance().ForEachBlock([&](ControlBlock& block) {
    if (block.fiber_id() == fiber.id()) found = &block;
    return found == nullptr;
  });
  return found;
}

TEST_P(SavedRegistersTest, OfAParkedFiberLieOnItsStack) {
  Channel<int> never;
  const Fiber fiber = scheduler().Spawn([&] { never.Receive(); });
  AwaitState(fiber, FiberState::kWaiting);
  const ControlBlock* const block = BlockOf(fiber);
  ASSERT_NE(block, nullptr);
  const auto registers = SavedRegisters(*block, FiberState::kWaiting);
  ASSERT_TRUE(registers.has_value());
  EXPECT_GE(registers->sp, block->stack().low);
  EXPECT_LE(registers->sp, block->stack().high);
  EXPECT_FALSE(registers->pc_is_exact);
  never.Close();
  StopScheduler();
}

TEST_P(SavedRegistersTest, ABlockThatCannotBeRightHasNone) {
  Channel<int> never;
  const Fiber fiber = scheduler().Spawn([&] { never.Receive(); });
  AwaitState(fiber, FiberState::kWaiting);
  const ControlBlock* const block = BlockOf(fiber);
  ASSERT_NE(block, nullptr);
  // What lies at the saved pointer is a switch's frame; read as what Blocking() leaves, its sp is no address of the
  // stack.
  EXPECT_FALSE(SavedRegisters(*block, FiberState::kBlocking).has_value());
  never.Close();
  StopScheduler();
}

INSTANTIATE_TEST_SUITE_P(Processors, SavedRegistersTest, ::testing::Values(1));

}  // namespace
}  // namespace fiberscope
