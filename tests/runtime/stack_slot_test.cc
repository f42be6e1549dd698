#include "runtime/stack_slot.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <random>
#include <thread>

#include "gtest/gtest.h"

namespace fiberscope::internal {
namespace {

TEST(StackSlotTest, AnAnswerGoesFromTheHandlerToTheRequest) {
  StackSlot slot;
  EXPECT_TRUE(slot.IsFree());
  const uint64_t number = slot.Ask();
  EXPECT_FALSE(slot.IsFree());
  EXPECT_FALSE(slot.IsAnswered());
  ASSERT_TRUE(slot.Begin(number));
  EXPECT_FALSE(slot.IsAnswered());
  slot.Finish(number);
  EXPECT_TRUE(slot.IsAnswered());
  EXPECT_FALSE(slot.IsFree()) << "nobody has taken the answer";
  slot.Release();
  EXPECT_TRUE(slot.IsFree());
  EXPECT_EQ(slot.Ask(), number + 1);
}

TEST(StackSlotTest, OnlyTheHandlerOfTheOpenRequestMayAnswerAndOnlyOnce) {
  StackSlot slot;
  EXPECT_FALSE(slot.Begin(0)) << "nobody has asked";
  const uint64_t number = slot.Ask();
  EXPECT_FALSE(slot.Begin(number - 1));
  EXPECT_FALSE(slot.Begin(number + 1));
  EXPECT_TRUE(slot.Begin(number));
  EXPECT_FALSE(slot.Begin(number));
  slot.Finish(number);
  EXPECT_FALSE(slot.Begin(number));
}

TEST(StackSlotTest, AHandlerThatComesAfterTheTimeIsUpWritesNothingAndClearsTheDebt) {
  StackSlot slot;
  const uint64_t number = slot.Ask();
  slot.Withdraw();
  EXPECT_TRUE(slot.IsOwed());
  EXPECT_FALSE(slot.IsFree());
  EXPECT_FALSE(slot.Begin(number));
  EXPECT_FALSE(slot.IsOwed());
  EXPECT_TRUE(slot.IsFree());
  const uint64_t next = slot.Ask();
  EXPECT_FALSE(slot.Begin(number)) << "the slot is another request's by now";
  EXPECT_TRUE(slot.Begin(next));
}

TEST(StackSlotTest, AHandlerAtWorkKeepsTheSlotWhenTheTimeIsUp) {
  StackSlot slot;
  const uint64_t number = slot.Ask();
  ASSERT_TRUE(slot.Begin(number));
  slot.Withdraw();
  EXPECT_FALSE(slot.IsFree());
  EXPECT_FALSE(slot.IsOwed());
  EXPECT_FALSE(slot.IsAnswered());
  slot.Release();
  EXPECT_FALSE(slot.IsFree());
  slot.Finish(number);
  slot.Release();
  EXPECT_TRUE(slot.IsFree());
}

TEST(StackSlotTest, AnOldSignalAnswersTheRequestThatAsksAgain) {
  StackSlot slot;
  const uint64_t number = slot.Ask();
  EXPECT_FALSE(slot.AskAgain()) << "nothing is owed";
  slot.Withdraw();
  EXPECT_TRUE(slot.AskAgain());
  EXPECT_TRUE(slot.Begin(number));
  slot.Finish(number);
  EXPECT_TRUE(slot.IsAnswered());
}

TEST(StackSlotTest, ADebtIsForgivenWhenNoSignalIsOnItsWay) {
  StackSlot slot;
  const uint64_t number = slot.Ask();
  slot.ForgiveDebt();
  EXPECT_FALSE(slot.IsFree()) << "asked, not owed";
  slot.Withdraw();
  slot.ForgiveDebt();
  EXPECT_TRUE(slot.IsFree());
  EXPECT_FALSE(slot.AskAgain());
  EXPECT_FALSE(slot.Begin(number));
}

TEST(StackSlotTest, WhatCouldNotBeSentIsTakenBack) {
  StackSlot slot;
  const uint64_t number = slot.Ask();
  slot.TakeBack();
  EXPECT_TRUE(slot.IsFree());
  EXPECT_FALSE(slot.Begin(number));
}

// Goal: whatever the order of requests, time-outs and handlers, an answer that a request takes is its own and whole.
// Method: a requester gives up at random times; three threads play handlers of signals that arrive late, in any order. The
// answer is plain memory: ThreadSanitizer sees two writers, or a reader beside a writer.
TEST(StackSlotTest, AnswersAreWholeAndOfTheRightRequestHoweverLateTheHandlersAre) {
  constexpr unsigned kSeed = 20'260'801;
  constexpr uint64_t kRequests = 5'000;
  constexpr uint64_t kWanted = 50;  // of either kind
  static StackSlot slot;
  static std::array<uint64_t, 8> answer;
  // Signals on their way, at most one per cell.
  std::array<std::atomic<uint64_t>, 3> signals{};
  std::atomic<bool> stop{false};
  std::array<std::thread, 3> handlers;
  for (size_t i = 0; i < handlers.size(); ++i) {
    handlers[i] = std::thread([&, i] {
      while (!stop) {
        const uint64_t number = signals[i].exchange(0);
        if (number == 0) {
          std::this_thread::yield();
          continue;
        }
        if (!slot.Begin(number)) continue;
        answer.fill(number);
        slot.Finish(number);
      }
    });
  }

  std::mt19937 random(kSeed);
  uint64_t answered = 0, late = 0;
  // On a busy machine the handlers may get no CPU for long: the test's own time limit is the deadline.
  for (uint64_t i = 0; i < kRequests || answered <= kWanted || late <= kWanted; ++i) {
    slot.Release();
    if (slot.IsOwed() && random() % 2 == 0) slot.ForgiveDebt();
    uint64_t number = 0;
    if (!slot.AskAgain()) {
      if (!slot.IsFree()) continue;
      number = slot.Ask();
      signals[random() % signals.size()].store(number);  // may overwrite one: a signal that never comes
    }
    for (unsigned turns = random() % 8; turns != 0 && !slot.IsAnswered(); --turns) std::this_thread::yield();
    slot.Withdraw();
    if (!slot.IsAnswered()) {
      ++late;
      continue;
    }
    ++answered;
    for (const uint64_t word : answer) ASSERT_EQ(word, answer[0]) << "seed " << kSeed;
    if (number != 0) {
      ASSERT_EQ(answer[0], number) << "seed " << kSeed;
    }
  }
  stop = true;
  for (std::thread& handler : handlers) handler.join();
}

}  // namespace
}  // namespace fiberscope::internal
