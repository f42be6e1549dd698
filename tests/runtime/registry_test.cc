#include "runtime/registry.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/wait_group.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using RegistryTest = testing::RuntimeTest;

// ---- Who is listed

TEST_P(RegistryTest, EmptyAtFirst) {
  EXPECT_EQ(FiberCount(), 0);
  ForEachFiber({}, [](const FiberSnapshot&) {
    ADD_FAILURE() << "listed a fiber";
    return true;
  });
}

TEST_P(RegistryTest, CountAndListingAgreeWhenNothingMoves) {
  Channel<int> never;
  std::set<FiberId> parked;
  for (int i = 0; i < 300; ++i) {
    const Fiber fiber = scheduler().Spawn([&] { never.Receive(); });
    AwaitState(fiber, FiberState::kWaiting);
    parked.insert(fiber.id());
  }
  EXPECT_EQ(FiberCount(), 300);
  std::set<FiberId> listed;
  ForEachFiber({}, [&](const FiberSnapshot& snapshot) {
    EXPECT_TRUE(listed.insert(snapshot.id).second);
    return true;
  });
  EXPECT_EQ(listed, parked);
  never.Close();
  StopScheduler();
}

TEST_P(RegistryTest, AListingEndsWhenItsVisitorSaysSo) {
  Channel<int> never;
  for (int i = 0; i < 10; ++i) AwaitState(scheduler().Spawn([&] { never.Receive(); }), FiberState::kWaiting);
  int visits = 0;
  ForEachFiber({}, [&](const FiberSnapshot&) { return ++visits < 3; });
  EXPECT_EQ(visits, 3);
  never.Close();
  StopScheduler();
}

TEST_P(RegistryTest, OnlyWantedFibersAreListedAndWalked) {
  Channel<int> never;
  const Fiber first = scheduler().Spawn([&] { never.Receive(); });
  const Fiber second = scheduler().Spawn([&] { never.Receive(); });
  AwaitState(first, FiberState::kWaiting);
  AwaitState(second, FiberState::kWaiting);
  std::set<FiberId> asked;
  std::set<FiberId> listed;
  ForEachFiber({.wanted =
                    [&](const FiberSnapshot& fiber) {
                      EXPECT_FALSE(fiber.stack_available);
                      asked.insert(fiber.id);
                      return fiber.id == second.id();
                    }},
               [&](const FiberSnapshot& fiber) {
                 EXPECT_TRUE(fiber.stack_available);
                 listed.insert(fiber.id);
                 return true;
               });
  EXPECT_EQ(asked, (std::set<FiberId>{first.id(), second.id()}));
  EXPECT_EQ(listed, std::set<FiberId>{second.id()});
  never.Close();
  StopScheduler();
}

// Goal: stacks are right whether they come from the memo of an earlier listing or not, from the shared table or from that of a
// second listing at the same time. Method: fibers of known depths that move between two depths; every listing checks each
// stack's length against the depth that the fiber's waits say, within a listing inside a listing too.
__attribute__((noinline, noipa)) int ReceiveAtDepth(int depth, Channel<int>& channel) {
  const int value = depth > 0 ? ReceiveAtDepth(depth - 1, channel) : channel.Receive().value_or(-1);
  asm volatile("");  // not a tail call
  return value;
}

TEST_P(RegistryTest, StacksAreRightFromMemosAndWithout) {
  constexpr int kFibers = 50;
  std::vector<std::unique_ptr<Channel<int>>> channels;
  std::vector<Fiber> fibers;
  for (int i = 0; i < kFibers; ++i) {
    channels.push_back(std::make_unique<Channel<int>>(0));
    fibers.push_back(scheduler().Spawn([&channel = *channels.back()] {
      for (int depth = 0; depth >= 0;) depth = ReceiveAtDepth(depth, channel);
    }));
    AwaitState(fibers.back(), FiberState::kWaiting);
  }
  std::vector<int> depths(kFibers, 0);
  size_t base = 0;  // length of the stack at depth 0
  EXPECT_TRUE(WithSnapshot(fibers[0].id(), [&](const FiberSnapshot& fiber) { base = fiber.stack.size(); }));
  ASSERT_GT(base, 0u);
  const auto check = [&](const FiberSnapshot& fiber, std::map<uint32_t, size_t>& lengths) {
    const auto at = std::ranges::find(fibers, fiber.id, &Fiber::id) - fibers.begin();
    ASSERT_LT(at, kFibers);
    ASSERT_EQ(fiber.stack.size(), base + static_cast<size_t>(depths[at]));
    ASSERT_NE(fiber.stack_number, 0u);
    ASSERT_EQ(lengths.try_emplace(fiber.stack_number, fiber.stack.size()).first->second, fiber.stack.size());
  };
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < kFibers; i += 3) {
      depths[i] = (depths[i] + i + round) % 17;
      ASSERT_TRUE(channels[i]->Send(depths[i]));
      AwaitState(fibers[i], FiberState::kWaiting);
    }
    std::map<uint32_t, size_t> outer;
    int seen = 0;
    ForEachFiber({}, [&](const FiberSnapshot& fiber) {
      check(fiber, outer);
      if (++seen != kFibers / 2) return true;
      std::map<uint32_t, size_t> inner;
      ForEachFiber({}, [&](const FiberSnapshot& other) {
        check(other, inner);
        return true;
      });
      check(fiber, outer);
      return true;
    });
    ASSERT_EQ(seen, kFibers);
  }
  for (auto& channel : channels) channel->Close();
  StopScheduler();
}

