// Goal: a listing that claims to be one instant is one. Method: tokens that fibers hand to each other in every way there is, such
// that the stacks of any one instant account for all of them, and those of different instants do not; and, step by step, fibers
// that run, end and are born while the first visitor keeps the listing waiting.
//
// For a minute each: bazel test --test_tag_filters= --test_output=all //tests/runtime:instant_soak_test
#include "runtime/instant.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "gmock/gmock.h"
#include "runtime/blocking.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "runtime/thread_status.h"
#include "tests/testing/runtime_test.h"
#include "tests/testing/take_flag.h"

namespace fiberscope {
namespace {

using ::testing::HasSubstr;

uint64_t g_seed = 1;
uint64_t g_seconds = 2;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kFillers = 300;
#else
constexpr int kFillers = 1000;
#endif
constexpr int kTokens = 8;
constexpr int kKeepers = 64;

// ---- Marks: frames that say what a fiber is about.

struct Mark {
  std::atomic<uintptr_t> address{0};  // the return address of its one call
  bool IsOn(std::span<const uintptr_t> stack) const {
    return std::ranges::find(stack, address.load(std::memory_order_relaxed)) != stack.end();
  }
};
Mark g_holding;
Mark g_giving;

// Called by the marking function itself, so that the return address is its.
template <Mark& kMark>
__attribute__((noinline, noipa)) void Inside(absl::FunctionRef<void()> body) {
  kMark.address.store(reinterpret_cast<uintptr_t>(__builtin_return_address(0)), std::memory_order_relaxed);
  body();
  asm volatile("");  // not a tail call
}
template <Mark& kMark>
__attribute__((noinline, noipa)) void Marked(absl::FunctionRef<void()> body) {
  Inside<kMark>(body);
  asm volatile("");
}

// ---- Tokens
//
// Who has a token stands in Marked<g_holding>. To hand it over he enters Marked<g_giving>, within, and stays there until the next
// one has said that he stands in his Marked<g_holding>; then he leaves both at once, by an exception. So at any instant
//   fibers that hold and do not give  <=  tokens  <=  fibers that hold
// Whoever sees one fiber before a hand-over and another one after it sees a token too few or too many.

struct Token {
  Channel<int> taken{1};
};
struct HandedOver {};

struct Ring {
  explicit Ring(Scheduler& runs_on) : scheduler(runs_on) {}
  Scheduler& scheduler;
  Channel<Token*> offers;
  Channel<int> never;
  WaitGroup fibers;
  WaitGroup tokens;  // that somebody has
  std::atomic<bool> end{false};
  std::atomic<uint64_t> hand_overs{0};
};

void Hold(Ring& ring, Token& token, std::mt19937_64& random);

void TakeFromSpawner(Ring& ring, Token& token, uint64_t seed) {
  std::mt19937_64 random(seed);
  Hold(ring, token, random);
  ring.fibers.Done();
}

void Give(Ring& ring, Token& token, std::mt19937_64& random) {
  Marked<g_giving>([&] {
    if (random() % 4 == 0) {
      ring.fibers.Add(1);
      ring.scheduler.Spawn([&ring, &token, seed = random()] { TakeFromSpawner(ring, token, seed); });
    } else {
      ring.offers.Send(&token);
    }
    token.taken.Receive();
    throw HandedOver();
  });
}

// Until the token is somebody else's, or the end.
void Hold(Ring& ring, Token& token, std::mt19937_64& random) {
  try {
    Marked<g_holding>([&] {
      token.taken.Send(1);
      switch (const uint64_t kind = random() % 256) {
        case 0:
          Blocking([] { sched_yield(); });
          break;
        case 1:
          this_fiber::SleepFor(std::chrono::microseconds(random() % 20));
          break;
        default:
          if (kind % 16 == 2) this_fiber::Yield();
          for (uint64_t i = random() % 200; i != 0; --i) asm volatile("");
      }
      ring.hand_overs.fetch_add(1, std::memory_order_relaxed);
      if (!ring.end.load(std::memory_order_relaxed)) Give(ring, token, random);
    });
    ring.tokens.Done();
  } catch (const HandedOver&) {
  }
}

void Keep(Ring& ring, uint64_t seed) {
  std::mt19937_64 random(seed);
  while (const auto token = ring.offers.Receive()) Hold(ring, **token, random);
  ring.fibers.Done();
}

// ---- The same by two fibers that run at the same time and never wait: what one has done since it was looked at, the other must
// not have seen when it is. The second one lets itself be looked at only now and then, so that much may happen in between.

struct Pair {
  std::atomic<uint64_t> turn{0};   // whose it is: odd or even; increased by whoever gives
  std::atomic<uint64_t> taken{0};  // the last turn that has been taken
  std::atomic<bool> end{false};
};

void AcceptSignals(bool accept) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(accept ? SIG_UNBLOCK : SIG_BLOCK, &all, nullptr);
}

void SpinUntil(const Pair& pair, absl::FunctionRef<bool()> condition) {
  for (int spins = 0; !condition() && !pair.end.load(std::memory_order_relaxed); ++spins) {
    // The other one may be held until we are looked at, or wait for this processor.
    if (spins % 1000 == 999) {
      AcceptSignals(true);
      this_fiber::Yield();
    }
  }
}

// `self`: 0 or 1.
void Spin(Pair& pair, uint64_t self) {
  while (!pair.end.load(std::memory_order_relaxed)) {
    SpinUntil(pair, [&] { return pair.turn.load() % 2 == self; });
    if (pair.end.load(std::memory_order_relaxed)) return;
    const uint64_t turn = pair.turn.load();
    if (self == 1) AcceptSignals(false);
    try {
      Marked<g_holding>([&] {
        pair.taken.store(turn);
        for (int i = 0; i < 50'000; ++i) asm volatile("");  // longer than the other one needs to leave
        Marked<g_giving>([&] {
          pair.turn.store(turn + 1);
          SpinUntil(pair, [&] { return pair.taken.load() > turn; });
          throw HandedOver();
        });
      });
    } catch (const HandedOver&) {
    }
    AcceptSignals(true);
  }
}

// ---- Two fibers that take turns at going one phase further, and switch to each other all the time: the first is in the same
// phase as the second, or in the next one. Listings catch them within the switch.

Mark g_first;
Mark g_second;
Mark g_third;

struct Turns {
  std::atomic<uint64_t> turn{0};
  std::atomic<bool> end{false};
};

template <Mark& kPhase>
void Await(Turns& turns, uint64_t self) {
  Marked<kPhase>([&] {
    turns.turn.fetch_add(1);
    while (turns.turn.load() % 2 != self && !turns.end.load(std::memory_order_relaxed)) this_fiber::Yield();
  });
}

void TakeTurns(Turns& turns, uint64_t self) {
  while (turns.turn.load() % 2 != self) this_fiber::Yield();
  while (!turns.end.load(std::memory_order_relaxed)) {
    Await<g_first>(turns, self);
    Await<g_second>(turns, self);
    Await<g_third>(turns, self);
  }
}

std::optional<int> PhaseOf(std::span<const uintptr_t> stack) {
  if (g_first.IsOn(stack)) return 0;
  if (g_second.IsOn(stack)) return 1;
  if (g_third.IsOn(stack)) return 2;
  return std::nullopt;
}

class InstantTest : public testing::RuntimeTest {
 protected:
  struct Expected {
    int tokens = 0;
    int fillers = 0;
  };

  // What one listing showed.
  struct Seen {
    int holding = 0;
    int giving = 0;  // of these
    int unknown = 0;  // running fibers without a whole stack
    int fillers = 0;
    std::set<uint64_t> ids;
    bool twice = false;

    bool IsRight(int tokens) const { return holding - giving <= tokens && tokens <= holding + unknown; }
    void Add(const FiberSnapshot& fiber) {
      twice = twice || !ids.insert(fiber.id.value).second;
      if (fiber.name == "filler") {
        ++fillers;
        return;
      }
      if (fiber.state == FiberState::kRunning && (!fiber.stack_available || fiber.stack_truncated)) {
        ++unknown;
      } else if (g_holding.IsOn(fiber.stack)) {
        ++holding;
        giving += g_giving.IsOn(fiber.stack) ? 1 : 0;
      }
    }
  };

  static Seen List(const RegistryOptions& options, FiberListing& listing) {
    Seen seen;
    listing = ForEachFiber(options, [&seen](const FiberSnapshot& fiber) {
      seen.Add(fiber);
      return true;
    });
    return seen;
  }

  static void ExpectSome([[maybe_unused]] uint64_t instants) {
#if !defined(__SANITIZE_THREAD__)  // puts handlers off
    EXPECT_GT(instants, 0u);
#endif
  }

  // Every listing of one instant must be right. The others, and those without an instant, show that the test can fail.
  static void ListForAWhile(const Expected& expected) {
    uint64_t listings = 0, instants = 0, others = 0, others_wrong = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(g_seconds);
    while (std::chrono::steady_clock::now() < end && !HasFailure()) {
      FiberListing listing;
      const Seen seen = List({.one_instant = true}, listing);
      ++listings;
      EXPECT_FALSE(seen.twice);
      EXPECT_EQ(seen.fillers, expected.fillers);
      if (listing.is_one_instant) {
        ++instants;
        EXPECT_TRUE(seen.IsRight(expected.tokens)) << seen.holding << " hold, " << seen.giving << " of them give, " << seen.unknown
                                                   << " run unseen; listing " << listings;
      } else {
        EXPECT_FALSE(listing.why_not.empty());
      }
      if (listings % 8 != 0) continue;
      ++others;
      others_wrong += List({.running_stacks = true}, listing).IsRight(expected.tokens) ? 0 : 1;
    }
    std::printf("%llu listings, %llu of one instant; of %llu one by one %llu are wrong; ",
                static_cast<unsigned long long>(listings), static_cast<unsigned long long>(instants),
                static_cast<unsigned long long>(others), static_cast<unsigned long long>(others_wrong));
    ExpectSome(instants);
  }

  // Fibers that wait in Receive until the channel is closed, and then end.
  std::vector<Fiber> Park(Channel<int>& channel, int count) {
    std::vector<Fiber> fibers;
    for (int i = 0; i < count; ++i) fibers.push_back(scheduler().Spawn([&channel] { channel.Receive(); }));
    for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
    return fibers;
  }
};

TEST_P(InstantTest, NoTokenIsLostOrSeenTwice) {
  Ring ring(scheduler());
  std::mt19937_64 random(g_seed);
  Marked<g_holding>([] {});
  Marked<g_giving>([] {});
  ring.fibers.Add(kKeepers);
  ring.tokens.Add(kTokens);
  for (int i = 0; i < kFillers; ++i) {
    scheduler().Spawn([&ring] { ring.never.Receive(); }, {.name = "filler"});
    if (i % (kFillers / kKeepers) == 0 && i / (kFillers / kKeepers) < kKeepers) {
      scheduler().Spawn([&ring, seed = random()] { Keep(ring, seed); });
    }
  }
  std::vector<std::unique_ptr<Token>> tokens;
  for (int i = 0; i < kTokens; ++i) {
    tokens.push_back(std::make_unique<Token>());
    ring.fibers.Add(1);
    scheduler().Spawn([&ring, &token = *tokens.back(), seed = random()] { TakeFromSpawner(ring, token, seed); });
    // The first taking has nobody who waits for it.
    tokens.back()->taken.Receive();
  }
  ListForAWhile({.tokens = kTokens, .fillers = kFillers});
  std::printf("%llu hand-overs\n", static_cast<unsigned long long>(ring.hand_overs.load()));
  ring.end = true;
  ring.tokens.Wait();
  ring.offers.Close();
  ring.never.Close();
  ring.fibers.Wait();
  StopScheduler();
}

TEST_P(InstantTest, FibersThatRunAreSeenAtTheSameMoment) {
  Pair pair;
  Marked<g_holding>([] {});
  Marked<g_giving>([] {});
  std::vector<Fiber> fibers;
  for (const uint64_t self : {0, 1}) fibers.push_back(scheduler().Spawn([&pair, self] { Spin(pair, self); }));
  while (pair.turn < 2) sched_yield();
  ListForAWhile({.tokens = 1});
  std::printf("%llu hand-overs\n", static_cast<unsigned long long>(pair.turn.load()));
  pair.end = true;
  for (const Fiber& fiber : fibers) fiber.Join();
}

TEST_P(InstantTest, FibersThatSwitchAllTheTimeAreSeenBetweenTheSameTwoSwitches) {
  Turns turns;
  std::vector<Fiber> fibers;
  for (const uint64_t self : {0, 1}) fibers.push_back(scheduler().Spawn([&turns, self] { TakeTurns(turns, self); }));
  while (turns.turn < 12) sched_yield();
  uint64_t listings = 0, instants = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(g_seconds);
  while (std::chrono::steady_clock::now() < end && !HasFailure()) {
    std::optional<int> phases[2];
    const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot& fiber) {
      phases[fiber.id == fibers[0].id() ? 0 : 1] = PhaseOf(fiber.stack);
      return true;
    });
    ++listings;
    // One that is on its way from one phase to the next is in none.
    if (!listing.is_one_instant || !phases[0] || !phases[1]) continue;
    ++instants;
    EXPECT_NE((*phases[0] - *phases[1] + 3) % 3, 2) << *phases[0] << " and " << *phases[1] << ", listing " << listings;
  }
  std::printf("%llu listings, %llu of one instant, with both; %llu turns\n", static_cast<unsigned long long>(listings),
              static_cast<unsigned long long>(instants), static_cast<unsigned long long>(turns.turn.load()));
  ExpectSome(instants);
  turns.end = true;
  for (const Fiber& fiber : fibers) fiber.Join();
}

