// A walk runs by digests (16-byte rules that know pc, sp and rbp). When it meets a frame that needs more, it starts
// over by complete rules, which keep all registers that a call preserves: the needed register may have been saved by
// any of the frames below, so there is no going on from the middle.
#include "runtime/unwind/unwinder.h"

#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <optional>

#include "runtime/unwind/digest_frame.h"
#include "runtime/unwind/dwarf_expression.h"
#include "runtime/unwind/unwind_rule.h"

namespace fiberscope {
namespace {

using internal::DigestFrame;
using internal::StackReader;
using internal::Step;

// capture_registers_x86_64.S writes these offsets.
static_assert(offsetof(Registers, pc) == 0 && offsetof(Registers, sp) == 8 && offsetof(Registers, rbp) == 16);
static_assert(offsetof(Registers, rbx) == 24 && offsetof(Registers, r12) == 32 && offsetof(Registers, r13) == 40);
static_assert(offsetof(Registers, r14) == 48 && offsetof(Registers, r15) == 56);
static_assert(offsetof(Registers, pc_is_exact) == 64 && sizeof(Registers) == 72);

// The part of a walk that keeps all registers a call preserves, and which of them it knows.
class CompleteFrame {
 public:
  CompleteFrame(const Registers& r, KnownRegisters known)
      : registers_{r.pc, r.sp, r.rbp, r.rbx, r.r12, r.r13, r.r14, r.r15}, known_(known), pc_is_exact_(r.pc_is_exact) {}

  uintptr_t pc() const { return Register(FrameRegister::kPc); }
  uintptr_t sp() const { return Register(FrameRegister::kSp); }
  bool pc_is_exact() const { return pc_is_exact_; }

  Step GoToCaller(const UnwindRule& digest, const StackReader& stack) {
    const FrameRule& rule = *digest.complete;
    if (rule[FrameRegister::kPc].kind == RegisterSource::Kind::kUndefined) return Step::kRoot;
    if (!rule.IsUsable()) return Step::kNoRule;
    uintptr_t cfa = 0;
    if (!Knows(rule.cfa)) return Step::kUnknownRegister;
    if (!Value(rule, rule.cfa, std::nullopt, stack, cfa)) return Failure(rule.cfa);
    FrameRegisters caller = registers_;
    KnownRegisters known = known_;
    for (size_t i = 0; i < kFrameRegisterCount; ++i) {
      const RegisterSource& source = rule.registers[i];
      if (source.kind == RegisterSource::Kind::kUnknown) return Step::kNoRule;
      if (source.kind == RegisterSource::Kind::kUndefined || source.kind == RegisterSource::Kind::kSame) continue;
      const bool is_known = Knows(source) && Value(rule, source, cfa, stack, caller[i]);
      if (!is_known && Failure(source) == Step::kBadFrame) return Step::kBadFrame;
      known.Set(static_cast<FrameRegister>(i), is_known);
    }
    if (!known.Has(FrameRegister::kPc) || !known.Has(FrameRegister::kSp)) return Step::kUnknownRegister;
    const uintptr_t caller_sp = caller[static_cast<size_t>(FrameRegister::kSp)];
    if (!stack.IsCallersSp(caller_sp, Register(FrameRegister::kSp), pc_is_exact_)) return Step::kBadFrame;
    registers_ = caller;
    known_ = known;
    pc_is_exact_ = rule.signal_frame;
    return Step::kCaller;
  }

 private:
  uintptr_t Register(FrameRegister r) const { return registers_[static_cast<size_t>(r)]; }

  // Whether `source` refers to nothing unknown. An expression finds out by itself.
  bool Knows(const RegisterSource& source) const {
    return source.kind != RegisterSource::Kind::kRegisterPlus || known_.Has(source.base);
  }
  // What it means that `source` could not be had. Of an expression it is not known what it missed.
  Step Failure(const RegisterSource& source) const {
    const bool is_expression =
        source.kind == RegisterSource::Kind::kAtExpression || source.kind == RegisterSource::Kind::kExpression;
    if (!Knows(source) || (is_expression && known_ != KnownRegisters::All())) return Step::kUnknownRegister;
    return Step::kBadFrame;
  }

