// One step of a walk from a frame to its caller by digests, the 16-byte rules that know pc, sp and rbp.
//
// For walks inside the runtime: unwinder.h is what to use elsewhere. Async-signal-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_UNWIND_DIGEST_FRAME_H_
#define FIBERSCOPE_RUNTIME_UNWIND_DIGEST_FRAME_H_

#include <cstdint>

#include "runtime/stack/stack_memory.h"
#include "runtime/unwind/unwind_rule.h"

namespace fiberscope::internal {

enum class Step : uint8_t { kCaller, kRoot, kNoRule, kBadFrame, kNeedsAllRegisters, kUnknownRegister };

// The words that a walk may read.
class StackReader {
 public:
  explicit StackReader(const StackMemory& readable) : readable_(readable) {}

  const StackMemory& readable() const { return readable_; }
  bool Load(uintptr_t address, uintptr_t& word) const {
    if (address % sizeof(word) != 0 || !readable_.bounds.ContainsWord(address)) return false;
    word = readable_.Load(address);
    return true;
  }
  // Frames lie above each other. Only an interrupted frame may be empty: its return address may be popped already.
  bool IsCallersSp(uintptr_t cfa, uintptr_t sp, bool pc_is_exact) const {
    return (pc_is_exact ? cfa >= sp : cfa > sp) && cfa <= readable_.bounds.high && cfa % sizeof(uintptr_t) == 0;
  }

 private:
  StackMemory readable_;
};

// The part of a walk that only knows three registers.
class DigestFrame {
 public:
  DigestFrame(uintptr_t pc, uintptr_t sp, uintptr_t rbp, bool pc_is_exact)
      : pc_(pc), sp_(sp), rbp_(rbp), pc_is_exact_(pc_is_exact) {}

  uintptr_t pc() const { return pc_; }
  uintptr_t sp() const { return sp_; }
  bool pc_is_exact() const { return pc_is_exact_; }

  Step GoToCaller(const UnwindRule& rule, const StackReader& stack) {
    uintptr_t cfa = 0;
    switch (rule.cfa) {
      case UnwindRule::Cfa::kSpPlus:
        cfa = sp_ + static_cast<intptr_t>(rule.cfa_offset);
        break;
      case UnwindRule::Cfa::kRbpPlus:
        cfa = rbp_ + static_cast<intptr_t>(rule.cfa_offset);
        break;
      case UnwindRule::Cfa::kAtRbp:
        if (!stack.Load(rbp_ + static_cast<intptr_t>(rule.cfa_offset), cfa)) return Step::kBadFrame;
        break;
      case UnwindRule::Cfa::kPlt:
        cfa = sp_ + 8 + ((pc_ & 15) >= static_cast<uintptr_t>(rule.cfa_offset) ? 8 : 0);
        break;
      case UnwindRule::Cfa::kRoot:
        return Step::kRoot;
      case UnwindRule::Cfa::kNone:
        return Step::kNoRule;
      case UnwindRule::Cfa::kSlow:
        return Step::kNeedsAllRegisters;
    }
    if (!stack.IsCallersSp(cfa, sp_, pc_is_exact_)) return Step::kBadFrame;
    if (rule.rbp != UnwindRule::Rbp::kSame) {
      const uintptr_t base = rule.rbp == UnwindRule::Rbp::kAtCfa ? cfa : rbp_;
      if (!stack.Load(base + static_cast<intptr_t>(rule.rbp_offset), rbp_)) return Step::kBadFrame;
    }
    if (!stack.Load(cfa - sizeof(uintptr_t), pc_)) return Step::kBadFrame;
    sp_ = cfa;
    pc_is_exact_ = false;
    return Step::kCaller;
  }

 private:
  uintptr_t pc_;
  uintptr_t sp_;
  uintptr_t rbp_;
  bool pc_is_exact_;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_UNWIND_DIGEST_FRAME_H_
