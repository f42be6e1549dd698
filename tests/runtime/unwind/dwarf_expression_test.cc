#include "runtime/unwind/dwarf_expression.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace fiberscope {
namespace {

using Bytes = std::vector<uint8_t>;

// pc, sp, rbp, rbx, r12 ... r15, told apart by their values.
constexpr FrameRegisters kRegisters = {0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000, 0x8000};

std::optional<uintptr_t> Evaluate(const Bytes& expression, std::optional<uintptr_t> initial = std::nullopt) {
  return EvaluateExpression(expression, kRegisters, StackBounds{}, initial);
}

TEST(DwarfExpressionTest, ComputesWhatEachOperationSays) {
  struct Case {
    const char* what;
    Bytes expression;
    uintptr_t value;
  };
  const Case cases[] = {
      {"lit31", {0x4f}, 31},
      {"addr", {0x03, 1, 2, 0, 0, 0, 0, 0, 0}, 0x201},
      {"const1u, const1s, plus", {0x08, 200, 0x09, 0xff, 0x22}, 199},
      {"const2u", {0x0a, 0x34, 0x12}, 0x1234},
      {"const2s", {0x0b, 0xfe, 0xff}, static_cast<uintptr_t>(-2)},
      {"const4u", {0x0c, 0xff, 0xff, 0xff, 0xff}, 0xffffffff},
      {"const4s", {0x0d, 0xff, 0xff, 0xff, 0xff}, static_cast<uintptr_t>(-1)},
      {"const8u", {0x0e, 1, 0, 0, 0, 0, 0, 0, 0x80}, 0x8000000000000001},
      {"constu", {0x10, 0x80, 1}, 128},
      {"consts", {0x11, 0x7e}, static_cast<uintptr_t>(-2)},
      {"breg7 (rsp) 8", {0x77, 8}, 0x2008},
      {"breg6 (rbp) -16", {0x76, 0x70}, 0x2ff0},
      {"breg16 (rip) 0", {0x80, 0}, 0x1000},
      {"bregx 15, 1", {0x92, 15, 1}, 0x8001},
      {"dup, mul", {0x33, 0x12, 0x1e}, 9},
      {"drop", {0x33, 0x34, 0x13}, 3},
      {"over, minus: 3 4 3 -> 3 1", {0x33, 0x34, 0x14, 0x1c}, 1},
      {"pick 2", {0x33, 0x34, 0x35, 0x15, 2}, 3},
      {"swap, minus: 3 4 -> 4 - 3", {0x33, 0x34, 0x16, 0x1c}, 1},
      {"rot: 1 2 3 -> 3 1 2, minus, minus", {0x31, 0x32, 0x33, 0x17, 0x1c, 0x1c}, 4},
      {"abs of -5", {0x09, 0xfb, 0x19}, 5},
      {"and", {0x3c, 0x3a, 0x1a}, 8},
      {"div -7 / 2", {0x09, 0xf9, 0x32, 0x1b}, static_cast<uintptr_t>(-3)},
      {"div of the smallest by -1", {0x0e, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x09, 0xff, 0x1b}, 0x8000000000000000},
      {"mod 7 % 4", {0x37, 0x34, 0x1d}, 3},
      {"neg", {0x31, 0x1f}, static_cast<uintptr_t>(-1)},
      {"not", {0x30, 0x20}, ~uintptr_t{0}},
      {"or", {0x3c, 0x33, 0x21}, 15},
      {"plus_uconst", {0x31, 0x23, 0x80, 1}, 129},
      {"shl", {0x31, 0x34, 0x24}, 16},
      {"shl by 64", {0x31, 0x08, 64, 0x24}, 0},
      {"shr of -1 by 60", {0x09, 0xff, 0x08, 60, 0x25}, 15},
      {"shra of -16 by 2", {0x09, 0xf0, 0x32, 0x26}, static_cast<uintptr_t>(-4)},
      {"xor", {0x3c, 0x3a, 0x27}, 6},
      {"-1 < 1 is signed", {0x09, 0xff, 0x31, 0x2d}, 1},
      {"eq", {0x35, 0x35, 0x29}, 1},
      {"ne", {0x35, 0x35, 0x2e}, 0},
      {"ge", {0x34, 0x35, 0x2a}, 0},
      {"gt", {0x36, 0x35, 0x2b}, 1},
      {"le", {0x36, 0x35, 0x2c}, 0},
      {"skip over lit1", {0x30, 0x2f, 1, 0, 0x31}, 0},
      {"bra not taken", {0x35, 0x30, 0x28, 1, 0, 0x36}, 6},
      {"bra taken", {0x35, 0x31, 0x28, 1, 0, 0x36}, 5},
      // 5 on top; then: add -1 and go back while not 0. The result is what was below.
      {"a loop that counts down", {0x3f, 0x35, 0x31, 0x1c, 0x12, 0x28, 0xfa, 0xff, 0x13}, 15},
      {"nop", {0x31, 0x96}, 1},
  };
  for (const Case& c : cases) EXPECT_EQ(Evaluate(c.expression), c.value) << c.what;
}

TEST(DwarfExpressionTest, StartsWithTheInitialValueIfThereIsOne) {
  EXPECT_EQ(Evaluate({0x23, 8}, 0x5000), 0x5008);
  EXPECT_EQ(Evaluate({}, 0x5000), 0x5000);
}

TEST(DwarfExpressionTest, YieldsNothingWhereThereIsNothingToSay) {
  struct Case {
    const char* what;
    Bytes expression;
  };
  const Case cases[] = {
      {"empty", {}},
      {"unknown operation", {0x31, 0xe0}},
      {"truncated operand", {0x0e, 1, 2}},
      {"plus on one value", {0x31, 0x22}},
      {"swap on one value", {0x31, 0x16}},
      {"pick beyond the stack", {0x31, 0x15, 1}},
      {"division by zero", {0x31, 0x30, 0x1b}},
      {"modulo zero", {0x31, 0x30, 0x1d}},
      {"scratch register", {0x70, 0}},
      {"skip before the start", {0x2f, 0xf0, 0xff}},
      {"skip beyond the end", {0x2f, 1, 0}},
      {"skip to itself", {0x2f, 0xfd, 0xff}},
      {"memory outside the stack", {0x77, 0, 0x06}},
      {"unknown size", {0x77, 0, 0x94, 3}},
  };
  for (const Case& c : cases) EXPECT_EQ(Evaluate(c.expression), std::nullopt) << c.what;
}

TEST(DwarfExpressionTest, AStackOfMoreThan32ValuesIsNothing) {
  EXPECT_NE(Evaluate(Bytes(32, 0x31)), std::nullopt);
  EXPECT_EQ(Evaluate(Bytes(33, 0x31)), std::nullopt);
}

TEST(DwarfExpressionTest, ARegisterThatIsNotKnownIsNothing) {
  const auto evaluate = [](const Bytes& expression, KnownRegisters known) {
    return EvaluateExpression(expression, kRegisters, StackBounds{}, std::nullopt, known);
  };
  EXPECT_NE(evaluate({0x77, 0}, KnownRegisters::PcAndSp()), std::nullopt);
  EXPECT_EQ(evaluate({0x76, 0}, KnownRegisters::PcAndSp()), std::nullopt);  // rbp
  KnownRegisters known = KnownRegisters::PcAndSp();
  known.Set(FrameRegister::kRbp, true);
  EXPECT_EQ(evaluate({0x76, 0}, known), evaluate({0x76, 0}, KnownRegisters::All()));
  known.Set(FrameRegister::kRbp, false);
  EXPECT_EQ(known, KnownRegisters::PcAndSp());
}

TEST(DwarfExpressionTest, ReadsMemoryInsideTheBoundsOnly) {
  const std::array<uintptr_t, 4> stack = {0, 0x1122334455667788, 0xfff, 0};
  const auto at = [&stack](int i) { return reinterpret_cast<uintptr_t>(&stack[i]); };
  const StackBounds bounds{at(1), at(3)};
  FrameRegisters registers = kRegisters;
  registers[static_cast<size_t>(FrameRegister::kSp)] = at(1);
  const auto evaluate = [&](const Bytes& expression) {
    return EvaluateExpression(expression, registers, bounds, std::nullopt);
  };

  EXPECT_EQ(evaluate({0x77, 0, 0x06}), stack[1]);
  EXPECT_EQ(evaluate({0x77, 8, 0x06}), stack[2]);
  EXPECT_EQ(evaluate({0x77, 0, 0x94, 1}), 0x88);
  EXPECT_EQ(evaluate({0x77, 0, 0x94, 4}), 0x55667788);
  EXPECT_EQ(evaluate({0x77, 16, 0x06}), std::nullopt);    // above
  EXPECT_EQ(evaluate({0x77, 0x78, 0x06}), std::nullopt);  // 8 below
  EXPECT_EQ(evaluate({0x77, 4, 0x06}), std::nullopt);     // not aligned
}

}  // namespace
}  // namespace fiberscope
