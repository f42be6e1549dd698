// Go's channel and select semantics, case by case, then under load. Goal of the stress tests: whatever the
// interleaving, each value that was sent is received once, and each operation that a select reports happened, and no
// other.
#include "runtime/sync/select.h"

#include <array>
#include <atomic>
#include <memory>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

using SelectTest = testing::RuntimeTest;

// ---- The table: one channel in each condition, as the only case of a select.

enum class Channels { kNil, kOpenEmpty, kOpenFull, kOpenPart, kSenderWaits, kReceiverWaits, kClosedEmpty, kClosedPart };

struct Expected {
  const char* name;
  Channels condition;
  size_t capacity;
  bool receive_ready;
  std::optional<int> received;
  bool send_ready;
  bool sent;
};

const Expected kTable[] = {
    {"nil", Channels::kNil, 0, false, {}, false, false},
    {"unbuffered", Channels::kOpenEmpty, 0, false, {}, false, false},
    {"unbuffered, a sender waits", Channels::kSenderWaits, 0, true, 7, false, false},
    {"unbuffered, a receiver waits", Channels::kReceiverWaits, 0, false, {}, true, true},
    {"unbuffered, closed", Channels::kClosedEmpty, 0, true, {}, true, false},
    {"buffered, empty", Channels::kOpenEmpty, 2, false, {}, true, true},
    {"buffered, in part full", Channels::kOpenPart, 2, true, 7, true, true},
    {"buffered, full", Channels::kOpenFull, 1, true, 7, false, false},
    {"buffered, full, a sender waits", Channels::kSenderWaits, 1, true, 7, false, false},
    {"buffered, a receiver waits", Channels::kReceiverWaits, 2, false, {}, true, true},
    {"buffered, closed, empty", Channels::kClosedEmpty, 2, true, {}, true, false},
    {"buffered, closed, not drained", Channels::kClosedPart, 2, true, 7, true, false},
};

// Brings a channel into a condition; whoever has to wait for that is helped out at the end.
class Prepared {
 public:
  explicit Prepared(const Expected& row) : row_(row) {
    if (row.condition == Channels::kNil) return;
    channel_ = std::make_unique<Channel<int>>(row.capacity);
    switch (row.condition) {
      case Channels::kOpenFull:
        while (channel_->TrySend(7)) {
        }
        break;
      case Channels::kOpenPart:
      case Channels::kClosedPart:
        EXPECT_TRUE(channel_->TrySend(7));
        break;
      case Channels::kSenderWaits:
        while (channel_->TrySend(7)) {
        }
        partner_ = Spawn([this] { channel_->Send(7); });
        break;
      case Channels::kReceiverWaits:
        partner_ = Spawn([this] { channel_->Receive(); });
        break;
      default:
        break;
    }
    while (partner_.id() && partner_.state() != FiberState::kWaiting) this_fiber::Yield();
    if (row.condition == Channels::kClosedEmpty || row.condition == Channels::kClosedPart) channel_->Close();
  }
  ~Prepared() {
    if (channel_ == nullptr || channel_->closed()) return;
    channel_->Close();
    partner_.Join();
  }

  Channel<int>* get() { return channel_.get(); }

 private:
  const Expected& row_;
  std::unique_ptr<Channel<int>> channel_;
  Fiber partner_;
};