// Numbers and memos of before belong to another unwind table.
TEST_P(RegistryTest, StacksAreTheSameAfterAnObjectWasLoaded) {
  Channel<int> never;
  const Fiber fiber = scheduler().Spawn([&] { never.Receive(); });
  AwaitState(fiber, FiberState::kWaiting);
  const auto stack_of = [&fiber] {
    std::vector<uintptr_t> stack;
    EXPECT_TRUE(WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
      EXPECT_FALSE(snapshot.stack_truncated);
      stack.assign(snapshot.stack.begin(), snapshot.stack.end());
    }));
    return stack;
  };
  const std::vector<uintptr_t> before = stack_of();
  // Of glibc, and in no program any more.
  const std::unique_ptr<void, int (*)(void*)> object(dlopen("libutil.so.1", RTLD_NOW), &dlclose);
  ASSERT_NE(object, nullptr) << dlerror();
  EXPECT_EQ(stack_of(), before);
  never.Close();
  StopScheduler();
}

TEST_P(RegistryTest, FibersOfAllSchedulersAppear) {
  Scheduler other({.processors = 1, .name = "other"});
  Channel<int> never;
  const Fiber here = scheduler().Spawn([&] { never.Receive(); });
  const Fiber there = other.Spawn([&] { never.Receive(); });
  AwaitState(here, FiberState::kWaiting);
  AwaitState(there, FiberState::kWaiting);
  EXPECT_TRUE(WithSnapshot(here.id(), [](const FiberSnapshot&) {}));
  EXPECT_TRUE(WithSnapshot(there.id(), [](const FiberSnapshot&) {}));
  never.Close();
  here.Join();
  there.Join();
  other.Stop();
  StopScheduler();
}

// Goal: a fiber that lives during the whole listing is in it exactly once, one that ended before it is not, and no id
// comes twice, while blocks are used again and again. Method: a crowd that stays, surrounded by churn of fibers that
// live for one turn.
TEST_P(RegistryTest, EveryFiberThatStaysIsListedExactlyOnceUnderChurn) {
#ifdef FIBERSCOPE_TSAN  // a listing tries a restless fiber a hundred times over, each time fifty times slower
  constexpr int kStaying = 60;
  constexpr int kListings = 8;
#else
  constexpr int kStaying = 300;
  constexpr int kListings = 40;
#endif
  Channel<int> never;
  std::atomic<bool> leave{false};
  std::set<FiberId> staying;
  for (int i = 0; i < kStaying; ++i) {
    // Half of them hold still, half change state all the time.
    staying.insert(scheduler()
                       .Spawn([&, i] {
                         while (i % 2 == 0 && !leave) this_fiber::Yield();
                         never.Receive();
                       })
                       .id());
  }
  std::vector<Fiber> churners;
  for (int i = 0; i < 4; ++i) {
    churners.push_back(scheduler().Spawn([&] {
      while (!leave) {
        std::vector<Fiber> brief;
        for (int k = 0; k < 20; ++k) brief.push_back(Spawn([] { this_fiber::Yield(); }));
        for (const Fiber& each : brief) each.Join();
      }
    }));
  }
  for (int listing = 0; listing < kListings; ++listing) {
    const Fiber ended = scheduler().Spawn([] {});
    ended.Join();
    std::map<FiberId, int> seen;
    ForEachFiber({}, [&](const FiberSnapshot& snapshot) {
      ++seen[snapshot.id];
      return true;
    });
    for (const auto& [id, count] : seen) ASSERT_EQ(count, 1) << "fiber " << id.value;
    for (const FiberId id : staying) ASSERT_TRUE(seen.contains(id)) << "fiber " << id.value << " is missing";
    EXPECT_FALSE(seen.contains(ended.id()));
  }
  leave = true;
  for (const Fiber& churner : churners) churner.Join();
  never.Close();
  StopScheduler();
}