// What the first visited fiber's visitor does comes after the instant: none of it may show.

TEST_P(InstantTest, FibersThatEndBeforeTheirTurnAreListedAsTheyWere) {
  constexpr int kCount = 200;
  Channel<int> channel;
  std::vector<Fiber> fibers = Park(channel, kCount);
  std::set<uint64_t> ids;
  std::set<uint32_t> stacks;
  const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot& fiber) {
    if (ids.empty()) {
      channel.Close();
      for (const Fiber& each : fibers) each.Join();
    }
    EXPECT_TRUE(ids.insert(fiber.id.value).second);
    stacks.insert(fiber.stack_number);
    EXPECT_EQ(fiber.state, FiberState::kWaiting);
    EXPECT_EQ(fiber.wait_reason, WaitReason::kChannelReceive);
    EXPECT_EQ(fiber.name, "");
    EXPECT_TRUE(fiber.stack_available);
    EXPECT_FALSE(fiber.stack_truncated);
    return true;
  });
  EXPECT_TRUE(listing.is_one_instant) << listing.why_not;
  EXPECT_EQ(ids.size(), kCount);
  EXPECT_EQ(stacks.size(), 1u);
  for (const Fiber& fiber : fibers) EXPECT_TRUE(ids.contains(fiber.id().value));
}

