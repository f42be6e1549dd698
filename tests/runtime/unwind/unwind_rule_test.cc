#include "runtime/unwind/unwind_rule.h"

#include <gtest/gtest.h>

#include <vector>

namespace fiberscope {
namespace {

using Kind = RegisterSource::Kind;
using Cfa = UnwindRule::Cfa;
using Rbp = UnwindRule::Rbp;

// CFA = rsp + 8, return address at CFA - 8: the first instruction of every function.
FrameRule OrdinaryRule() {
  FrameRule rule;
  rule.cfa = {.kind = Kind::kRegisterPlus, .base = FrameRegister::kSp, .offset = 8};
  rule.registers.fill({.kind = Kind::kSame});
  rule[FrameRegister::kSp] = {.kind = Kind::kCfaPlus};
  rule[FrameRegister::kPc] = {.kind = Kind::kAtCfa, .offset = -8};
  return rule;
}

FrameRule WithCfaExpression(const std::vector<uint8_t>& expression) {
  FrameRule rule = OrdinaryRule();
  rule.expressions = expression.data();
  rule.cfa = {.kind = Kind::kExpression, .expression_bytes = static_cast<uint16_t>(expression.size())};
  return rule;
}

TEST(UnwindRuleTest, FramesOfCompilersHaveADigest) {
  FrameRule rule = OrdinaryRule();
  EXPECT_EQ(Digest(rule).cfa, Cfa::kSpPlus);
  EXPECT_EQ(Digest(rule).cfa_offset, 8);
  EXPECT_EQ(Digest(rule).rbp, Rbp::kSame);
  EXPECT_EQ(Digest(rule).complete, &rule);

  rule.cfa = {.kind = Kind::kRegisterPlus, .base = FrameRegister::kRbp, .offset = 16};
  rule[FrameRegister::kRbp] = {.kind = Kind::kAtCfa, .offset = -16};
  EXPECT_EQ(Digest(rule).cfa, Cfa::kRbpPlus);
  EXPECT_EQ(Digest(rule).rbp, Rbp::kAtCfa);
  EXPECT_EQ(Digest(rule).rbp_offset, -16);
}

TEST(UnwindRuleTest, RealignedFramesHaveADigest) {
  const std::vector<uint8_t> expressions = {0x76, 0x78, 0x06, 0x76, 0};  // breg6 -8, deref; breg6 0
  FrameRule rule = OrdinaryRule();
  rule.expressions = expressions.data();
  rule.cfa = {.kind = Kind::kExpression, .expression_bytes = 3, .offset = 0};
  rule[FrameRegister::kRbp] = {.kind = Kind::kAtExpression, .expression_bytes = 2, .offset = 3};

  EXPECT_EQ(Digest(rule).cfa, Cfa::kAtRbp);
  EXPECT_EQ(Digest(rule).cfa_offset, -8);
  EXPECT_EQ(Digest(rule).rbp, Rbp::kAtRbp);
  EXPECT_EQ(Digest(rule).rbp_offset, 0);
}

TEST(UnwindRuleTest, LinkageStubsHaveADigestWithTheirThreshold) {
  const std::vector<uint8_t> usual = {0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22};
  EXPECT_EQ(Digest(WithCfaExpression(usual)).cfa, Cfa::kPlt);
  EXPECT_EQ(Digest(WithCfaExpression(usual)).cfa_offset, 11);

  std::vector<uint8_t> with_endbr = usual;
  with_endbr[6] = 0x39;
  EXPECT_EQ(Digest(WithCfaExpression(with_endbr)).cfa_offset, 9);

  std::vector<uint8_t> other = usual;
  other[1] = 16;
  EXPECT_EQ(Digest(WithCfaExpression(other)).cfa, Cfa::kSlow);
}

TEST(UnwindRuleTest, AnythingElseIsSlow) {
  std::vector<FrameRule> rules(7, OrdinaryRule());
  rules[0].cfa.base = FrameRegister::kRbx;
  rules[1].signal_frame = true;
  rules[2][FrameRegister::kPc].offset = -16;
  rules[3][FrameRegister::kPc] = {.kind = Kind::kRegisterPlus, .base = FrameRegister::kR13};
  rules[4][FrameRegister::kSp] = {.kind = Kind::kAtCfa, .offset = -24};
  rules[5][FrameRegister::kRbp] = {.kind = Kind::kCfaPlus, .offset = -16};
  rules[6][FrameRegister::kRbp] = {.kind = Kind::kAtCfa, .offset = -40'000};  // more than 16 bits
  for (size_t i = 0; i < rules.size(); ++i) EXPECT_EQ(Digest(rules[i]).cfa, Cfa::kSlow) << i;
  EXPECT_EQ(Digest(WithCfaExpression({0x77, 8, 0x06})).cfa, Cfa::kSlow);
  EXPECT_EQ(Digest(WithCfaExpression({})).cfa, Cfa::kSlow);
}

TEST(UnwindRuleTest, WithoutAReturnAddressIsTheRoot) {
  FrameRule rule = OrdinaryRule();
  rule[FrameRegister::kPc] = {.kind = Kind::kUndefined};
  rule.cfa = {.kind = Kind::kUnknown};
  EXPECT_TRUE(rule.IsUsable());
  EXPECT_EQ(Digest(rule).cfa, Cfa::kRoot);
}

TEST(UnwindRuleTest, WhatOnlyAScratchRegisterKnowsLeadsNowhere) {
  FrameRule rule = OrdinaryRule();
  rule.cfa = {.kind = Kind::kUnknown};
  EXPECT_FALSE(rule.IsUsable());
  EXPECT_EQ(Digest(rule).cfa, Cfa::kNone);

  rule = OrdinaryRule();
  rule[FrameRegister::kPc] = {.kind = Kind::kUnknown};
  EXPECT_EQ(Digest(rule).cfa, Cfa::kNone);
  rule[FrameRegister::kPc] = {.kind = Kind::kSame};  // never given
  EXPECT_EQ(Digest(rule).cfa, Cfa::kNone);
}

}  // namespace
}  // namespace fiberscope
