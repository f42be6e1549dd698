#include "runtime/sync/channel.h"

#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

class ChannelTest : public testing::RuntimeTest {
 protected:
  // A plain thread waits in `channel`, or has been served already. The id is given under the lock under which the waiter is
  // queued, so whoever takes the lock after having seen it finds the waiter.
  template <typename T>
  static void AwaitFirstWaiter(const Channel<T>& channel) {
    while (channel.wait_object().id() == 0) sched_yield();
  }
};

// ---- The specification as a table: what one operation does in one state of the channel.

enum class Operation { kSend, kTrySend, kReceive, kTryReceive };
enum class Outcome { kDone, kRefused, kParks };

struct Row {
  size_t capacity;
  int buffered;  // values in the channel before, 100, 101 ...
  bool closed;
  Operation operation;
  Outcome outcome;
};

constexpr Row kTable[] = {
    // Unbuffered, no partner about.
    {0, 0, false, Operation::kSend, Outcome::kParks},
    {0, 0, false, Operation::kTrySend, Outcome::kRefused},
    {0, 0, false, Operation::kReceive, Outcome::kParks},
    {0, 0, false, Operation::kTryReceive, Outcome::kRefused},
    {0, 0, true, Operation::kSend, Outcome::kRefused},
    {0, 0, true, Operation::kTrySend, Outcome::kRefused},
    {0, 0, true, Operation::kReceive, Outcome::kRefused},
    {0, 0, true, Operation::kTryReceive, Outcome::kRefused},
    // Buffered and empty.
    {2, 0, false, Operation::kSend, Outcome::kDone},
    {2, 0, false, Operation::kTrySend, Outcome::kDone},
    {2, 0, false, Operation::kReceive, Outcome::kParks},
    {2, 0, false, Operation::kTryReceive, Outcome::kRefused},
    {2, 0, true, Operation::kSend, Outcome::kRefused},
    {2, 0, true, Operation::kTrySend, Outcome::kRefused},
    {2, 0, true, Operation::kReceive, Outcome::kRefused},
    {2, 0, true, Operation::kTryReceive, Outcome::kRefused},
    // Neither empty nor full.
    {2, 1, false, Operation::kSend, Outcome::kDone},
    {2, 1, false, Operation::kTrySend, Outcome::kDone},
    {2, 1, false, Operation::kReceive, Outcome::kDone},
    {2, 1, false, Operation::kTryReceive, Outcome::kDone},
    {2, 1, true, Operation::kSend, Outcome::kRefused},
    {2, 1, true, Operation::kTrySend, Outcome::kRefused},
    {2, 1, true, Operation::kReceive, Outcome::kDone},
    {2, 1, true, Operation::kTryReceive, Outcome::kDone},
    // Full.
    {2, 2, false, Operation::kSend, Outcome::kParks},
    {2, 2, false, Operation::kTrySend, Outcome::kRefused},
    {2, 2, false, Operation::kReceive, Outcome::kDone},
    {2, 2, false, Operation::kTryReceive, Outcome::kDone},
    {2, 2, true, Operation::kSend, Outcome::kRefused},
    {2, 2, true, Operation::kTrySend, Outcome::kRefused},
    {2, 2, true, Operation::kReceive, Outcome::kDone},
    {2, 2, true, Operation::kTryReceive, Outcome::kDone},
};

constexpr int kFirst = 100;
constexpr int kSent = 7;

// Nothing: refused.
std::optional<int> Perform(Channel<int>& channel, Operation operation) {
  int value = kSent;
  switch (operation) {
    case Operation::kSend: return channel.Send(value) ? std::optional(value) : std::nullopt;
    case Operation::kTrySend: return channel.TrySend(std::move(value)) ? std::optional(value) : std::nullopt;
    case Operation::kReceive: return channel.Receive();
    case Operation::kTryReceive: return channel.TryReceive();
  }
  return std::nullopt;
}

