// The switch by itself: fibers, no scheduler.
#include "runtime/stack/context_switch.h"

#include <cxxabi.h>
#include <unistd.h>
#include <unwind.h>

#include <array>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/runtime/stack/test_fiber.h"

namespace fiberscope {
namespace {

extern "C" void fiberscope_fiber_entry();

bool IsRoot(uintptr_t pc) { return pc - reinterpret_cast<uintptr_t>(&fiberscope_fiber_entry) <= 32; }

// The caller's stack as libgcc sees it.
std::vector<uintptr_t> CurrentFrames() {
  std::vector<uintptr_t> pcs;
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* out) {
        const uintptr_t pc = _Unwind_GetIP(context);
        // The return address of an outermost frame is reported too, as zero.
        if (pc != 0) static_cast<std::vector<uintptr_t>*>(out)->push_back(pc);
        return _URC_NO_REASON;
      },
      &pcs);
  return pcs;
}

// Three fibers that hand a token to each other, directly, and the thread's own stack that begins and ends it.
class Ring {
 public:
  Ring() {
    AdoptThreadStack(thread_);
    for (Member& member : members_) PrepareTarget(member.target, member.stack, &Ring::Enter);
  }
  ~Ring() {
    for (Member& member : members_) ReleaseTarget(member.target);
  }

  std::string Run(int laps) {
    laps_ = laps;
    members_[0].self = {this, 0};
    SwitchTo(thread_, members_[0].target, members_[0].stack, &members_[0].self);
    return order_;
  }

 private:
  struct Place {
    Ring* ring = nullptr;
    size_t number = 0;
  };
  struct Member {
    SwitchTarget target;
    StackBounds stack = NewStack();
    Place self;
  };

  static LastSwitch Enter(void* argument) {
    const Place place = *static_cast<Place*>(argument);
    Ring& ring = *place.ring;
    Member& self = ring.members_[place.number];
    FinishFirstSwitch(self.target);
    for (int lap = 0;; ++lap) {
      ring.order_ += static_cast<char>('a' + place.number);
      if (lap == ring.laps_) break;
      Member& next = ring.members_[(place.number + 1) % ring.members_.size()];
      next.self = {&ring, (place.number + 1) % ring.members_.size()};
      void* const received = SwitchTo(self.target, next.target, next.stack, &next.self);
      EXPECT_EQ(received, &self.self);
    }
    return SwitchForGood(self.target, ring.thread_, ring.thread_stack_, nullptr);
  }

  SwitchTarget thread_;
  const StackBounds thread_stack_ = ThreadStackBounds();
  std::array<Member, 3> members_;
  std::string order_;
  int laps_ = 0;
};

TEST(ContextSwitchTest, ThreeFibersRunInTheOrderInWhichTheySwitch) {
  EXPECT_EQ(Ring().Run(0), "a");
  EXPECT_EQ(Ring().Run(1), "abca");
  EXPECT_EQ(Ring().Run(3), "abcabcabca");
}

TEST(ContextSwitchTest, ArgumentsTravelBothWays) {
  int a, b, c, d;
  TestFiber fiber([&](TestFiber& self) {
    EXPECT_EQ(self.first_argument(), &a);
    EXPECT_EQ(self.Yield(&b), &c);
    EXPECT_EQ(self.Yield(nullptr), &d);
  });
  EXPECT_EQ(fiber.Resume(&a), &b);
  EXPECT_EQ(fiber.Resume(&c), nullptr);
  EXPECT_FALSE(fiber.finished());
  EXPECT_EQ(fiber.Resume(&d), nullptr);
  EXPECT_TRUE(fiber.finished());
}

TEST(ContextSwitchTest, StackIsAlignedAsACallNeedsItWhateverTheBounds) {
  for (const size_t cut : {0, 1, 8, 15, 16, 24, 4096}) {
    StackBounds stack = NewStack();
    stack.high -= cut;
    uintptr_t cfa = 1;
    TestFiber fiber([&](TestFiber&) { cfa = reinterpret_cast<uintptr_t>(__builtin_dwarf_cfa()); }, stack);
    fiber.Resume();
    EXPECT_EQ(cfa % 16, 0u) << cut;
    EXPECT_GT(cfa, stack.low);
    EXPECT_LT(cfa, stack.high);
  }
}