  // Sets `value` to what `source` says; leaves it if that is nothing or no change.
  bool Value(const FrameRule& rule, const RegisterSource& source, std::optional<uintptr_t> cfa,
             const StackReader& stack, uintptr_t& value) const {
    const auto offset = static_cast<uintptr_t>(intptr_t{source.offset});
    switch (source.kind) {
      case RegisterSource::Kind::kUndefined:
      case RegisterSource::Kind::kSame:
        return true;
      case RegisterSource::Kind::kUnknown:
        return false;
      case RegisterSource::Kind::kAtCfa:
        return stack.Load(cfa.value_or(0) + offset, value);
      case RegisterSource::Kind::kCfaPlus:
        value = cfa.value_or(0) + offset;
        return true;
      case RegisterSource::Kind::kRegisterPlus:
        value = Register(source.base) + offset;
        return true;
      case RegisterSource::Kind::kAtExpression:
      case RegisterSource::Kind::kExpression: {
        const auto result = EvaluateExpression(rule.Expression(source), registers_, stack.readable(), cfa, known_);
        if (!result) return false;
        if (source.kind == RegisterSource::Kind::kAtExpression) return stack.Load(*result, value);
        value = *result;
        return true;
      }
    }
    return false;
  }

  FrameRegisters registers_;
  KnownRegisters known_;
  bool pc_is_exact_;
};

// How a walk ended; nothing if it needs all registers and does not have them.
template <typename Frame>
std::optional<UnwindResult> Walk(const UnwindTable& table, Frame frame, const StackReader& stack,
                                 std::span<uintptr_t> pcs, std::span<uintptr_t> sps = {}) {
  UnwindResult result;
  for (;;) {
    if (result.depth == pcs.size()) return UnwindResult{result.depth, UnwindEnd::kBufferFull};
    if (!sps.empty()) sps[result.depth] = frame.sp();
    pcs[result.depth++] = frame.pc();
    const UnwindRule* rule = table.Find(frame.pc_is_exact() ? frame.pc() : frame.pc() - 1);
    switch (rule == nullptr ? Step::kNoRule : frame.GoToCaller(*rule, stack)) {
      case Step::kCaller:
        if (frame.pc() == 0) return UnwindResult{result.depth, UnwindEnd::kRoot};
        break;
      case Step::kRoot:
        return UnwindResult{result.depth, UnwindEnd::kRoot};
      case Step::kNoRule:
        return UnwindResult{result.depth, UnwindEnd::kNoRule};
      case Step::kBadFrame:
        return UnwindResult{result.depth, UnwindEnd::kBadFrame};
      case Step::kUnknownRegister:
        return UnwindResult{result.depth, UnwindEnd::kUnknownRegister};
      case Step::kNeedsAllRegisters:
        return std::nullopt;
    }
  }
}

// What may be read: the stack from its pointer up, and below it what an interrupted leaf function keeps there.
StackMemory ReadablePart(const Registers& registers, StackMemory stack) {
  const uintptr_t red_zone = registers.pc_is_exact ? std::min(kRedZoneBytes, registers.sp) : 0;
  stack.bounds.low = std::max(stack.bounds.low, registers.sp - red_zone);
  return stack.bounds.low < stack.bounds.high ? stack : StackMemory();
}

}  // namespace

UnwindResult Unwind(const UnwindTable& table, const Registers& registers, const StackMemory& stack,
                    std::span<uintptr_t> pcs) {
  return UnwindWithSps(table, registers, stack, pcs, {});
}

UnwindResult UnwindWithSps(const UnwindTable& table, const Registers& registers, const StackMemory& stack,
                           std::span<uintptr_t> pcs, std::span<uintptr_t> sps) {
  const StackReader reader(ReadablePart(registers, stack));
  const DigestFrame digest(registers.pc, registers.sp, registers.rbp, registers.pc_is_exact);
  const auto result = Walk(table, digest, reader, pcs, sps);
  return result ? *result : *Walk(table, CompleteFrame(registers, KnownRegisters::All()), reader, pcs, sps);
}

UnwindResult UnwindFromPcAndSp(const UnwindTable& table, uintptr_t pc, uintptr_t sp, const StackMemory& stack,
                               std::span<uintptr_t> pcs) {
  const Registers registers{.pc = pc, .sp = sp, .pc_is_exact = true};
  const StackReader reader(ReadablePart(registers, stack));
  return *Walk(table, CompleteFrame(registers, KnownRegisters::PcAndSp()), reader, pcs);
}

Registers InterruptedRegisters(const void* context) {
  const auto& r = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  const auto value = [&r](int index) { return static_cast<uintptr_t>(r[index]); };
  return {.pc = value(REG_RIP),
          .sp = value(REG_RSP),
          .rbp = value(REG_RBP),
          .rbx = value(REG_RBX),
          .r12 = value(REG_R12),
          .r13 = value(REG_R13),
          .r14 = value(REG_R14),
          .r15 = value(REG_R15),
          .pc_is_exact = true};
}

}  // namespace fiberscope