// ---- What is said of each

Channel<int>* g_channel = nullptr;
void WaitsForOrders() { g_channel->Receive(); }

__attribute__((noinline, noipa)) Fiber SpawnsTheWaiter(Scheduler& scheduler) {
  return scheduler.Spawn(&WaitsForOrders, {.name = "waiter", .labels = Labels({{"route", "/orders"}, {"a", "1"}})});
}

std::string NameOf(uintptr_t pc) {
  char name[256];
  return absl::Symbolize(reinterpret_cast<void*>(pc), name, sizeof(name)) ? name : "";
}

TEST_P(RegistryTest, ASnapshotSaysWhoTheFiberIs) {
  Channel<int> orders(0, "orders");
  g_channel = &orders;
  const Fiber fiber = SpawnsTheWaiter(scheduler());
  AwaitState(fiber, FiberState::kWaiting);
  EXPECT_TRUE(WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.state, FiberState::kWaiting);
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kChannelReceive);
    EXPECT_EQ(snapshot.wait_object_id, orders.wait_object().id());
    EXPECT_FALSE(snapshot.wait_owner);
    EXPECT_FALSE(snapshot.parent_id) << "spawned by a plain thread";
    EXPECT_EQ(snapshot.name, "waiter");
    ASSERT_EQ(snapshot.labels.size(), 2u);
    EXPECT_EQ(snapshot.labels[0], (Label{"a", "1"}));
    EXPECT_EQ(snapshot.labels[1], (Label{"route", "/orders"}));
    EXPECT_EQ(snapshot.entry_pc, reinterpret_cast<uintptr_t>(&WaitsForOrders));
    EXPECT_NE(NameOf(snapshot.creator_pc - 1).find("SpawnsTheWaiter"), std::string::npos)
        << NameOf(snapshot.creator_pc);
  }));
  orders.Close();
  StopScheduler();
}

TEST_P(RegistryTest, AChildRemembersItsParentAfterTheParentHasEnded) {
  Channel<int> never;
  Fiber child;
  FiberId parent;
  RunInFiber([&] {
    parent = this_fiber::id();
    child = Spawn([&] { never.Receive(); });
  });
  AwaitState(child, FiberState::kWaiting);
  EXPECT_TRUE(WithSnapshot(child.id(), [&](const FiberSnapshot& snapshot) { EXPECT_EQ(snapshot.parent_id, parent); }));
  never.Close();
  StopScheduler();
}

TEST_P(RegistryTest, EachWaitHasItsReason) {
  Channel<int> empty;
  Channel<int> full;
  Mutex mutex;
  WaitGroup group;
  group.Add(1);
  const Fiber holder = scheduler().Spawn([&] {
    mutex.lock();
    empty.Receive();
    mutex.unlock();
  });
  AwaitState(holder, FiberState::kWaiting);
  std::vector<std::pair<Fiber, WaitReason>> fibers = {
      {holder, WaitReason::kChannelReceive},
      {scheduler().Spawn([&] { full.Send(1); }), WaitReason::kChannelSend},
      {scheduler().Spawn([&] {
         mutex.lock();
         mutex.unlock();
       }),
       WaitReason::kMutexLock},
      {scheduler().Spawn([&] { group.Wait(); }), WaitReason::kWaitGroup},
      {scheduler().Spawn([&] { holder.Join(); }), WaitReason::kJoin},
      {scheduler().Spawn([] { this_fiber::SleepFor(std::chrono::hours(1)); }), WaitReason::kSleep},
  };
  for (const auto& [fiber, reason] : fibers) {
    AwaitState(fiber, FiberState::kWaiting);
    EXPECT_TRUE(WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
      EXPECT_EQ(snapshot.wait_reason, reason) << WaitReasonName(snapshot.wait_reason);
      EXPECT_EQ(snapshot.wait_owner,
                reason == WaitReason::kMutexLock || reason == WaitReason::kJoin ? holder.id() : FiberId());
    })) << WaitReasonName(reason);
  }
  empty.Close();
  full.Close();
  group.Done();
  for (const auto& [fiber, reason] : fibers) {
    if (reason != WaitReason::kSleep) fiber.Join();
  }
  StopScheduler();
}