TEST(ContextSwitchTest, TwoHighestWordsOfAStackStayUnusedAndZero) {
  const StackBounds stack = NewStack();
  const uintptr_t* const top = reinterpret_cast<const uintptr_t*>(stack.high) - 2;
  // A dirty stack, as the last user leaves it.
  std::fill_n(reinterpret_cast<uintptr_t*>(stack.high) - 64, 64, uintptr_t{0x5a5a5a5a});
  TestFiber fiber([](TestFiber& self) { self.Yield(); }, stack);
  EXPECT_LE(reinterpret_cast<uintptr_t>(&fiber.frame() + 1), reinterpret_cast<uintptr_t>(top));
  EXPECT_EQ(top[0], 0u);
  EXPECT_EQ(top[1], 0u);
  fiber.Resume();
  EXPECT_GT(reinterpret_cast<uintptr_t>(&fiber.frame()), stack.low);
  EXPECT_LT(reinterpret_cast<uintptr_t>(&fiber.frame()), reinterpret_cast<uintptr_t>(top));
  fiber.Resume();
  EXPECT_EQ(top[0], 0u);
  EXPECT_EQ(top[1], 0u);
}

TEST(ContextSwitchDeathTest, StackTooSmallForItsFirstFrameIsRefused) {
  SwitchTarget target;
  const uintptr_t high = NewStack().high;
  EXPECT_DEATH(PrepareTarget(target, {.low = high - 64, .high = high}, [](void*) { return LastSwitch{}; }),
               "a stack of 64 bytes is too small");
}

// Goes down until the stack has `room` bytes left, switches there, and checks on the way up that nothing changed.
[[gnu::noinline]] int Descend(TestFiber& self, size_t room, int depth) {
  volatile int mark = depth;
  const uintptr_t here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  const int deepest = here - self.stack().low < room ? (self.Yield(), depth) : Descend(self, room, depth + 1);
  EXPECT_EQ(mark, depth);
  return deepest;
}

TEST(ContextSwitchTest, SwitchDeepInARecursionKeepsEveryFrame) {
  int deepest = 0;
  TestFiber fiber([&](TestFiber& self) { deepest = Descend(self, 16 << 10, 0); });
  fiber.Resume();
  EXPECT_FALSE(fiber.finished());
  EXPECT_LT(reinterpret_cast<uintptr_t>(&fiber.frame()) - fiber.stack().low, 16u << 10);
  fiber.Resume();
  EXPECT_TRUE(fiber.finished());
  EXPECT_GT(deepest, 50);
}

