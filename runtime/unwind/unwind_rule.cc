#include "runtime/unwind/unwind_rule.h"

#include <limits>

#include "runtime/unwind/dwarf_reader.h"

namespace fiberscope {
namespace {

using Kind = RegisterSource::Kind;

constexpr uint8_t kOpDeref = 0x06;
constexpr uint8_t kOpLit0 = 0x30;
constexpr uint8_t kOpLit31 = 0x4f;
constexpr uint8_t kOpBregRbp = 0x76;

// What linkers write for .plt: rsp + 8 + (((rip & 15) >= N) << 3), with N = 11, or less where slots begin with endbr64.
std::optional<int32_t> PltThreshold(std::span<const uint8_t> expression) {
  constexpr uint8_t kPattern[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a, /* lit N */ 0, 0x2a, 0x33, 0x24, 0x22};
  constexpr size_t kThreshold = 6;
  if (expression.size() != sizeof(kPattern)) return std::nullopt;
  for (size_t i = 0; i < sizeof(kPattern); ++i) {
    if (i != kThreshold && expression[i] != kPattern[i]) return std::nullopt;
  }
  const uint8_t op = expression[kThreshold];
  if (op < kOpLit0 || op > kOpLit31) return std::nullopt;
  return op - kOpLit0;
}

// The offset in "rbp + offset", followed by a dereference or by nothing as asked.
std::optional<int32_t> RbpOffset(std::span<const uint8_t> expression, bool dereferenced) {
  DwarfReader reader(expression);
  if (reader.Read<uint8_t>() != kOpBregRbp) return std::nullopt;
  const int64_t offset = reader.ReadSleb128();
  if (dereferenced && reader.Read<uint8_t>() != kOpDeref) return std::nullopt;
  if (!reader.ok() || !reader.AtEnd() || offset != static_cast<int32_t>(offset)) return std::nullopt;
  return static_cast<int32_t>(offset);
}

bool DigestCfa(const FrameRule& rule, UnwindRule& digest) {
  digest.cfa_offset = rule.cfa.offset;
  if (rule.cfa.kind == Kind::kRegisterPlus) {
    if (rule.cfa.base == FrameRegister::kSp) {
      digest.cfa = UnwindRule::Cfa::kSpPlus;
      return true;
    }
    digest.cfa = UnwindRule::Cfa::kRbpPlus;
    return rule.cfa.base == FrameRegister::kRbp;
  }
  if (rule.cfa.kind != Kind::kExpression) return false;
  if (const auto threshold = PltThreshold(rule.Expression(rule.cfa))) {
    digest.cfa = UnwindRule::Cfa::kPlt;
    digest.cfa_offset = *threshold;
    return true;
  }
  if (const auto offset = RbpOffset(rule.Expression(rule.cfa), /*dereferenced=*/true)) {
    digest.cfa = UnwindRule::Cfa::kAtRbp;
    digest.cfa_offset = *offset;
    return true;
  }
  return false;
}

bool DigestRbp(const FrameRule& rule, UnwindRule& digest) {
  const RegisterSource& rbp = rule[FrameRegister::kRbp];
  std::optional<int32_t> offset;
  switch (rbp.kind) {
    case Kind::kSame:
    case Kind::kUndefined:  // the caller does not use it, and no other value is better than this one
      digest.rbp = UnwindRule::Rbp::kSame;
      return true;
    case Kind::kAtCfa:
      digest.rbp = UnwindRule::Rbp::kAtCfa;
      offset = rbp.offset;
      break;
    case Kind::kAtExpression:
      digest.rbp = UnwindRule::Rbp::kAtRbp;
      offset = RbpOffset(rule.Expression(rbp), /*dereferenced=*/false);
      break;
    default:
      break;
  }
  if (!offset || *offset != static_cast<int16_t>(*offset)) return false;
  digest.rbp_offset = static_cast<int16_t>(*offset);
  return true;
}

// The return address just below the CFA and the stack pointer equal to it: what every `call` leaves.
bool IsOrdinaryCall(const FrameRule& rule) {
  const RegisterSource& pc = rule[FrameRegister::kPc];
  const RegisterSource& sp = rule[FrameRegister::kSp];
  return !rule.signal_frame && pc.kind == Kind::kAtCfa && pc.offset == -8 && sp.kind == Kind::kCfaPlus &&
         sp.offset == 0;
}

}  // namespace

UnwindRule Digest(const FrameRule& rule) {
  UnwindRule digest;
  if (rule[FrameRegister::kPc].kind == Kind::kUndefined) {
    digest.cfa = UnwindRule::Cfa::kRoot;
  } else if (rule.IsUsable()) {
    if (!IsOrdinaryCall(rule) || !DigestCfa(rule, digest) || !DigestRbp(rule, digest)) {
      digest = UnwindRule{};
      digest.cfa = UnwindRule::Cfa::kSlow;
    }
  }
  digest.complete = &rule;
  return digest;
}

}  // namespace fiberscope