TEST_P(InstantTest, FibersBornSinceAreNotListed) {
  Channel<int> channel;
  Park(channel, 3);
  Channel<int> of_the_others;
  int visits = 0;
  const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot&) {
    if (++visits == 1) Park(of_the_others, 2000);
    return true;
  });
  EXPECT_TRUE(listing.is_one_instant) << listing.why_not;
  EXPECT_EQ(visits, 3);
  visits = 0;
  ForEachFiber({.one_instant = true}, [&](const FiberSnapshot&) { return ++visits > 0; });
  EXPECT_EQ(visits, 2003);
  channel.Close();
  of_the_others.Close();
  StopScheduler();
}

TEST_P(InstantTest, AWokenFiberIsListedAsWaiting) {
  Channel<int> channel;
  Park(channel, 100);
  // So that those that are made runnable stay it.
  std::atomic<int> spinning{0};
  std::atomic<bool> leave{false};
  for (int i = 0; i < GetParam(); ++i) {
    scheduler().Spawn([&] {
      ++spinning;
      while (!leave) asm volatile("");
    }, {.name = "spinner"});
  }
  while (spinning < GetParam()) sched_yield();
  int waiting = 0;
  int running = 0;
  const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot& fiber) {
    if (waiting + running == 0) channel.Close();
    if (fiber.name == "spinner") {
      EXPECT_EQ(fiber.state, FiberState::kRunning);
      ++running;
    } else {
      EXPECT_EQ(fiber.state, FiberState::kWaiting);
      EXPECT_EQ(fiber.wait_reason, WaitReason::kChannelReceive);
      ++waiting;
    }
    return true;
  });
  EXPECT_EQ(waiting, 100);
  EXPECT_EQ(running, GetParam());
  EXPECT_EQ(listing.is_one_instant, listing.why_not.empty());
  leave = true;
  StopScheduler();
}