TEST_P(ChannelTest, EachOperationInEachStateIsDoneRefusedOrParks) {
  for (const Row& row : kTable) {
    SCOPED_TRACE("row " + std::to_string(&row - kTable));
    const bool sends = row.operation == Operation::kSend || row.operation == Operation::kTrySend;
    Channel<int> channel(row.capacity);
    for (int i = 0; i < row.buffered; ++i) ASSERT_TRUE(channel.TrySend(kFirst + i));
    if (row.closed) channel.Close();
    std::optional<int> got;
    const Fiber fiber = scheduler().Spawn([&] { got = Perform(channel, row.operation); });
    if (row.outcome == Outcome::kParks) {
      AwaitState(fiber, FiberState::kWaiting);
      WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
        EXPECT_EQ(snapshot.wait_reason, sends ? WaitReason::kChannelSend : WaitReason::kChannelReceive);
        EXPECT_EQ(snapshot.wait_object_id, channel.wait_object().id());
      });
      channel.Close();
      fiber.Join();
      EXPECT_FALSE(got.has_value());
    } else {
      fiber.Join();
      ASSERT_EQ(got.has_value(), row.outcome == Outcome::kDone);
      EXPECT_EQ(got.value_or(-1), row.outcome == Outcome::kRefused ? -1 : sends ? kSent : kFirst);
    }
    EXPECT_EQ(channel.closed(), row.closed || row.outcome == Outcome::kParks);
    const int change = row.outcome != Outcome::kDone ? 0 : sends ? 1 : -1;
    EXPECT_EQ(channel.size(), static_cast<size_t>(row.buffered + change));
    EXPECT_EQ(channel.capacity(), row.capacity);
  }
}

// ---- Order

TEST_P(ChannelTest, AnUnbufferedSendReturnsAfterTheReceive) {
  Channel<int> channel;
  int received = 0;  // not atomic: the channel orders the accesses
  const Fiber receiver = scheduler().Spawn([&] {
    received = 1;
    channel.Receive();
  });
  RunInFiber([&] {
    channel.Send(1);
    EXPECT_EQ(received, 1);
  });
  receiver.Join();
}

TEST_P(ChannelTest, ABufferedChannelIsFirstInFirstOutAroundItsRing) {
  Channel<int> channel(3);
  RunInFiber([&] {
    int next_in = 0;
    int next_out = 0;
    for (int round = 0; round < 20; ++round) {
      while (channel.size() < 3) channel.Send(next_in++);
      for (int i = 0; i < 1 + round % 3; ++i) EXPECT_EQ(channel.Receive(), next_out++);
    }
  });
}

TEST_P(ChannelTest, WaitingSendersAreServedInOrderOfArrival) {
  for (const size_t capacity : {0, 1, 3}) {
    Channel<int> channel(capacity);
    for (size_t i = 0; i < capacity; ++i) channel.Send(static_cast<int>(i));
    std::vector<Fiber> senders;
    for (int i = 0; i < 5; ++i) {
      senders.push_back(scheduler().Spawn([&, i] { EXPECT_TRUE(channel.Send(static_cast<int>(capacity) + i)); }));
      AwaitState(senders.back(), FiberState::kWaiting);
    }
    for (int i = 0; i < static_cast<int>(capacity) + 5; ++i) EXPECT_EQ(channel.Receive(), i);
    for (const Fiber& sender : senders) sender.Join();
  }
}

TEST_P(ChannelTest, WaitingReceiversAreServedInOrderOfArrival) {
  for (const size_t capacity : {0, 2}) {
    Channel<int> channel(capacity);
    std::vector<Fiber> receivers;
    for (int i = 0; i < 5; ++i) {
      receivers.push_back(scheduler().Spawn([&, i] { EXPECT_EQ(channel.Receive(), i); }));
      AwaitState(receivers.back(), FiberState::kWaiting);
    }
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(channel.TrySend(std::move(i)));
    for (const Fiber& receiver : receivers) receiver.Join();
  }
}

