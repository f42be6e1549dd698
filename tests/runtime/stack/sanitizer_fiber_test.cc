// What a wrong announcement of switches to a sanitizer would break. These also run, and pass trivially quickly, without
// one.
#include "runtime/stack/sanitizer_fiber.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "gtest/gtest.h"
#include "tests/runtime/stack/test_fiber.h"

namespace fiberscope {
namespace {

// Leaves red zones all over the upper part of the stack and never returns through them.
[[gnu::noinline]] void AbandonDeepFrame(TestFiber& self, int depth) {
  volatile char buffer[256];
  for (int i = 0; i < 256; i += 32) buffer[i] = static_cast<char>(depth);
  if (depth == 40) {
    self.Yield();
  } else {
    AbandonDeepFrame(self, depth + 1);
  }
  EXPECT_EQ(buffer[32], depth);
}

// A fiber that is dropped while parked (a test of ours does that; a scheduler ends its fibers) leaves poisoned memory.
TEST(SanitizerFiberTest, StackUsedAgainCarriesNoPoison) {
  const StackBounds stack = NewStack();
  {
    TestFiber dropped([](TestFiber& self) { AbandonDeepFrame(self, 0); }, stack);
    dropped.Resume();
  }
  TestFiber fiber(
      [](TestFiber& self) {
        char large[24 << 10];
        std::memset(large, 1, sizeof(large));
        asm volatile("" : : "r"(large) : "memory");
        self.Yield();
      },
      stack);
  fiber.Resume();
  fiber.Resume();
  EXPECT_TRUE(fiber.finished());
}

// gcc 12's ThreadSanitizer ends the process at 8,128 contexts.
constexpr int kMoreThanContexts = 8'200;

TEST(SanitizerFiberTest, DeadFibersDoNotUseUpContexts) {
  const StackBounds stack = NewStack();
  int runs = 0;
  for (int i = 0; i < kMoreThanContexts; ++i) {
    TestFiber fiber([&](TestFiber&) { ++runs; }, stack);
    fiber.Resume();
  }
  EXPECT_EQ(runs, kMoreThanContexts);
}

TEST(SanitizerFiberTest, PreparingADeadTargetReplacesItsContext) {
  SwitchTarget target;
  const StackBounds stack = NewStack();
  for (int i = 0; i < kMoreThanContexts; ++i) PrepareTarget(target, stack, [](void*) { return LastSwitch{}; });
  ReleaseTarget(target);
  ReleaseTarget(target);
}

// Throwing makes AddressSanitizer clean the stack it believes to be on.
TEST(SanitizerFiberTest, ExceptionsOnSeveralStacksInterleave) {
  const auto body = [](TestFiber& self) {
    for (int i = 0; i < 20; ++i) {
      char buffer[64] = {};
      asm volatile("" : : "r"(buffer) : "memory");
      try {
        throw std::runtime_error("thrown on a fiber");
      } catch (const std::runtime_error&) {
      }
      self.Yield(buffer);
      EXPECT_EQ(buffer[63], 0);
    }
  };
  TestFiber first(body), second(body);
  while (!first.finished()) {
    first.Resume();
    second.Resume();
    try {
      throw std::runtime_error("thrown on the thread");
    } catch (const std::runtime_error&) {
    }
  }
  EXPECT_TRUE(second.finished());
}

// What one fiber wrote before a switch, the next may read after it: no race is reported.
TEST(SanitizerFiberTest, SwitchOrdersWhatCameBeforeItAndWhatFollows) {
  int shared = 0;
  const auto body = [&shared](TestFiber& self) {
    for (int i = 0; i < 100; ++i) {
      ++shared;
      self.Yield();
    }
  };
  TestFiber first(body), second(body);
  while (!first.finished()) {
    first.Resume();
    ++shared;
    second.Resume();
  }
  EXPECT_EQ(shared, 301);
}

}  // namespace
}  // namespace fiberscope