TEST_P(InstantTest, AFiberThatLeftABlockingCallIsListedWithinIt) {
  std::atomic<bool> leave{false};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 4; ++i) fibers.push_back(scheduler().Spawn([&] { Blocking([&] { leave.wait(false); }); }));
  for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kBlocking);
  int visits = 0;
  const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot& fiber) {
    if (++visits == 1) {
      leave = true;
      leave.notify_all();
      for (const Fiber& each : fibers) each.Join();
    }
    EXPECT_EQ(fiber.state, FiberState::kBlocking);
    EXPECT_TRUE(fiber.stack_available);
    EXPECT_FALSE(fiber.stack_truncated);
    return true;
  });
  EXPECT_TRUE(listing.is_one_instant) << listing.why_not;
  EXPECT_EQ(visits, 4);
}

TEST_P(InstantTest, AFiberThatSleepsOnItsThreadIsListedWithItsStackAndNotDisturbed) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::atomic<int> thread{0};
  std::atomic<int> result{0};
  const Fiber fiber = scheduler().Spawn([&] {
    thread = gettid();
    pollfd readable{.fd = ends[0], .events = POLLIN, .revents = 0};
    result = poll(&readable, 1, -1);
  });
  while (thread == 0 || !internal::SleepsInKernel(thread)) sched_yield();
  bool found = false;
  const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot& snapshot) {
    found = snapshot.id == fiber.id() && snapshot.stack_available;
    EXPECT_EQ(snapshot.state, FiberState::kRunning);
    return true;
  });
  EXPECT_TRUE(found);
  EXPECT_TRUE(listing.is_one_instant) << listing.why_not;
  EXPECT_EQ(write(ends[1], "x", 1), 1);
  fiber.Join();
  EXPECT_EQ(result, 1);
  close(ends[0]);
  close(ends[1]);
}