TEST_P(SelectTest, DoesWhatGoDoesForEachConditionOfAChannel) {
  RunInFiber([&] {
    for (const Expected& row : kTable) {
      {
        Prepared prepared(row);
        std::optional<int> into = -1;
        EXPECT_EQ(TrySelect(ReceiveCase(prepared.get(), into)),
                  row.receive_ready ? std::optional<size_t>(0) : std::nullopt)
            << row.name;
        EXPECT_EQ(into, row.receive_ready ? row.received : -1) << row.name;
      }
      {
        Prepared prepared(row);
        int value = 9;
        bool sent = false;
        EXPECT_EQ(TrySelect(SendCase(prepared.get(), value, &sent)),
                  row.send_ready ? std::optional<size_t>(0) : std::nullopt)
            << row.name;
        EXPECT_EQ(sent, row.sent) << row.name;
      }
      {
        // The waiting form agrees: ready at once, or not within a deadline that has passed.
        Prepared prepared(row);
        std::optional<int> into = -1;
        const absl::StatusOr<size_t> chosen = SelectUntil(Deadline::min(), ReceiveCase(prepared.get(), into));
        EXPECT_EQ(chosen.status().code(),
                  row.receive_ready ? absl::StatusCode::kOk : absl::StatusCode::kDeadlineExceeded)
            << row.name;
        EXPECT_EQ(into, row.receive_ready ? row.received : -1) << row.name;
      }
      {
        // In company: a case that can never happen changes nothing.
        Prepared prepared(row);
        std::optional<int> into = -1;
        std::optional<int> never;
        Channel<int>* const none = nullptr;
        EXPECT_EQ(TrySelect(ReceiveCase(none, never), ReceiveCase(prepared.get(), into)),
                  row.receive_ready ? std::optional<size_t>(1) : std::nullopt)
            << row.name;
      }
    }
  });
}

TEST_P(SelectTest, WaitsUntilAPartnerComesForAnyCase) {
  RunInFiber([&] {
    for (size_t which = 0; which < 4; ++which) {
      Channel<int> in_a;
      Channel<int> in_b;
      Channel<int> out_c;
      Channel<int> out_d(1);
      out_d.Send(0);
      std::optional<int> a;
      std::optional<int> b;
      int c = 30;
      int d = 40;
      bool sent_c = false;
      bool sent_d = false;
      size_t chosen = kNoCase;
      const Fiber selector = Spawn([&] {
        chosen = Select(ReceiveCase(&in_a, a), ReceiveCase(&in_b, b), SendCase(&out_c, c, &sent_c),
                        SendCase(&out_d, d, &sent_d));
      });
      AwaitState(selector, FiberState::kWaiting);
      EXPECT_TRUE(
          WithSnapshot(selector.id(), [](const FiberSnapshot& s) { EXPECT_EQ(s.wait_reason, WaitReason::kSelect); }));
      switch (which) {
        case 0:
          in_a.Send(1);
          break;
        case 1:
          in_b.Send(2);
          break;
        case 2:
          EXPECT_EQ(out_c.Receive(), 30);
          break;
        case 3:
          EXPECT_EQ(out_d.Receive(), 0);
          break;
      }
      selector.Join();
      EXPECT_EQ(chosen, which);
      EXPECT_EQ(a, which == 0 ? std::optional(1) : std::nullopt);
      EXPECT_EQ(b, which == 1 ? std::optional(2) : std::nullopt);
      EXPECT_EQ(sent_c, which == 2);
      EXPECT_EQ(sent_d, which == 3);
      // Nothing of it is left behind: the others have no partner.
      EXPECT_FALSE(in_a.TrySend(5));
      EXPECT_FALSE(in_b.TrySend(5));
      EXPECT_EQ(out_c.TryReceive(), std::nullopt);
      EXPECT_EQ(out_d.TryReceive(), which == 3 ? std::optional(40) : std::optional(0));
    }
  });
}

TEST_P(SelectTest, CloseWakesReceiversAndSendersInASelect) {
  RunInFiber([&] {
    Channel<int> closes;
    Channel<int> other;
    std::optional<int> into = 5;
    int value = 1;
    bool sent = true;
    size_t received = kNoCase;
    size_t sent_case = kNoCase;
    const Fiber receiver = Spawn([&] {
      std::optional<int> never;
      received = Select(ReceiveCase(&other, never), ReceiveCase(&closes, into));
    });
    AwaitState(receiver, FiberState::kWaiting);
    closes.Close();
    receiver.Join();
    EXPECT_EQ(received, 1u);
    EXPECT_EQ(into, std::nullopt);
    Channel<int> closes_too;
    const Fiber sender = Spawn([&] {
      std::optional<int> never;
      sent_case = Select(SendCase(&closes_too, value, &sent), ReceiveCase(&other, never));
    });
    AwaitState(sender, FiberState::kWaiting);
    closes_too.Close();
    sender.Join();
    EXPECT_EQ(sent_case, 0u);
    EXPECT_FALSE(sent);
  });
}