TEST_P(ChannelTest, ASendersValuesArriveInItsOrderAmongThoseOfOthers) {
  constexpr int kSenders = 4;
  constexpr int kEach = 500;
  for (const size_t capacity : {0, 1, 10}) {
    Channel<std::pair<int, int>> channel(capacity);
    for (int s = 0; s < kSenders; ++s) {
      scheduler().Spawn([&, s] {
        for (int i = 0; i < kEach; ++i) channel.Send({s, i});
      });
    }
    RunInFiber([&] {
      std::vector<int> next(kSenders, 0);
      for (int i = 0; i < kSenders * kEach; ++i) {
        const auto [sender, value] = *channel.Receive();
        EXPECT_EQ(value, next[static_cast<size_t>(sender)]++);
      }
    });
  }
}

// ---- Close

TEST_P(ChannelTest, CloseWakesWaitingReceiversWithNothing) {
  Channel<int> channel(4);
  std::vector<Fiber> receivers;
  for (int i = 0; i < 10; ++i) {
    receivers.push_back(scheduler().Spawn([&] { EXPECT_EQ(channel.Receive(), std::nullopt); }));
    AwaitState(receivers.back(), FiberState::kWaiting);
  }
  channel.Close();
  for (const Fiber& receiver : receivers) receiver.Join();
}

TEST_P(ChannelTest, CloseRefusesWaitingSendersAndKeepsWhatIsBuffered) {
  Channel<int> channel(2);
  channel.Send(1);
  channel.Send(2);
  std::vector<Fiber> senders;
  for (int i = 0; i < 10; ++i) {
    senders.push_back(scheduler().Spawn([&] { EXPECT_FALSE(channel.Send(99)); }));
    AwaitState(senders.back(), FiberState::kWaiting);
  }
  channel.Close();
  for (const Fiber& sender : senders) sender.Join();
  EXPECT_EQ(channel.Receive(), 1);
  EXPECT_EQ(channel.Receive(), 2);
  EXPECT_EQ(channel.Receive(), std::nullopt);
  EXPECT_EQ(channel.Receive(), std::nullopt);
}

// Goal: a close that races with sends and receives loses and doubles nothing. Method: senders count what was accepted, receivers
// what they got; a third party closes in between.
TEST_P(ChannelTest, WhatWasAcceptedBeforeACloseIsReceived) {
  for (int round = 0; round < 50; ++round) {
    Channel<int> channel(static_cast<size_t>(round) % 4);
    std::atomic<int> accepted{0};
    std::atomic<int> received{0};
    std::vector<Fiber> fibers;
    for (int i = 0; i < 3; ++i) {
      fibers.push_back(scheduler().Spawn([&] {
        while (channel.Send(1)) ++accepted;
      }));
      fibers.push_back(scheduler().Spawn([&] {
        while (channel.Receive()) ++received;
      }));
    }
    while (received < 20) sched_yield();
    channel.Close();
    for (const Fiber& fiber : fibers) fiber.Join();
    EXPECT_EQ(accepted, received);
  }
}

TEST_P(ChannelTest, ARangeEndsWhenTheChannelIsClosedAndEmpty) {
  for (const size_t capacity : {0, 1, 20}) {
    Channel<int> channel(capacity);
    const Fiber sender = scheduler().Spawn([&] {
      for (int i = 0; i < 10; ++i) channel.Send(i);
      channel.Close();
    });
    RunInFiber([&] {
      int next = 0;
      for (const int value : channel) EXPECT_EQ(value, next++);
      EXPECT_EQ(next, 10);
      for ([[maybe_unused]] const int value : channel) ADD_FAILURE() << "a value after the end: " << value;
    });
    sender.Join();
  }
}

// ---- Many