TEST_P(InstantTest, AThreadThatDoesNotAnswerMakesItNoInstant) {
  std::atomic<bool> blocked{false};
  std::atomic<bool> leave{false};
  Channel<int> channel;
  Park(channel, 10);
  const Fiber fiber = scheduler().Spawn([&] {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    blocked = true;
    while (!leave) asm volatile("");
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  });
  while (!blocked) sched_yield();
  std::set<uint64_t> ids;
  const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot& snapshot) {
    EXPECT_TRUE(ids.insert(snapshot.id.value).second);
    EXPECT_EQ(snapshot.stack_available, snapshot.id != fiber.id());
    return true;
  });
  EXPECT_FALSE(listing.is_one_instant);
  EXPECT_THAT(listing.why_not, HasSubstr("could be stopped within 1 ms"));
  EXPECT_EQ(ids.size(), 11u);
  leave = true;
  channel.Close();
  StopScheduler();
}

std::atomic<bool> g_in_handler{false};
std::atomic<bool> g_leave_handler{false};

TEST_P(InstantTest, AFiberInAHandlerOnAnAlternateStackMakesItNoInstant) {
  g_in_handler = false;
  g_leave_handler = false;
  struct sigaction action = {}, before;
  action.sa_flags = SA_ONSTACK;
  action.sa_handler = [](int) {
    g_in_handler = true;
    while (!g_leave_handler) asm volatile("");
  };
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  const Fiber fiber = scheduler().Spawn([] { raise(SIGUSR1); });
  while (!g_in_handler) sched_yield();
  int visits = 0;
  const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot& snapshot) {
    EXPECT_EQ(snapshot.state, FiberState::kRunning);
    EXPECT_FALSE(snapshot.stack_available);
    return ++visits > 0;
  });
  EXPECT_EQ(visits, 1);
  EXPECT_FALSE(listing.is_one_instant);
  g_leave_handler = true;
  fiber.Join();
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_P(InstantTest, WithoutRoomForRecordsItSaysSoAndListsNoneTwice) {
  for (const size_t bytes : {size_t{0}, size_t{1000}, size_t{5000}}) {
    Channel<int> channel;
    Channel<int> again;
    constexpr int kCount = 100;
    std::atomic<int> parked_again{0};
    std::vector<Fiber> fibers;
    for (int i = 0; i < kCount; ++i) {
      fibers.push_back(scheduler().Spawn([&] {
        channel.Receive();
        ++parked_again;
        again.Receive();
      }));
    }
    for (const Fiber& fiber : fibers) AwaitState(fiber, FiberState::kWaiting);
    std::set<uint64_t> ids;
    const FiberListing listing = ForEachFiber({.one_instant = true, .record_bytes = bytes}, [&](const FiberSnapshot& fiber) {
      if (ids.empty()) {
        channel.Close();
        while (parked_again < kCount) sched_yield();
        for (const Fiber& each : fibers) AwaitState(each, FiberState::kWaiting);
      }
      EXPECT_TRUE(ids.insert(fiber.id.value).second);
      return true;
    });
    EXPECT_FALSE(listing.is_one_instant);
    EXPECT_THAT(listing.why_not, HasSubstr("too many fibers ran before they were listed"));
    EXPECT_EQ(ids.size(), kCount);
    again.Close();
    for (const Fiber& fiber : fibers) fiber.Join();
  }
}

