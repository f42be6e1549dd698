// Signals in the middle of switches.
//
// Goal: a handler on the alternate stack, at any moment of two fibers switching as fast as they can, does not disturb
// them, and finds out by address alone whose stack was interrupted.
// Method: a timer interrupts every 50 us until 10,000 signals have been handled. Not under ThreadSanitizer: it holds
// signals back until the context that they hit makes a system call, and these make none.
#include <signal.h>
#include <time.h>
#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "gtest/gtest.h"
#include "runtime/stack/context_switch.h"
#include "runtime/stack/stack_slab.h"
#include "tests/runtime/stack/test_fiber.h"

#ifndef FIBERSCOPE_HAS_TSAN

namespace fiberscope {
namespace {

constexpr int kSignals = 10'000;

// Written by the handler.
struct Seen {
  std::atomic<int> signals{0};
  std::atomic<int> inside_switch{0};
  std::atomic<int> on_thread{0};
  std::array<std::atomic<int>, 2> on_fiber{};
  std::atomic<int> nowhere{0};
};
Seen g_seen;
std::array<StackBounds, 2> g_fiber_stacks;
StackBounds g_thread_stack;

bool Inside(StackBounds bounds, uintptr_t address) { return address >= bounds.low && address < bounds.high; }

void OnSignal(int, siginfo_t*, void* raw) {
  const auto* const context = static_cast<const ucontext_t*>(raw);
#if defined(__x86_64__)
  const uintptr_t pc = static_cast<uintptr_t>(context->uc_mcontext.gregs[REG_RIP]);
  const uintptr_t sp = static_cast<uintptr_t>(context->uc_mcontext.gregs[REG_RSP]);
#else
  const uintptr_t pc = context->uc_mcontext.pc;
  const uintptr_t sp = context->uc_mcontext.sp;
#endif
  if (pc - reinterpret_cast<uintptr_t>(&internal::fiberscope_switch_context) < 32) ++g_seen.inside_switch;
  const std::optional<StackLocation> location = FindStack(sp);
  const StackSlab& slab = StackSlab::ForClass(StackClass::k64KiB);
  if (!location.has_value()) {
    ++(Inside(g_thread_stack, sp) ? g_seen.on_thread : g_seen.nowhere);
  } else if (slab.Bounds(location->slot) == g_fiber_stacks[0]) {
    ++g_seen.on_fiber[0];
  } else if (slab.Bounds(location->slot) == g_fiber_stacks[1]) {
    ++g_seen.on_fiber[1];
  } else {
    ++g_seen.nowhere;
  }
  ++g_seen.signals;
}

TEST(SwitchSignalTest, FibersSwitchUndisturbedAndAreRecognisedByTheirStackPointer) {
  // As small as a worker's may be: the frame of a signal takes 3 KiB of it (AVX-512), sanitizers' handlers more.
  alignas(16) static std::array<char, 64 << 10> alternate_stack;
  const stack_t stack = {.ss_sp = alternate_stack.data(), .ss_flags = 0, .ss_size = alternate_stack.size()};
  stack_t old_stack;
  ASSERT_EQ(sigaltstack(&stack, &old_stack), 0);
  struct sigaction action = {}, old_action;
  action.sa_sigaction = &OnSignal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  const int signal = SIGRTMIN + 5;
  ASSERT_EQ(sigaction(signal, &action, &old_action), 0);

  std::array<uint64_t, 2> counts{};
  const auto count = [&](int number) {
    return [&, number](TestFiber& self) {
      while (true) {
        if (self.Yield() != nullptr) return;
        ++counts[number];
      }
    };
  };
  TestFiber first(count(0)), second(count(1));
  g_fiber_stacks = {first.stack(), second.stack()};
  g_thread_stack = ThreadStackBounds();
  first.Resume();
  second.Resume();

  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = signal;
  timer_t timer;
  ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  const timespec interval = {.tv_sec = 0, .tv_nsec = 50'000};
  const itimerspec schedule = {.it_interval = interval, .it_value = interval};
  ASSERT_EQ(timer_settime(timer, 0, &schedule, nullptr), 0);
  uint64_t rounds = 0;
  for (; g_seen.signals < kSignals; ++rounds) {
    first.Resume();
    second.Resume();
  }
  timer_delete(timer);
  sigaction(signal, &old_action, nullptr);
  sigaltstack(&old_stack, nullptr);
  int end;
  first.Resume(&end);
  second.Resume(&end);

  EXPECT_EQ(counts[0], rounds);
  EXPECT_EQ(counts[1], rounds);
  EXPECT_GE(g_seen.signals, kSignals);
  EXPECT_EQ(g_seen.nowhere, 0);
  EXPECT_EQ(g_seen.on_thread + g_seen.on_fiber[0] + g_seen.on_fiber[1], g_seen.signals);
  EXPECT_GT(g_seen.on_fiber[0], 0);
  EXPECT_GT(g_seen.on_fiber[1], 0);
  EXPECT_GT(g_seen.inside_switch, 0);
  RecordProperty("inside_switch", g_seen.inside_switch);
}

}  // namespace
}  // namespace fiberscope

#endif  // FIBERSCOPE_HAS_TSAN