TEST_P(ChannelTest, ManySendersAndManyReceiversLoseAndDoubleNothing) {
  constexpr int kSenders = 5;
  constexpr int kReceivers = 3;
  constexpr int kEach = 1000;
  for (const size_t capacity : {0, 1, 2, 7, 100}) {
    SCOPED_TRACE(capacity);
    Channel<int> channel(capacity);
    std::vector<std::atomic<int>> seen(kSenders * kEach);
    WaitGroup sending;
    std::vector<Fiber> receivers;
    for (int r = 0; r < kReceivers; ++r) {
      receivers.push_back(scheduler().Spawn([&] {
        while (const std::optional<int> value = channel.Receive()) ++seen[static_cast<size_t>(*value)];
      }));
    }
    for (int s = 0; s < kSenders; ++s) {
      sending.Add(1);
      scheduler().Spawn([&, s] {
        for (int i = 0; i < kEach; ++i) EXPECT_TRUE(channel.Send(s * kEach + i));
        sending.Done();
      });
    }
    sending.Wait();
    channel.Close();
    for (const Fiber& receiver : receivers) receiver.Join();
    for (const std::atomic<int>& count : seen) ASSERT_EQ(count, 1);
  }
}

// The classic: a chain of filters, one fiber per prime.
TEST_P(ChannelTest, ThePrimeSieveFindsThePrimes) {
  constexpr int kPrimes = 40;
  std::vector<int> primes;
  std::vector<std::unique_ptr<Channel<int>>> links;
  links.push_back(std::make_unique<Channel<int>>());
  RunInFiber([&] {
    std::vector<Fiber> stages;
    stages.push_back(Spawn([&, out = links.back().get()] {
      for (int i = 2; out->Send(i); ++i) {
      }
    }));
    for (int p = 0; p < kPrimes; ++p) {
      Channel<int>* const in = links.back().get();
      const int prime = *in->Receive();
      primes.push_back(prime);
      links.push_back(std::make_unique<Channel<int>>());
      stages.push_back(Spawn([in, out = links.back().get(), prime] {
        while (const std::optional<int> value = in->Receive()) {
          if (*value % prime != 0 && !out->Send(*value)) break;
        }
      }));
    }
    for (const auto& link : links) link->Close();
    for (const Fiber& stage : stages) stage.Join();
  });
  EXPECT_EQ(primes.back(), 173);  // the 40th prime
}

// ---- Values

struct Nothing {};

TEST_P(ChannelTest, ValuesWithoutContentCount) {
  Channel<Nothing> channel(3);
  RunInFiber([&] {
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(channel.Send({}));
    EXPECT_FALSE(channel.TrySend({}));
    channel.Close();
    int count = 0;
    while (channel.Receive()) ++count;
    EXPECT_EQ(count, 3);
  });
}

TEST_P(ChannelTest, MoveOnlyValuesPassThroughEveryPath) {
  using Value = std::unique_ptr<std::string>;
  Channel<Value> unbuffered;
  Channel<Value> buffered(1);
  const Fiber echo = scheduler().Spawn([&] {
    while (std::optional<Value> value = unbuffered.Receive()) buffered.Send(std::move(*value));
    buffered.Close();
  });
  const Fiber feeder = scheduler().Spawn([&] {
    for (int i = 0; i < 100; ++i) unbuffered.Send(std::make_unique<std::string>("value " + std::to_string(i)));
    unbuffered.Close();
  });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(**buffered.Receive(), "value " + std::to_string(i));
  EXPECT_EQ(buffered.Receive(), std::nullopt);
  echo.Join();
  feeder.Join();
}

TEST_P(ChannelTest, ATrySendThatIsRefusedLeavesTheValue) {
  Channel<std::unique_ptr<int>> channel;
  auto value = std::make_unique<int>(5);
  EXPECT_FALSE(channel.TrySend(std::move(value)));
  channel.Close();
  EXPECT_FALSE(channel.TrySend(std::move(value)));
  ASSERT_NE(value, nullptr);
  EXPECT_EQ(*value, 5);
}

