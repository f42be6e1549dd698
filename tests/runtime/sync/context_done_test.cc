#include "runtime/sync/context_done.h"

#include <optional>

#include "runtime/context.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/select.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ContextDoneTest = testing::RuntimeTest;

TEST_P(ContextDoneTest, ASelectEndsWithTheContext) {
  const CancelSource source = Context().WithCancel();
  ContextDone done(source.context());
  Channel<int> channel(1);
  std::optional<int> value;
  channel.Send(4);
  EXPECT_EQ(Select(ReceiveCase(&channel, value), done.Case()), 0u);
  EXPECT_EQ(value, 4);
  const Fiber fiber = scheduler().Spawn([&] {
    EXPECT_EQ(Select(ReceiveCase(&channel, value), done.Case()), 1u);
    EXPECT_EQ(source.context().cause(), absl::AbortedError("enough"));
  });
  AwaitState(fiber, FiberState::kWaiting);
  source.Cancel(absl::AbortedError("enough"));
  fiber.Join();
  EXPECT_EQ(Select(ReceiveCase(&channel, value), done.Case()), 1u) << "on a plain thread, and ever after";
}

TEST_P(ContextDoneTest, AContextThatIsOverIsDoneAtOnce) {
  const CancelSource source = Context().WithTimeout(std::chrono::nanoseconds(0));
  ContextDone done(source.context());
  ContextDone never{Context()};
  EXPECT_EQ(Select(never.Case(), done.Case()), 1u);
}

INSTANTIATE_TEST_SUITE_P(Processors, ContextDoneTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