TEST_P(InstantTest, AFilterAndAnEarlyEndApplyToRecordsToo) {
  for (const int most : {1, 5, 1000}) {
    Channel<int> channel;
    std::vector<Fiber> fibers = Park(channel, 20);
    const uint64_t odd_one = fibers[7].id().value;
    int visits = 0;
    ForEachFiber({.one_instant = true, .wanted = [odd_one](const FiberSnapshot& fiber) { return fiber.id.value != odd_one; }},
                 [&](const FiberSnapshot& fiber) {
                   if (++visits == 1) {
                     channel.Close();
                     for (const Fiber& each : fibers) each.Join();
                   }
                   EXPECT_NE(fiber.id.value, odd_one);
                   return visits < most;
                 });
    EXPECT_EQ(visits, std::min(most, 19));
  }
}

TEST_P(InstantTest, WithoutStacksItIsAnInstantAsWell) {
  Channel<int> channel;
  std::vector<Fiber> fibers = Park(channel, 20);
  int visits = 0;
  const FiberListing listing = ForEachFiber({.stacks = false, .one_instant = true}, [&](const FiberSnapshot& fiber) {
    if (++visits == 1) {
      channel.Close();
      for (const Fiber& each : fibers) each.Join();
    }
    EXPECT_FALSE(fiber.stack_available);
    EXPECT_EQ(fiber.state, FiberState::kWaiting);
    return true;
  });
  EXPECT_TRUE(listing.is_one_instant) << listing.why_not;
  EXPECT_EQ(visits, 20);
}

TEST_P(InstantTest, AVisitorMayListButNotAtOneInstant) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Channel<int> channel;
  Park(channel, 3);
  int visits = 0;
  ForEachFiber({.one_instant = true}, [&](const FiberSnapshot&) {
    ForEachFiber({}, [&](const FiberSnapshot&) { return ++visits > 0; });
    return true;
  });
  EXPECT_EQ(visits, 9);
  EXPECT_DEATH(ForEachFiber({.one_instant = true},
                            [](const FiberSnapshot&) {
                              ForEachFiber({.one_instant = true}, [](const FiberSnapshot&) { return true; });
                              return true;
                            }),
               "begun by the visitor of another one");
  channel.Close();
  StopScheduler();
}

TEST_P(InstantTest, ListingsAtTheSameTimeAreInstantsOfTheirOwn) {
  Channel<int> channel;
  Park(channel, 500);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 50; ++n) {
        int visits = 0;
        const FiberListing listing = ForEachFiber({.one_instant = true}, [&](const FiberSnapshot&) { return ++visits > 0; });
        EXPECT_EQ(visits, 500);
        EXPECT_TRUE(listing.is_one_instant) << listing.why_not;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  channel.Close();
  StopScheduler();
}

INSTANTIATE_TEST_SUITE_P(Processors, InstantTest, ::testing::Values(1, 2, 4));

}  // namespace
}  // namespace fiberscope

int main(int argc, char** argv) {
  using namespace fiberscope;
  using fiberscope::testing::TakeFlag;
  ::testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i) {
    if (!TakeFlag(argv[i], "--seed=", g_seed) && !TakeFlag(argv[i], "--seconds=", g_seconds)) {
      std::fprintf(stderr, "unknown argument %s; there are --seed= --seconds=\n", argv[i]);
      return 2;
    }
  }
  std::printf("--seed=%llu --seconds=%llu\n", static_cast<unsigned long long>(g_seed), static_cast<unsigned long long>(g_seconds));
  return RUN_ALL_TESTS();
}