TEST(ContextSwitchTest, ExceptionsAreThrownAndCaughtBetweenSwitches) {
  const auto body = [](std::vector<std::string>& caught) {
    return [&caught](TestFiber& self) {
      for (int i = 0; i < 3; ++i) {
        try {
          self.Yield();
          throw std::runtime_error(std::to_string(i));
        } catch (const std::runtime_error& error) {
          caught.push_back(error.what());
        }
        self.Yield();
      }
    };
  };
  std::vector<std::string> first_caught, second_caught;
  TestFiber first(body(first_caught)), second(body(second_caught));
  while (!first.finished()) {
    first.Resume();
    second.Resume();
  }
  EXPECT_TRUE(second.finished());
  EXPECT_EQ(first_caught, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(second_caught, first_caught);
  EXPECT_EQ(std::uncaught_exceptions(), 0);
}

[[gnu::noinline]] std::thread::id CurrentThread() {
  asm volatile("");  // read anew each time: the compiler may take pthread_self() for constant
  return std::this_thread::get_id();
}

TEST(ContextSwitchTest, FiberContinuesOnAnotherThread) {
  std::vector<std::thread::id> seen;
  TestFiber fiber([&](TestFiber& self) {
    int local = 0;
    for (int i = 0; i < 4; ++i) {
      seen.push_back(CurrentThread());
      EXPECT_EQ(local++, i);
      self.Yield();
    }
  });
  std::vector<std::thread::id> expected;
  for (int i = 0; i < 4; ++i) {
    std::thread thread([&] {
      expected.push_back(CurrentThread());
      fiber.Resume();
    });
    thread.join();
  }
  fiber.Resume();
  EXPECT_TRUE(fiber.finished());
  EXPECT_EQ(seen, expected);
}

TEST(ContextSwitchTest, StackOfADeadFiberIsUsedAgain) {
  const StackBounds stack = NewStack();
  int runs = 0;
  for (int i = 0; i < 100; ++i) {
    TestFiber fiber(
        [&](TestFiber& self) {
          self.Yield();
          ++runs;
        },
        stack);
    fiber.Resume();
    fiber.Resume();
    ASSERT_TRUE(fiber.finished());
  }
  EXPECT_EQ(runs, 100);
}

TEST(ContextSwitchTest, WalkFromAFiberEndsAtItsRoot) {
  std::vector<uintptr_t> frames;
  TestFiber fiber([&](TestFiber& self) {
    // Ends because the unwind information says so, not because it happens to find a zero above.
    uintptr_t* const top = reinterpret_cast<uintptr_t*>(self.stack().high) - 2;
    top[0] = top[1] = reinterpret_cast<uintptr_t>(&CurrentFrames) + 1;
    frames = CurrentFrames();
  });
  fiber.Resume();
  ASSERT_GE(frames.size(), 3u);
  EXPECT_TRUE(IsRoot(frames.back())) << frames.size();
  for (size_t i = 0; i + 1 < frames.size(); ++i) EXPECT_FALSE(IsRoot(frames[i])) << i;
}

TEST(ContextSwitchTest, FreshFrameNamesTheRootAndEndsTheFramePointerChain) {
  TestFiber fiber([](TestFiber&) {});
#if defined(__x86_64__)
  EXPECT_TRUE(IsRoot(fiber.frame().rip - 1));
  EXPECT_EQ(fiber.frame().rbp, 0u);
#else
  EXPECT_TRUE(IsRoot(fiber.frame().x30 - 4));
  EXPECT_EQ(fiber.frame().x29, 0u);
#endif
  fiber.Resume();
}

// -- An exception that nobody catches.

bool destructor_ran = false;
uintptr_t throw_site_caller = 0;

struct SetsFlag {
  ~SetsFlag() { destructor_ran = true; }
};

[[gnu::noinline]] void ThrowWithADestructorPending() {
  SetsFlag pending;
  throw_site_caller = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  throw std::logic_error("nobody catches this");
}

void ReportTermination() {
  bool found = false, root = false;
  for (const uintptr_t pc : CurrentFrames()) {
    found |= pc == throw_site_caller;
    root |= IsRoot(pc);
  }
  std::string what;
  try {
    throw;
  } catch (const std::exception& error) {
    what = error.what();
  }
  std::fprintf(stderr, "terminate: %s; destructors %s; throw site %s; root %s\n", what.c_str(),
               destructor_ran ? "have run" : "pending", found ? "on the stack" : "gone", root ? "reached" : "missed");
  _exit(7);
}

TEST(ContextSwitchDeathTest, ExceptionThatLeavesEntryTerminatesWithTheThrowSiteOnTheStack) {
  EXPECT_EXIT(
      {
        std::set_terminate(&ReportTermination);
        TestFiber fiber([](TestFiber&) {
          ThrowWithADestructorPending();
          asm volatile("");  // no tail call
        });
        fiber.Resume();
      },
      testing::ExitedWithCode(7),
      "terminate: nobody catches this; destructors pending; throw site on the stack; root reached");
}

}  // namespace
}  // namespace fiberscope
