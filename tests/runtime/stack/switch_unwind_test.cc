// The unwind information of the switch, instruction by instruction.
//
// Goal: a profiling signal may hit any instruction of the switch, and a walk from there must find every frame, and the
// caller's registers, of the stack that the stack pointer is on at that moment.
// Method: single-step the processor through switches between a thread's stack and a fiber (trap flag, SIGTRAP after
// each instruction, handler on an alternate stack) and walk from each instruction with libgcc's unwinder.
#include <signal.h>
#include <ucontext.h>
#include <unwind.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "runtime/stack/context_switch.h"
#include "runtime/stack/stack_slab.h"
#include "tests/runtime/stack/test_fiber.h"

namespace fiberscope {
namespace {

extern "C" void fiberscope_fiber_entry();
// preserved_registers_x86_64.S
extern "C" void* fiberscope_test_switch_with_registers(void** save_sp, void* to_sp, const uint64_t* values,
                                                       uint64_t* seen);

// In the order of preserved_registers_x86_64.S.
using Values = std::array<uint64_t, 6>;
constexpr Values kThreadValues = {0x11, 0x12, 0x13, 0x14, 0x15, 0x16};
constexpr Values kFiberValues = {0x21, 0x22, 0x23, 0x24, 0x25, 0x26};

// Both sides save and load with the bare assembly, so that nothing but it can preserve the registers.
struct Sides {
  void* thread_sp = nullptr;
  void* fiber_sp = nullptr;
  Values fiber_saw{};
  uintptr_t thread_caller = 0;  // return address of StepThroughSwitches
  bool fiber_should_end = false;
};
Sides g_sides;

LastSwitch BareFiber(void*) {
  while (!g_sides.fiber_should_end) {
    fiberscope_test_switch_with_registers(&g_sides.fiber_sp, g_sides.thread_sp, kFiberValues.data(),
                                          g_sides.fiber_saw.data());
  }
  return {g_sides.thread_sp, nullptr};
}

void StartBareFiber() {
  SwitchTarget target;
  PrepareTarget(target, NewStack(), &BareFiber);
  ReleaseTarget(target);
  g_sides = {.fiber_sp = target.saved_sp};
}

TEST(PreservedRegistersTest, AllSixSurviveOnBothSides) {
  StartBareFiber();
  for (int round = 0; round < 3; ++round) {
    Values seen{};
    void* const argument =
        fiberscope_test_switch_with_registers(&g_sides.thread_sp, g_sides.fiber_sp, kThreadValues.data(), seen.data());
    EXPECT_EQ(argument, kFiberValues.data());
    EXPECT_EQ(seen, kThreadValues);
    // The fiber has seen its own from its second turn on.
    EXPECT_EQ(g_sides.fiber_saw, round > 0 ? kFiberValues : Values{});
  }
}

TEST(PreservedRegistersTest, AllSixAreRestoredByTheLastSwitch) {
  StartBareFiber();
  Values seen{};
  for (const bool last : {false, true}) {
    g_sides.fiber_should_end = last;
    seen = {};
    const void* const argument =
        fiberscope_test_switch_with_registers(&g_sides.thread_sp, g_sides.fiber_sp, kThreadValues.data(), seen.data());
    EXPECT_EQ(argument == nullptr, last);
    EXPECT_EQ(seen, kThreadValues);
  }
}

TEST(PreservedRegistersTest, SavedFrameHoldsThemWhereTheStructSays) {
  StartBareFiber();
  Values seen;
  fiberscope_test_switch_with_registers(&g_sides.thread_sp, g_sides.fiber_sp, kThreadValues.data(), seen.data());
  const SavedFrame& frame = *static_cast<const SavedFrame*>(g_sides.fiber_sp);
  EXPECT_EQ((Values{frame.rbx, frame.rbp, frame.r12, frame.r13, frame.r14, frame.r15}), kFiberValues);
  const uintptr_t helper = reinterpret_cast<uintptr_t>(&fiberscope_test_switch_with_registers);
  EXPECT_GT(frame.rip, helper);
  EXPECT_LT(frame.rip, helper + 128);
}

#ifndef FIBERSCOPE_HAS_TSAN  // it delays SIGTRAP to the next system call, as it does with any asynchronous signal

// One instruction of the switch or of the trampoline, and the walk from it.
struct Step {
  uintptr_t pc = 0;
  bool on_fiber = false;
  size_t depth = 0;  // frames from the interrupted one on
  std::array<uintptr_t, 64> pcs{};
  Values caller_registers{};  // of the frame after the interrupted one
};

std::array<Step, 256> g_steps;
size_t g_step_count = 0;
volatile bool g_stepping = false;

// DWARF's numbers for the registers of Values (SysV ABI, figure 3.36).
constexpr std::array<int, 6> kDwarfNumbers = {3, 6, 12, 13, 14, 15};

_Unwind_Reason_Code RecordFrame(_Unwind_Context* context, void* out) {
  Step& step = *static_cast<Step*>(out);
  const uintptr_t pc = _Unwind_GetIP(context);
  // The handler's own frames come first; the walk that counts starts at the interrupted instruction.
  if ((step.depth == 0 && pc != step.pc) || pc == 0 || step.depth == step.pcs.size()) return _URC_NO_REASON;
  if (step.depth == 1) {
    for (size_t i = 0; i < kDwarfNumbers.size(); ++i) {
      step.caller_registers[i] = _Unwind_GetGR(context, kDwarfNumbers[i]);
    }
  }
  step.pcs[step.depth++] = pc;
  return _URC_NO_REASON;
}

void OnTrap(int, siginfo_t*, void* raw) {
  auto* const context = static_cast<ucontext_t*>(raw);
  constexpr greg_t kTrapFlag = 0x100;
  if (!g_stepping) {
    context->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
    return;
  }
  context->uc_mcontext.gregs[REG_EFL] |= kTrapFlag;
  const uintptr_t pc = static_cast<uintptr_t>(context->uc_mcontext.gregs[REG_RIP]);
  const uintptr_t sp = static_cast<uintptr_t>(context->uc_mcontext.gregs[REG_RSP]);
  // The two functions of the assembly, one behind the other.
  if (pc - reinterpret_cast<uintptr_t>(&internal::fiberscope_switch_context) >= 96) return;
  if (g_step_count == g_steps.size()) return;
  Step& step = g_steps[g_step_count++];
  step.pc = pc;
  // A fiber's stack is recognised by address alone, as a profiler does it.
  step.on_fiber = FindStack(sp).has_value();
  _Unwind_Backtrace(&RecordFrame, &step);
}

[[gnu::noinline]] void StepThroughSwitches(int rounds) {
  g_sides.thread_caller = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
  Values seen;
  g_stepping = true;
  raise(SIGTRAP);  // the handler sets the flag in the context it returns to
  for (int round = 0; round < rounds; ++round) {
    g_sides.fiber_should_end = round + 1 == rounds;
    fiberscope_test_switch_with_registers(&g_sides.thread_sp, g_sides.fiber_sp, kThreadValues.data(), seen.data());
  }
  g_stepping = false;
}

TEST(SwitchUnwindTest, EveryInstructionOfTheSwitchUnwindsToTheRootWithItsCallersRegisters) {
  std::vector<char> alternate_stack(256 << 10);
  const stack_t stack = {.ss_sp = alternate_stack.data(), .ss_flags = 0, .ss_size = alternate_stack.size()};
  stack_t old_stack;
  ASSERT_EQ(sigaltstack(&stack, &old_stack), 0);
  struct sigaction action = {}, old_action;
  action.sa_sigaction = &OnTrap;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ASSERT_EQ(sigaction(SIGTRAP, &action, &old_action), 0);
  StartBareFiber();
  g_step_count = 0;

  StepThroughSwitches(3);
  asm volatile("");  // no tail call: StepThroughSwitches records where it returns to

  sigaction(SIGTRAP, &old_action, nullptr);
  sigaltstack(&old_stack, nullptr);

  const uintptr_t entry = reinterpret_cast<uintptr_t>(&fiberscope_fiber_entry);
  std::set<uintptr_t> in_switch, in_trampoline;
  for (const Step& step : std::span(g_steps).first(g_step_count)) {
    const uintptr_t offset = step.pc - reinterpret_cast<uintptr_t>(&internal::fiberscope_switch_context);
    SCOPED_TRACE(testing::Message() << "offset " << offset << (step.on_fiber ? " on the fiber" : " on the thread"));
    const std::span<const uintptr_t> pcs = std::span(step.pcs).first(step.depth);
    ASSERT_FALSE(pcs.empty());
    if (step.pc >= entry) {
      in_trampoline.insert(step.pc);
      // When the fiber has ended, its last instructions are on the thread's stack.
      if (step.on_fiber) {
        EXPECT_EQ(pcs.size(), 1u);
        continue;
      }
    } else {
      in_switch.insert(step.pc);
    }
    if (!step.on_fiber) {
      EXPECT_NE(std::find(pcs.begin(), pcs.end(), g_sides.thread_caller), pcs.end());
      EXPECT_EQ(step.caller_registers, kThreadValues);
      continue;
    }
    const bool fresh = pcs.size() == 2;  // the first switch: nothing under the switch but the trampoline
    EXPECT_LT(pcs.back() - entry, 16u);
    if (!fresh) {
      EXPECT_EQ(pcs.size(), 4u) << "switch, register helper, BareFiber, trampoline";
      EXPECT_EQ(step.caller_registers, kFiberValues);
    } else {
      EXPECT_EQ(step.caller_registers[1], 0u) << "rbp at the root";
    }
  }
  // 6 pushes, 3 moves, 6 pops, the test for a new fiber (3) and the return, or the two instructions that start one; then the
  // trampoline's move and call, and when the fiber has ended two moves and a jump.
  EXPECT_EQ(in_switch.size(), 21u);
  EXPECT_EQ(in_trampoline.size(), 5u);
}

#endif

}  // namespace
}  // namespace fiberscope
