// How to get from a frame to its caller: the complete rule, and the 16-byte digest that nearly every frame needs.
//
// A FrameRule says for each register that a call preserves where the caller's value is. It is complete and 88 bytes. An
// UnwindRule says the same for three registers (pc, sp, rbp) and only in the forms that compilers and linkers emit; all
// else is kSlow there, and the walk starts over by complete rules. A table has hundreds of each; in a program of
// compiled code a few per thousand of the instructions are kSlow (hand-written assembly).
#ifndef FIBERSCOPE_RUNTIME_UNWIND_UNWIND_RULE_H_
#define FIBERSCOPE_RUNTIME_UNWIND_UNWIND_RULE_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#ifndef __x86_64__
#error "runtime/unwind knows x86-64 only: port FrameRegister, FromDwarf, Registers and capture_registers_*.S"
#endif

namespace fiberscope {

// In the order of struct Registers.
enum class FrameRegister : uint8_t { kPc, kSp, kRbp, kRbx, kR12, kR13, kR14, kR15 };
inline constexpr size_t kFrameRegisterCount = 8;

// The values of all frame registers, by FrameRegister.
using FrameRegisters = std::array<uintptr_t, kFrameRegisterCount>;

// Which of them are known.
class KnownRegisters {
 public:
  static constexpr KnownRegisters All() { return KnownRegisters(0xff); }
  static constexpr KnownRegisters PcAndSp() {
    return KnownRegisters(1 << static_cast<int>(FrameRegister::kPc) | 1 << static_cast<int>(FrameRegister::kSp));
  }
  constexpr bool Has(FrameRegister r) const { return (bits_ >> static_cast<int>(r) & 1) != 0; }
  constexpr void Set(FrameRegister r, bool known) {
    const auto bit = static_cast<uint8_t>(1 << static_cast<int>(r));
    bits_ = static_cast<uint8_t>(known ? bits_ | bit : bits_ & ~bit);
  }
  bool operator==(const KnownRegisters&) const = default;

 private:
  explicit constexpr KnownRegisters(int bits) : bits_(static_cast<uint8_t>(bits)) {}
  uint8_t bits_;
};

// DWARF's number for the register, x86-64 psABI figure 3.36; nothing for those that no rule can restore.
constexpr std::optional<FrameRegister> FromDwarf(uint64_t number) {
  switch (number) {
    case 3:
      return FrameRegister::kRbx;
    case 6:
      return FrameRegister::kRbp;
    case 7:
      return FrameRegister::kSp;
    case 12:
      return FrameRegister::kR12;
    case 13:
      return FrameRegister::kR13;
    case 14:
      return FrameRegister::kR14;
    case 15:
      return FrameRegister::kR15;
    case 16:
      return FrameRegister::kPc;
    default:
      return std::nullopt;
  }
}
inline constexpr uint64_t kDwarfReturnAddress = 16;

// Where the caller's value of one register is. CFA, the canonical frame address, is the caller's stack pointer just
// before its call: the fixed point that all offsets of a frame refer to.
struct RegisterSource {
  enum class Kind : uint8_t {
    kUndefined,     // nowhere: the caller does not need it; for the return address: there is no caller
    kUnknown,       // in a scratch register, which a walk does not have
    kSame,          // untouched
    kAtCfa,         // in memory at CFA + offset
    kCfaPlus,       // CFA + offset
    kRegisterPlus,  // base + offset
    kAtExpression,  // in memory at the address that a DWARF expression yields
    kExpression,    // what a DWARF expression yields
  };
  Kind kind = Kind::kUndefined;
  FrameRegister base = FrameRegister::kPc;
  uint16_t expression_bytes = 0;
  int32_t offset = 0;  // kAtExpression, kExpression: of the expression in its pool

  bool operator==(const RegisterSource&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const RegisterSource& s) {
    return H::combine(std::move(h), std::bit_cast<uint64_t>(s));
  }
};

struct FrameRule {
  RegisterSource cfa = {.kind = RegisterSource::Kind::kUnknown};  // or kRegisterPlus, or kExpression
  std::array<RegisterSource, kFrameRegisterCount> registers;
  bool signal_frame = false;             // the caller was interrupted: its pc is exact
  const uint8_t* expressions = nullptr;  // the table's pool; set when the table is complete

  const RegisterSource& operator[](FrameRegister r) const { return registers[static_cast<size_t>(r)]; }
  RegisterSource& operator[](FrameRegister r) { return registers[static_cast<size_t>(r)]; }
  std::span<const uint8_t> Expression(const RegisterSource& source) const {
    return {expressions + source.offset, source.expression_bytes};
  }

  // Whether the rule leads to the caller, or says for certain that there is none.
  bool IsUsable() const {
    const auto pc = (*this)[FrameRegister::kPc].kind;
    if (pc == RegisterSource::Kind::kUndefined) return true;
    return cfa.kind != RegisterSource::Kind::kUnknown && pc != RegisterSource::Kind::kUnknown &&
           pc != RegisterSource::Kind::kSame;
  }

  bool operator==(const FrameRule&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const FrameRule& r) {
    return H::combine(std::move(h), r.cfa, r.registers, r.signal_frame);
  }
};

struct UnwindRule {
  enum class Cfa : uint8_t {
    kNone,     // no way on
    kRoot,     // no caller
    kSpPlus,   // sp + offset
    kRbpPlus,  // rbp + offset
    kAtRbp,    // in memory at rbp + offset: frames aligned beyond 16 bytes
    kPlt,      // sp + 8, and 8 more from byte `offset` of the 16-byte slot on: lazy binding has pushed its argument
    kSlow,     // see `complete`
  };
  enum class Rbp : uint8_t { kSame, kAtCfa, kAtRbp };

  const FrameRule* complete = nullptr;
  int32_t cfa_offset = 0;
  int16_t rbp_offset = 0;
  Cfa cfa = Cfa::kNone;
  Rbp rbp = Rbp::kSame;
};
static_assert(sizeof(UnwindRule) == 16, "four rules in a cache line");

// The digest of `rule`, whose expressions must be set and which must outlive the result. kNone if it is not usable.
UnwindRule Digest(const FrameRule& rule);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_UNWIND_RULE_H_
