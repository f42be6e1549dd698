// Goal: whatever a stack and the registers hold, a walk ends, reads no byte outside the bounds, and does not fault.
// Method: the stack's pages lie between two that cannot be read, and are filled with what leads a walk on: return
// addresses of all kinds of rule, pointers into the stack, small numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "runtime/unwind/unwind_rule.h"
#include "runtime/unwind/unwinder.h"
#include "tests/runtime/unwind/guarded_stack.h"

namespace fiberscope {
namespace {

// Addresses in this process's code, of every kind of rule in turn.
std::vector<uintptr_t> ReturnAddressesOfAllKinds(const UnwindTable& table) {
  constexpr size_t kPerKind = 200;
  std::array<std::vector<uintptr_t>, 7> by_kind;
  // The objects that are there in any case: the program itself, libc, libgcc with its signal trampoline next door.
  for (const uintptr_t inside : {reinterpret_cast<uintptr_t>(&ReturnAddressesOfAllKinds),
                                 reinterpret_cast<uintptr_t>(&std::memcpy), reinterpret_cast<uintptr_t>(&std::qsort)}) {
    for (uintptr_t pc = inside - (1 << 19); pc < inside + (1 << 20); ++pc) {
      const UnwindRule* rule = table.Find(pc);
      if (rule == nullptr) continue;
      auto& pcs = by_kind[static_cast<size_t>(rule->cfa)];
      if (pcs.size() < kPerKind || rule->cfa != UnwindRule::Cfa::kSpPlus) pcs.push_back(pc + 1);
    }
  }
  std::vector<uintptr_t> result;
  for (auto& pcs : by_kind) {
    for (size_t i = 0; i < std::min(pcs.size(), kPerKind); ++i)
      result.push_back(pcs[i * pcs.size() / kPerKind % pcs.size()]);
  }
  return result;
}

class UnwinderBoundsTest : public ::testing::Test {
 protected:
  const UnwindTable& table_ = UnwindTable::Refresh();
  testing::GuardedStack stack_{16 << 10};
  std::array<uintptr_t, 128> pcs_;
};

TEST_F(UnwinderBoundsTest, GarbageEndsWithoutAFault) {
  constexpr unsigned kSeed = 20'260'101;
  constexpr int kWalks = 100'000;
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  const std::vector<uintptr_t> return_addresses = ReturnAddressesOfAllKinds(table_);
  ASSERT_GT(return_addresses.size(), 400u);
  const StackBounds bounds = stack_.bounds();
  const auto in_or_near_stack = [&] { return (bounds.low - 256 + random() % (bounds.size() + 512)) & ~uintptr_t{7}; };
  const auto word = [&]() -> uintptr_t {
    switch (random() % 16) {
      case 0:
        return random();
      case 1:
        return random() % 64;
      case 2:
      case 3:
        return in_or_near_stack();
      default:
        return return_addresses[random() % return_addresses.size()];
    }
  };
  std::array<int, 4> ends = {};
  size_t deepest = 0;

  for (int i = 0; i < kWalks; ++i) {
    if (i % 100 == 0) std::generate(stack_.words().begin(), stack_.words().end(), word);
    const Registers registers = {.pc = return_addresses[random() % return_addresses.size()],
                                 .sp = random() % 8 == 0 ? word() : in_or_near_stack(),
                                 .rbp = word(),
                                 .rbx = word(),
                                 .r12 = word(),
                                 .r13 = word(),
                                 .r14 = word(),
                                 .r15 = word(),
                                 .pc_is_exact = random() % 2 == 0};
    const UnwindResult result = Unwind(table_, registers, bounds, pcs_);
    ASSERT_LE(result.depth, pcs_.size());
    ASSERT_EQ(pcs_[0], registers.pc);
    ++ends[static_cast<size_t>(result.end)];
    deepest = std::max(deepest, result.depth);
  }

  // The garbage is good enough to get somewhere.
  EXPECT_GT(deepest, 10u);
  EXPECT_GT(ends[static_cast<size_t>(UnwindEnd::kRoot)], 0);
  EXPECT_GT(ends[static_cast<size_t>(UnwindEnd::kNoRule)], 0);
  EXPECT_GT(ends[static_cast<size_t>(UnwindEnd::kBadFrame)], 0);
}

// A return address of this very function, whose frame is [rbp], [rbp + 8]: saved rbp, return address.
uintptr_t FramePointerPc(const UnwindTable& table) {
  for (uintptr_t pc = reinterpret_cast<uintptr_t>(&FramePointerPc);; ++pc) {
    const UnwindRule* rule = table.Find(pc);
    if (rule == nullptr) return 0;
    if (rule->cfa == UnwindRule::Cfa::kRbpPlus && rule->cfa_offset == 16 && rule->rbp == UnwindRule::Rbp::kAtCfa &&
        rule->rbp_offset == -16) {
      return pc + 1;
    }
  }
}

TEST_F(UnwinderBoundsTest, AFrameThatIsItsOwnCallerIsBad) {
  const uintptr_t pc = FramePointerPc(table_);
  ASSERT_NE(pc, 0u);
  const auto words = stack_.words();
  const auto at = [&](size_t i) { return reinterpret_cast<uintptr_t>(&words[i]); };
  words[100] = at(100);  // saved rbp: the same frame again
  words[101] = pc;

  const UnwindResult result = Unwind(table_, {.pc = pc, .sp = at(90), .rbp = at(100)}, stack_.bounds(), pcs_);

  EXPECT_EQ(result.end, UnwindEnd::kBadFrame);
  EXPECT_EQ(result.depth, 2u);
}

TEST_F(UnwinderBoundsTest, AChainOfFramesIsFollowedToItsZero) {
  const uintptr_t pc = FramePointerPc(table_);
  ASSERT_NE(pc, 0u);
  const auto words = stack_.words();
  const auto at = [&](size_t i) { return reinterpret_cast<uintptr_t>(&words[i]); };
  for (size_t i = 0; i < 10; ++i) {
    words[100 + 10 * i] = at(110 + 10 * i);
    words[101 + 10 * i] = i < 9 ? pc : 0;
  }
  const Registers registers = {.pc = pc, .sp = at(90), .rbp = at(100)};

  UnwindResult result = Unwind(table_, registers, stack_.bounds(), pcs_);
  EXPECT_EQ(result.end, UnwindEnd::kRoot);
  EXPECT_EQ(result.depth, 10u);

  result = Unwind(table_, registers, stack_.bounds(), std::span(pcs_).first(10));
  EXPECT_EQ(result.end, UnwindEnd::kRoot) << "the buffer is exactly large enough";
  result = Unwind(table_, registers, stack_.bounds(), std::span(pcs_).first(9));
  EXPECT_EQ(result.end, UnwindEnd::kBufferFull);
  EXPECT_EQ(result.depth, 9u);
  result = Unwind(table_, registers, stack_.bounds(), {});
  EXPECT_EQ(result.end, UnwindEnd::kBufferFull);
  EXPECT_EQ(result.depth, 0u);

  // The same with the stack's end inside the chain.
  result = Unwind(table_, registers, StackBounds{stack_.bounds().low, at(141)}, pcs_);
  EXPECT_EQ(result.end, UnwindEnd::kBadFrame);
  EXPECT_EQ(result.depth, 5u);
}

TEST_F(UnwinderBoundsTest, ImpossibleBoundsAndStackPointersAreBadFrames) {
  const uintptr_t pc = FramePointerPc(table_);
  const StackBounds whole = stack_.bounds();
  const uintptr_t inside = whole.low + 1024;
  struct Case {
    const char* what;
    uintptr_t sp;
    StackBounds bounds;
  };
  const Case cases[] = {
      {"no bytes", inside, {inside, inside}},
      {"no bytes at all", 0, {0, 0}},
      {"less than a word", inside, {inside, inside + 7}},
      {"upside down", inside, {whole.high, whole.low}},
      {"stack pointer above", whole.high + 64, whole},
      {"stack pointer at the end", whole.high, whole},
      {"stack pointer at the top of the address space", ~uintptr_t{7}, whole},
      {"everything", inside, {0, 0}},
  };
  for (const Case& c : cases) {
    for (const bool exact : {false, true}) {
      const Registers registers = {.pc = pc, .sp = c.sp, .rbp = c.sp, .pc_is_exact = exact};
      const UnwindResult result = Unwind(table_, registers, c.bounds, pcs_);
      EXPECT_EQ(result.end, UnwindEnd::kBadFrame) << c.what;
      EXPECT_EQ(result.depth, 1u) << c.what;
    }
  }
}

TEST_F(UnwinderBoundsTest, NothingBelowTheStackPointerIsReadButTheRedZone) {
  const uintptr_t pc = FramePointerPc(table_);
  const auto words = stack_.words();
  const auto at = [&](size_t i) { return reinterpret_cast<uintptr_t>(&words[i]); };
  words[100] = 0;
  words[101] = 0;
  // rbp points at a frame below sp, and CFA = rbp + 16 = sp.
  Registers registers = {.pc = pc, .sp = at(102), .rbp = at(100)};
  EXPECT_EQ(Unwind(table_, registers, stack_.bounds(), pcs_).end, UnwindEnd::kBadFrame);
  registers.pc = pc - 1;
  registers.pc_is_exact = true;
  EXPECT_EQ(Unwind(table_, registers, stack_.bounds(), pcs_).end, UnwindEnd::kRoot);
}

TEST_F(UnwinderBoundsTest, AnUnknownProgramCounterHasNoRule) {
  for (const uintptr_t pc : {uintptr_t{0}, uintptr_t{1}, ~uintptr_t{0}, stack_.bounds().low}) {
    const UnwindResult result = Unwind(table_, {.pc = pc, .sp = stack_.bounds().low}, stack_.bounds(), pcs_);
    EXPECT_EQ(result.end, UnwindEnd::kNoRule);
    EXPECT_EQ(result.depth, 1u);
    EXPECT_EQ(pcs_[0], pc);
  }
}

}  // namespace
}  // namespace fiberscope