TEST_P(RegistryTest, WaitedGrowsWhileTheFiberWaits) {
  Channel<int> never;
  const Fiber fiber = scheduler().Spawn([&] { never.Receive(); });
  AwaitState(fiber, FiberState::kWaiting);
  std::chrono::nanoseconds before{0};
  for (int advances = 0; advances < 3;) {
    WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
      EXPECT_GE(snapshot.waited, before);
      if (snapshot.waited > before) ++advances;
      before = snapshot.waited;
    });
  }
  never.Close();
  StopScheduler();
}

TEST_P(RegistryTest, ARunningFiberIsListedWithoutStackAndWait) {
  std::atomic<bool> running{false};
  std::atomic<bool> leave{false};
  const Fiber fiber = scheduler().Spawn([&] {
    running = true;
    while (!leave) {
    }
  });
  while (!running) sched_yield();
  EXPECT_TRUE(WithSnapshot(fiber.id(), [](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.state, FiberState::kRunning);
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kNone);
    EXPECT_EQ(snapshot.waited.count(), 0);
    EXPECT_FALSE(snapshot.stack_available);
    EXPECT_TRUE(snapshot.stack.empty());
  }));
  leave = true;
  StopScheduler();
}

TEST_P(RegistryTest, AFiberThatHasNotRunYetIsRunnableWithItsFirstFrameOnly) {
  std::atomic<int> busy{0};
  std::atomic<bool> leave{false};
  for (int i = 0; i < GetParam(); ++i) {
    scheduler().Spawn([&] {
      ++busy;
      while (!leave) {
      }
    });
    while (busy <= i) sched_yield();
  }
  const Fiber fiber = scheduler().Spawn([] {}, {.name = "queued"});
  EXPECT_TRUE(WithSnapshot(fiber.id(), [](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.state, FiberState::kRunnable);
    EXPECT_EQ(snapshot.name, "queued");
    EXPECT_EQ(snapshot.wait_reason, WaitReason::kNone);
    EXPECT_TRUE(snapshot.stack_available);
    EXPECT_FALSE(snapshot.stack_truncated);
  }));
  leave = true;
  StopScheduler();
}

// ---- Stacks

struct Recursion {
  Channel<int>& channel;
  std::vector<uintptr_t> returns;  // innermost last
};

// Each level notes where it will return to, which is what a walk must find.
__attribute__((noinline, noipa)) int Descend(Recursion& recursion, int depth) {
  recursion.returns.push_back(reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
  if (depth == 0) {
    recursion.channel.Receive();
    return 0;
  }
  const int below = Descend(recursion, depth - 1);
  asm volatile("" : : "r"(below));  // or the compiler makes a loop of it
  return below + 1;
}

TEST_P(RegistryTest, TheStackOfAParkedFiberIsTheOneTheFiberSawItself) {
  for (const int depth : {0, 1, 10, 200}) {
    SCOPED_TRACE(depth);
    Channel<int> channel;
    Recursion recursion{channel, {}};
    const Fiber fiber =
        scheduler().Spawn([&] { EXPECT_EQ(Descend(recursion, depth), depth); }, {.stack_bytes = 256 << 10});
    AwaitState(fiber, FiberState::kWaiting);
    EXPECT_TRUE(WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
      EXPECT_TRUE(snapshot.stack_available);
      EXPECT_FALSE(snapshot.stack_truncated);
      const std::vector<uintptr_t> expected(recursion.returns.rbegin(), recursion.returns.rend());
      const auto found = std::search(snapshot.stack.begin(), snapshot.stack.end(), expected.begin(), expected.end());
      EXPECT_NE(found, snapshot.stack.end());
    }));
    EXPECT_TRUE(([&] {
      bool without = false;
      ForEachFiber({.stacks = false}, [&](const FiberSnapshot& snapshot) {
        without = without || (snapshot.id == fiber.id() && !snapshot.stack_available && snapshot.stack.empty());
        return true;
      });
      return without;
    }()));
    channel.Close();
    fiber.Join();
  }
}

// ---- Storms

// Goal: a snapshot never mixes two fibers or two moments. Method: every fiber's name, label and stack say the same
// number; threads list them all while they are born, park, wake, yield and end on blocks used over and over.
__attribute__((noinline, noipa)) void ParkEven(Channel<int>& channel) {
  channel.Receive();
  asm volatile("");
}
__attribute__((noinline, noipa)) void ParkOdd(Channel<int>& channel) {
  channel.Receive();
  asm volatile("");
}