TEST_P(ChannelTest, EveryValueIsDestroyedOnce) {
  const auto counted = std::make_shared<int>(0);
  {
    Channel<std::shared_ptr<int>> channel(3);
    EXPECT_TRUE(channel.Send(counted));
    EXPECT_TRUE(channel.Send(counted));
    EXPECT_TRUE(channel.Send(counted));
    EXPECT_EQ(counted.use_count(), 4);
    EXPECT_TRUE(channel.Receive().has_value());
    EXPECT_EQ(counted.use_count(), 3);
    channel.Close();
    EXPECT_FALSE(channel.Send(counted));
    EXPECT_EQ(counted.use_count(), 3);
  }
  EXPECT_EQ(counted.use_count(), 1) << "values that nobody received";
}

TEST_P(ChannelTest, StopDestroysTheValueOfAParkedSender) {
  const auto counted = std::make_shared<int>(0);
  Channel<std::shared_ptr<int>> channel;
  const Fiber sender = scheduler().Spawn([&] { channel.Send(counted); });
  AwaitState(sender, FiberState::kWaiting);
  scheduler().Stop();
  EXPECT_EQ(counted.use_count(), 1);
  EXPECT_FALSE(channel.TryReceive().has_value());
}

// ---- Plain threads

TEST_P(ChannelTest, AThreadAndAFiberExchangeValues) {
  for (const size_t capacity : {0, 1, 8}) {
    Channel<int> there(capacity);
    Channel<int> back(capacity);
    const Fiber doubler = scheduler().Spawn([&] {
      while (const std::optional<int> value = there.Receive()) back.Send(2 * *value);
      back.Close();
    });
    std::thread feeder([&] {
      for (int i = 0; i < 300; ++i) EXPECT_TRUE(there.Send(i));
      there.Close();
    });
    for (int i = 0; i < 300; ++i) EXPECT_EQ(back.Receive(), 2 * i);
    EXPECT_EQ(back.Receive(), std::nullopt);
    feeder.join();
    doubler.Join();
  }
}

TEST_P(ChannelTest, TwoThreadsExchangeValuesWithoutAnyFiber) {
  Channel<int> channel;
  std::thread sender([&] {
    for (int i = 0; i < 300; ++i) channel.Send(i);
    channel.Close();
  });
  int expected = 0;
  while (const std::optional<int> value = channel.Receive()) EXPECT_EQ(*value, expected++);
  EXPECT_EQ(expected, 300);
  sender.join();
}

TEST_P(ChannelTest, CloseWakesWaitingThreads) {
  Channel<int> in;
  std::thread receiver([&] { EXPECT_EQ(in.Receive(), std::nullopt); });
  AwaitFirstWaiter(in);
  in.Close();
  receiver.join();
  Channel<int> out;
  std::thread sender([&] { EXPECT_FALSE(out.Send(1)); });
  AwaitFirstWaiter(out);
  RunInFiber([&] { out.Close(); });
  sender.join();
}

// ---- Misuse

TEST_P(ChannelTest, MisuseEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Channel<int> channel(0, "orders");
        channel.Close();
        channel.Close();
      },
      "close of a closed channel \\(orders\\)");
  EXPECT_DEATH(
      {
        Scheduler local({.processors = GetParam()});
        auto channel = std::make_unique<Channel<int>>(0, "orders");
        const Fiber waiter = local.Spawn([&] { channel->Receive(); });
        AwaitState(waiter, FiberState::kWaiting);
        channel.reset();
      },
      "channel [0-9]+ \\(orders\\) destroyed while somebody waits on it");
  EXPECT_DEATH(Close(static_cast<Channel<int>*>(nullptr)), "close of no channel");
}

INSTANTIATE_TEST_SUITE_P(Processors, ChannelTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
