#include "runtime/processor_status.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"

namespace fiberscope::internal {
namespace {

TEST(ProcessorStatusTest, BeginsIdleAndFollowsItsOwner) {
  ProcessorStatus status;
  EXPECT_EQ(status.state(), ProcessorState::kIdle);
  status.Run();
  EXPECT_EQ(status.state(), ProcessorState::kRunning);
  status.Retire();
  EXPECT_EQ(status.state(), ProcessorState::kRetired);
  status.Idle();
  EXPECT_EQ(status.state(), ProcessorState::kIdle);
}

TEST(ProcessorStatusTest, AShortCallKeepsItsProcessor) {
  ProcessorStatus status;
  status.Run();
  const BlockingTicket ticket = status.EnterBlocking();
  EXPECT_EQ(status.state(), ProcessorState::kBlocking);
  EXPECT_TRUE(status.LeaveBlocking(ticket));
  EXPECT_EQ(status.state(), ProcessorState::kRunning);
}

TEST(ProcessorStatusTest, ARetakenProcessorIsLostToTheCall) {
  ProcessorStatus status;
  status.Run();
  const BlockingTicket mine = status.EnterBlocking();
  BlockingTicket seen;
  ASSERT_TRUE(status.LookAtBlocking(seen));
  EXPECT_EQ(seen, mine);
  EXPECT_TRUE(status.Retake(seen));
  EXPECT_FALSE(status.LeaveBlocking(mine));
  EXPECT_FALSE(status.Retake(seen)) << "once";
}

TEST(ProcessorStatusTest, ATicketIsGoodForOneCallOnly) {
  ProcessorStatus status;
  status.Run();
  const BlockingTicket first = status.EnterBlocking();
  ASSERT_TRUE(status.LeaveBlocking(first));
  const BlockingTicket second = status.EnterBlocking();
  EXPECT_FALSE(status.Retake(first)) << "the monitor looked at the call before";
  // Nor does it survive that the processor changes hands.
  ASSERT_TRUE(status.Retake(second));
  status.Idle();
  status.Run();
  const BlockingTicket third = status.EnterBlocking();
  EXPECT_FALSE(status.LeaveBlocking(second));
  EXPECT_TRUE(status.LeaveBlocking(third));
}

TEST(ProcessorStatusTest, NothingCanBeRetakenOutsideACall) {
  ProcessorStatus status;
  BlockingTicket ticket;
  EXPECT_FALSE(status.LookAtBlocking(ticket));
  status.Run();
  EXPECT_FALSE(status.LookAtBlocking(ticket));
}

// Goal: the worker and the monitor never both have the processor. Method: a plain variable is written by whoever has it; the
// number of calls is what both say they won.
TEST(ProcessorStatusTest, OfWorkerAndMonitorExactlyOneWins) {
  constexpr int kCalls = 20'000;
  ProcessorStatus status;
  int owned = 0;  // a race on it is what this test would show under ThreadSanitizer
  std::atomic<int> given_back{0};
  std::atomic<bool> done{false};
  int retaken = 0;
  status.Run();
  std::thread monitor([&] {
    while (!done) {
      BlockingTicket ticket;
      if (!status.LookAtBlocking(ticket) || !status.Retake(ticket)) continue;
      ++owned;
      ++retaken;
      given_back.store(retaken, std::memory_order_release);
    }
  });
  int kept = 0;
  int lost = 0;
  for (int i = 0; i < kCalls; ++i) {
    ++owned;
    const BlockingTicket ticket = status.EnterBlocking();
    if (i % 8 == 0) std::this_thread::yield();
    if (status.LeaveBlocking(ticket)) {
      ++kept;
      continue;
    }
    ++lost;
    while (given_back.load(std::memory_order_acquire) != lost) std::this_thread::yield();
  }
  done = true;
  monitor.join();
  EXPECT_EQ(kept + lost, kCalls);
  EXPECT_EQ(retaken, lost);
  EXPECT_EQ(owned, kCalls + lost);
}

}  // namespace
}  // namespace fiberscope::internal