TEST_P(RegistryTest, SnapshotsAreConsistentInAStormOfListings) {
  constexpr int kListers = 2;
  constexpr int kRounds = 60;
  constexpr int kBatch = 50;
  scheduler();
  absl::InitializeSymbolizer("");
  // The call site within each function, learnt from a fiber that stands there quietly.
  uintptr_t site[2] = {0, 0};
  for (const int parity : {0, 1}) {
    Channel<int> channel;
    const Fiber fiber = scheduler().Spawn([&] { parity == 0 ? ParkEven(channel) : ParkOdd(channel); });
    AwaitState(fiber, FiberState::kWaiting);
    WithSnapshot(fiber.id(), [&](const FiberSnapshot& snapshot) {
      for (const uintptr_t pc : snapshot.stack) {
        if (NameOf(pc - 1).find(parity == 0 ? "ParkEven" : "ParkOdd") != std::string::npos) site[parity] = pc;
      }
    });
    ASSERT_NE(site[parity], 0u);
    channel.Close();
    fiber.Join();
  }
  std::atomic<bool> done{false};
  std::atomic<int> listings{0};
  std::atomic<int> parked_seen{0};
  std::vector<std::thread> listers;
  for (int t = 0; t < kListers; ++t) {
    listers.emplace_back([&] {
      while (!done) {
        ForEachFiber({}, [&](const FiberSnapshot& snapshot) {
          if (!snapshot.name.starts_with("n")) return true;
          const std::string number(snapshot.name.substr(1));
          // A fiber on its last instructions has dropped its labels; then it runs.
          if (!snapshot.labels.empty() || snapshot.state != FiberState::kRunning) {
            EXPECT_EQ(snapshot.labels.size(), 1u);
            EXPECT_EQ(snapshot.labels.empty() ? "none" : snapshot.labels[0].value, number);
          }
          if (snapshot.state == FiberState::kWaiting) {
            EXPECT_EQ(snapshot.wait_reason, WaitReason::kChannelReceive);
            EXPECT_TRUE(snapshot.stack_available);
            EXPECT_FALSE(snapshot.stack_truncated);
            const int parity = (number.back() - '0') % 2;
            EXPECT_EQ(std::count(snapshot.stack.begin(), snapshot.stack.end(), site[parity]), 1);
            EXPECT_EQ(std::count(snapshot.stack.begin(), snapshot.stack.end(), site[1 - parity]), 0);
            ++parked_seen;
          }
          return true;
        });
        ++listings;
      }
    });
  }
  std::atomic<int> next{0};
  for (int round = 0; round < kRounds || parked_seen < 1000; ++round) {
    Channel<int> channel;
    RunInFiber([&] {
      WaitGroup group;
      for (int i = 0; i < kBatch; ++i) {
        const int number = next++;
        const std::string text = std::to_string(number);
        group.Add(1);
        Spawn(
            [&, number] {
              number % 2 == 0 ? ParkEven(channel) : ParkOdd(channel);
              this_fiber::Yield();
              group.Done();
            },
            {.name = "n" + text, .labels = Labels({{"number", text}})});
        if (i % 3 == 0) this_fiber::Yield();
        if (i % 4 == 0) channel.TrySend(1);
      }
      channel.Close();
      group.Wait();
    });
  }
  done = true;
  for (std::thread& lister : listers) lister.join();
  EXPECT_GT(listings, 0);
  StopScheduler();
}

TEST_P(RegistryTest, LabelsMayChangeWhileTheyAreListed) {
  std::atomic<bool> done{false};
  const Fiber fiber = scheduler().Spawn([&] {
    for (int i = 0; !done; ++i) {
      const std::string value = std::to_string(i);
      this_fiber::SetLabels(Labels({{"a", value}, {"b", value}}));
      if (i % 16 == 0) this_fiber::Yield();
    }
  });
  for (int changes = 0; changes < 100;) {
    static std::string last;
    ForEachFiber({}, [&](const FiberSnapshot& snapshot) {
      if (snapshot.labels.size() == 2) {
        EXPECT_EQ(snapshot.labels[0].value, snapshot.labels[1].value);
        if (snapshot.labels[0].value != last) ++changes;
        last = snapshot.labels[0].value;
      }
      return true;
    });
  }
  done = true;
  fiber.Join();
}

INSTANTIATE_TEST_SUITE_P(Processors, RegistryTest, ::testing::Values(1, 4));

}  // namespace
}  // namespace fiberscope