TEST_P(SelectTest, ItDoesNotMeetItself) {
  RunInFiber([&] {
    Channel<int> channel;
    std::optional<int> into;
    int value = 1;
    EXPECT_EQ(TrySelect(SendCase(&channel, value), ReceiveCase(&channel, into)), std::nullopt);
    const absl::StatusOr<size_t> chosen =
        SelectFor(milliseconds(1), SendCase(&channel, value), ReceiveCase(&channel, into), ReceiveCase(&channel, into));
    EXPECT_EQ(chosen.status().code(), absl::StatusCode::kDeadlineExceeded);
    // Two of the kind meet each other.
    size_t first = kNoCase;
    const Fiber other = Spawn([&] {
      std::optional<int> got;
      int give = 2;
      first = Select(SendCase(&channel, give), ReceiveCase(&channel, got));
      EXPECT_EQ(got, first == 1 ? std::optional(1) : std::nullopt);
    });
    const size_t second = Select(SendCase(&channel, value), ReceiveCase(&channel, into));
    other.Join();
    EXPECT_EQ(first + second, 1u);
    EXPECT_EQ(into, second == 1 ? std::optional(2) : std::nullopt);
  });
}

TEST_P(SelectTest, WithoutCasesItWaitsForEverAndSaysSo) {
  const Fiber none = scheduler().Spawn([] { Select(); });
  const Fiber nil = scheduler().Spawn([] {
    std::optional<int> a;
    std::optional<int> b;
    Channel<int>* const no_channel = nullptr;
    Select(ReceiveCase(no_channel, a), ReceiveCase(no_channel, b));
  });
  const Fiber receive = scheduler().Spawn([] { Receive(static_cast<Channel<int>*>(nullptr)); });
  const Fiber send = scheduler().Spawn([] { Send(static_cast<Channel<int>*>(nullptr), 1); });
  const std::pair<Fiber, WaitReason> expected[] = {{none, WaitReason::kSelectNoCases},
                                                   {nil, WaitReason::kSelect},
                                                   {receive, WaitReason::kChannelReceiveNil},
                                                   {send, WaitReason::kChannelSendNil}};
  for (const auto& [fiber, reason] : expected) {
    AwaitState(fiber, FiberState::kWaiting);
    EXPECT_TRUE(WithSnapshot(fiber.id(), [&](const FiberSnapshot& s) { EXPECT_EQ(s.wait_reason, reason); }));
  }
  RunInFiber([] {
    EXPECT_EQ(TrySelect(std::span<const SelectCase>()), std::nullopt);
    EXPECT_EQ(SelectFor(milliseconds(1), std::span<const SelectCase>()).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  });
}

TEST_P(SelectTest, StopUnwindsASelectThatWaits) {
  Channel<int> a;
  Channel<int> b;
  std::atomic<int> unwound{0};
  struct CountUnwound {
    std::atomic<int>& count;
    ~CountUnwound() { ++count; }
  };
  std::vector<Fiber> fibers;
  for (int i = 0; i < 10; ++i) {
    fibers.push_back(scheduler().Spawn([&] {
      CountUnwound counter{unwound};
      std::optional<int> into;
      Select(ReceiveCase(&a, into), ReceiveCase(&b, into));
    }));
  }
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
  StopScheduler();
  EXPECT_EQ(unwound, 10);
}

// Each of n ready cases is chosen with probability 1/n: over 1000 n choices the count of one has mean 1000 and a
// standard deviation below 32, so 800..1200 is more than six of them on each side.
TEST_P(SelectTest, ChoosesAmongReadyCasesWithEqualProbability) {
  RunInFiber([&] {
    for (const size_t n : {2u, 3u, 8u, 20u}) {
      std::vector<std::unique_ptr<Channel<int>>> channels;
      std::vector<std::optional<int>> into(n);
      std::vector<SelectCase> cases;
      for (size_t i = 0; i < n; ++i) {
        channels.push_back(std::make_unique<Channel<int>>(1));
        channels.back()->Send(0);
        cases.push_back(ReceiveCase(channels.back().get(), into[i]));
      }
      std::vector<int> chosen(n);
      for (size_t round = 0; round < 1000 * n; ++round) {
        const size_t which = Select(cases);
        ++chosen[which];
        channels[which]->Send(0);
      }
      for (size_t i = 0; i < n; ++i) {
        EXPECT_GT(chosen[i], 800) << "case " << i << " of " << n;
        EXPECT_LT(chosen[i], 1200) << "case " << i << " of " << n;
      }
    }
  });
}

// The same channel twice or more in one select: after the select has ended by another case, none of its nodes takes what comes, not
// even while the fiber is in its next wait.
TEST_P(SelectTest, CasesOnOneChannelAllLeaveIt) {
  RunInFiber([&] {
    for (const size_t capacity : {0u, 1u}) {
      Channel<int> twice(capacity);
      Channel<int> other(capacity);
      Channel<int> next;
      std::optional<int> into[3];
      const Fiber selector = Spawn([&] {
        EXPECT_EQ(Select(ReceiveCase(&twice, into[0]), ReceiveCase(&twice, into[1]), ReceiveCase(&other, into[2])), 2u);
        EXPECT_EQ(next.ReceiveFor(hours(1)).value(), 3);
      });
      AwaitState(selector, FiberState::kWaiting);
      std::optional<int> received;
      const Fiber receiver = Spawn([&] { received = twice.Receive(); });
      AwaitState(receiver, FiberState::kWaiting);
      other.Send(1);
      AwaitState(selector, FiberState::kWaiting);
      twice.Send(2);
      receiver.Join();
      next.Send(3);
      selector.Join();
      EXPECT_EQ(received, 2);
      EXPECT_EQ(into[0], std::nullopt);
      EXPECT_EQ(into[1], std::nullopt);
      EXPECT_EQ(into[2], 1);
    }
  });
}

// Of two sends on one channel each is chosen with probability 1/2: of 4000, mean 2000, standard deviation below 32; 1800..2200 is
// six of them on each side. A select that waits, and one that finds room.
TEST_P(SelectTest, DuplicatedCasesAreChosenWithEqualProbability) {
  for (const size_t capacity : {0u, 1u, 100u}) {
    Channel<int> channel(capacity);
    const Fiber sender = scheduler().Spawn([&] {
      for (int i = 0; i < 4000; ++i) {
        int zero = 0;
        int one = 1;
        Select(SendCase(&channel, zero), SendCase(&channel, one));
      }
      channel.Close();
    });
    int counts[2] = {};
    RunInFiber([&] {
      for (const int value : channel) ++counts[value];
    });
    sender.Join();
    EXPECT_EQ(counts[0] + counts[1], 4000);
    EXPECT_GT(counts[0], 1800) << capacity;
    EXPECT_LT(counts[0], 2200) << capacity;
  }
}

// Those who select wait in one line with those who just receive or send.
TEST_P(SelectTest, ASelectKeepsItsPlaceInTheQueue) {
  RunInFiber([&] {
    for (const bool sends : {false, true}) {
      Channel<int> channel;
      Channel<int> never;
      std::vector<int> order;
      std::vector<Fiber> fibers;
      for (int i = 0; i < 6; ++i) {
        fibers.push_back(Spawn([&, i] {
          std::optional<int> into;
          std::optional<int> nothing;
          int value = i;
          if (sends) {
            i % 2 == 0 ? static_cast<void>(channel.Send(i))
                       : static_cast<void>(Select(ReceiveCase(&never, nothing), SendCase(&channel, value)));
            return;
          }
          if (i % 2 == 0) {
            into = channel.Receive();
          } else {
            Select(ReceiveCase(&never, nothing), ReceiveCase(&channel, into));
          }
          EXPECT_EQ(into, i);
        }));
        AwaitState(fibers.back(), FiberState::kWaiting);
      }
      for (int i = 0; i < 6; ++i) {
        if (sends) {
          EXPECT_EQ(channel.Receive(), i);
        } else {
          channel.Send(i);
        }
      }
      for (const Fiber& fiber : fibers) fiber.Join();
    }
  });
}

TEST_P(SelectTest, ManyCasesAndSeveralSizesInOneFiber) {
  RunInFiber([&] {
    for (const size_t n : {2u, 4u, 5u, 100u, 3u, 1u, 40u}) {
      std::vector<std::unique_ptr<Channel<size_t>>> channels;
      std::vector<std::optional<size_t>> into(n);
      std::vector<SelectCase> cases;
      for (size_t i = 0; i < n; ++i) {
        channels.push_back(std::make_unique<Channel<size_t>>());
        cases.push_back(ReceiveCase(channels.back().get(), into[i]));
      }
      const Fiber sender = Spawn([&] { channels[n - 1]->Send(n); });
      EXPECT_EQ(Select(cases), n - 1);
      EXPECT_EQ(into[n - 1], n);
      sender.Join();
    }
  });
}

TEST_P(SelectTest, PlainThreadsSelectToo) {
  Channel<int> a;
  Channel<int> b;
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        std::optional<int> into_a;
        std::optional<int> into_b;
        sum += Select(ReceiveCase(&a, into_a), ReceiveCase(&b, into_b)) == 0 ? into_a.value() : into_b.value();
      }
    });
  }
  WaitGroup group;
  for (Channel<int>* const channel : {&a, &b}) {
    group.Add(1);
    scheduler().Spawn([&, channel] {
      for (int i = 0; i < 300; ++i) channel->Send(1);
      group.Done();
    });
  }
  group.Wait();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum, 600);
  std::optional<int> nothing;
  EXPECT_EQ(TrySelect(ReceiveCase(&a, nothing), ReceiveCase(&b, nothing)), std::nullopt);
  EXPECT_EQ(SelectFor(microseconds(1), ReceiveCase(&a, nothing), ReceiveCase(&b, nothing)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

// ---- Under load: all configurations of the issue, with queues of two slots so that everything overflows.

class SelectLoadTest : public ::testing::TestWithParam<int> {
 protected:
  SelectLoadTest() : scheduler_({.processors = GetParam(), .run_queue_slots = 2}) {}
  Scheduler scheduler_;
};

// Producers and consumers use any mixture of plain, timed and selecting operations on a few channels of different
// capacities.
TEST_P(SelectLoadTest, EveryValueArrivesOnce) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  constexpr int kProducers = 8;
  constexpr int kConsumers = 8;
  constexpr int kEach = 400;
  constexpr size_t kChannels = 4;
  std::array<std::unique_ptr<Channel<int>>, kChannels> channels;
  for (size_t i = 0; i < kChannels; ++i) channels[i] = std::make_unique<Channel<int>>(i % 2 == 0 ? 0 : i);
  std::vector<std::atomic<int>> received(kProducers * kEach);
  std::atomic<int> total{0};
  Channel<int> done;
  WaitGroup producers;
  WaitGroup consumers;
  for (int p = 0; p < kProducers; ++p) {
    producers.Add(1);
    scheduler_.Spawn([&, p] {
      std::mt19937 random(seed + static_cast<unsigned>(p));
      for (int i = 0; i < kEach; ++i) {
        int value = p * kEach + i;
        Channel<int>& first = *channels[random() % kChannels];
        switch (random() % 4) {
          case 0:
            ASSERT_TRUE(first.Send(value));
            break;
          case 1:
            while (!first.SendFor(std::move(value), microseconds(random() % 50)).ok()) {
            }
            break;
          case 2: {
            std::vector<SelectCase> cases;
            for (auto& channel : channels) cases.push_back(SendCase(channel.get(), value));
            Select(cases);
            break;
          }
          case 3: {
            Channel<int>& second = *channels[random() % kChannels];
            while (!SelectFor(microseconds(random() % 50), SendCase(&first, value), SendCase(&second, value)).ok()) {
            }
            break;
          }
        }
      }
      producers.Done();
    });
  }
  for (int c = 0; c < kConsumers; ++c) {
    consumers.Add(1);
    scheduler_.Spawn([&, c] {
      std::mt19937 random(seed + 100 + static_cast<unsigned>(c));
      for (;;) {
        std::optional<int> value;
        std::optional<int> stop;
        if (random() % 3 == 0) {
          const absl::StatusOr<int> got = channels[random() % kChannels]->ReceiveFor(microseconds(random() % 50));
          if (!got.ok()) continue;
          value = *got;
        } else {
          std::array<std::optional<int>, kChannels> into;
          std::vector<SelectCase> cases;
          for (size_t i = 0; i < kChannels; ++i) cases.push_back(ReceiveCase(channels[i].get(), into[i]));
          cases.push_back(ReceiveCase(&done, stop));
          const size_t chosen = Select(cases);
          for (size_t i = 0; i < kChannels; ++i) ASSERT_EQ(into[i].has_value(), i == chosen);
          if (chosen == kChannels) break;
          value = into[chosen];
        }
        ++received[static_cast<size_t>(*value)];
        if (++total == kProducers * kEach) done.Close();
      }
      consumers.Done();
    });
  }
  producers.Wait();
  consumers.Wait();
  for (size_t i = 0; i < received.size(); ++i) ASSERT_EQ(received[i], 1) << "value " << i;
}

// Selects facing selects: every hand-over needs two parties of which each has several offers out.
TEST_P(SelectLoadTest, SelectsThatFaceSelectsPairUp) {
  constexpr int kFibers = 16;
  constexpr int kEach = 500;
  Channel<int> a;
  Channel<int> b;
  std::atomic<int64_t> sent{0};
  std::atomic<int64_t> received{0};
  WaitGroup group;
  for (int f = 0; f < kFibers; ++f) {
    group.Add(1);
    scheduler_.Spawn([&, f] {
      for (int i = 0; i < kEach; ++i) {
        if (f % 2 == 0) {
          int value = f * kEach + i;
          Select(SendCase(&a, value), SendCase(&b, value));
          sent += f * kEach + i;
        } else {
          std::optional<int> into_a;
          std::optional<int> into_b;
          const size_t chosen = Select(ReceiveCase(&a, into_a), ReceiveCase(&b, into_b));
          ASSERT_EQ(into_a.has_value(), chosen == 0);
          ASSERT_EQ(into_b.has_value(), chosen == 1);
          received += chosen == 0 ? *into_a : *into_b;
        }
      }
      group.Done();
    });
  }
  group.Wait();
  EXPECT_EQ(sent, received);
}

// Each of several fibers offers its number to the others and takes one of theirs, on one channel: nobody gets his own.
TEST_P(SelectLoadTest, NobodyMeetsHimselfInACrowd) {
  for (const int parties : {2, 6}) {
    constexpr int kRounds = 500;
    Channel<int> channel;
    std::atomic<int> sent{0};
    std::atomic<int> received{0};
    WaitGroup group;
    for (int party = 0; party < parties; ++party) {
      group.Add(1);
      scheduler_.Spawn([&, party] {
        for (int i = 0; i < kRounds; ++i) {
          std::optional<int> into;
          int value = party;
          // Both orders of the cases.
          const bool receives_first = i % 2 == 0;
          const absl::StatusOr<size_t> chosen =
              receives_first ? SelectFor(milliseconds(1), ReceiveCase(&channel, into), SendCase(&channel, value))
                             : SelectFor(milliseconds(1), SendCase(&channel, value), ReceiveCase(&channel, into));
          if (!chosen.ok()) continue;  // the others may have done all of theirs
          const bool did_receive = (*chosen == 0) == receives_first;
          ASSERT_EQ(into.has_value(), did_receive);
          if (did_receive) {
            ASSERT_NE(*into, party);
          }
          ++(did_receive ? received : sent);
        }
        group.Done();
      });
    }
    group.Wait();
    EXPECT_EQ(sent, received);
    EXPECT_GT(sent, 0);
  }
}

// One of two channels is ready at every moment, though not always the same: a select with a default must not take the default. The
// channels between them, never ready, make the select slow enough to be overtaken.
TEST_P(SelectLoadTest, ADefaultIsNotTakenWhileACaseIsReady) {
  enum class Way { kReceiveElsewhere, kCloseElsewhere, kCloseTheSame };
  constexpr int kRounds = 3000;
  constexpr size_t kChannels = 32;
  for (const Way way : {Way::kReceiveElsewhere, Way::kCloseElsewhere, Way::kCloseTheSame}) {
    std::array<std::unique_ptr<Channel<int>>, kChannels> channels;
    std::atomic<int> begun{0};
    std::atomic<int> ended{0};
    std::atomic<int> defaults{0};
    const Fiber selector = scheduler_.Spawn([&] {
      for (int round = 1; round <= kRounds; ++round) {
        while (begun != round) {
        }
        std::optional<int> into;
        std::vector<SelectCase> cases;
        for (auto& channel : channels) cases.push_back(ReceiveCase(channel.get(), into));
        if (!TrySelect(cases).has_value()) ++defaults;
        ended = round;
      }
    });
    for (int round = 1; round <= kRounds; ++round) {
      for (auto& channel : channels) channel = std::make_unique<Channel<int>>(1);
      Channel<int>& first = *channels[0];
      Channel<int>& second = *channels[1];
      first.Send(1);
      begun = round;
      // Later each time: the select takes a few microseconds to ask all.
      for (volatile int pause = round; pause > 0;) pause = pause - 1;
      switch (way) {
        case Way::kReceiveElsewhere:
          second.Send(1);
          break;
        case Way::kCloseElsewhere:
          second.Close();
          break;
        case Way::kCloseTheSame:
          first.Close();
          break;
      }
      first.TryReceive();
      while (ended != round) sched_yield();
    }
    selector.Join();
    EXPECT_EQ(defaults, 0) << "way " << static_cast<int>(way);
  }
}

TEST_P(SelectLoadTest, CloseWhileManyAreBlocked) {
  for (int round = 0; round < 20; ++round) {
    Channel<int> a;
    Channel<int> b;
    std::atomic<int> closed{0};
    WaitGroup group;
    for (int f = 0; f < 40; ++f) {
      group.Add(1);
      scheduler_.Spawn([&, f] {
        std::optional<int> into;
        int value = 0;
        bool sent = true;
        switch (f % 4) {
          case 0:
            closed += a.Receive().has_value() ? 0 : 1;
            break;
          case 1:
            Select(ReceiveCase(&a, into), ReceiveCase(&b, into)), closed += into.has_value() ? 0 : 1;
            break;
          case 2:
            closed += a.ReceiveFor(hours(1)).ok() ? 0 : 1;
            break;
          case 3:
            Select(ReceiveCase(&b, into), SendCase(&a, value, &sent)), closed += sent ? 0 : 1;
            break;
        }
        group.Done();
      });
    }
    a.Close();
    group.Wait();
    // Some of the senders met some of the receivers.
    EXPECT_EQ((40 - closed) % 2, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Processors, SelectTest, ::testing::Values(1, 2, 4));
INSTANTIATE_TEST_SUITE_P(Processors, SelectLoadTest, ::testing::Values(1, 2, 4, 8));

}  // namespace
}  // namespace fiberscope
