#include "runtime/unwind/dwarf_expression.h"

#include <array>
#include <cstddef>

#include "runtime/unwind/dwarf_reader.h"

namespace fiberscope {
namespace {

// Branches can loop; the longest expression in use has 11 operations and no branch.
constexpr int kMaxOperations = 256;
constexpr size_t kMaxDepth = 32;

// DWARF 5 table 7.9.
enum Op : uint8_t {
  kAddr = 0x03,
  kDeref = 0x06,
  kConst1u = 0x08,
  kConst1s = 0x09,
  kConst2u = 0x0a,
  kConst2s = 0x0b,
  kConst4u = 0x0c,
  kConst4s = 0x0d,
  kConst8u = 0x0e,
  kConst8s = 0x0f,
  kConstu = 0x10,
  kConsts = 0x11,
  kDup = 0x12,
  kDrop = 0x13,
  kOver = 0x14,
  kPick = 0x15,
  kSwap = 0x16,
  kRot = 0x17,
  kAbs = 0x19,
  kAnd = 0x1a,
  kDiv = 0x1b,
  kMinus = 0x1c,
  kMod = 0x1d,
  kMul = 0x1e,
  kNeg = 0x1f,
  kNot = 0x20,
  kOr = 0x21,
  kPlus = 0x22,
  kPlusUconst = 0x23,
  kShl = 0x24,
  kShr = 0x25,
  kShra = 0x26,
  kXor = 0x27,
  kBra = 0x28,
  kEq = 0x29,
  kGe = 0x2a,
  kGt = 0x2b,
  kLe = 0x2c,
  kLt = 0x2d,
  kNe = 0x2e,
  kSkip = 0x2f,
  kLit0 = 0x30,
  kLit31 = 0x4f,
  kBreg0 = 0x70,
  kBreg31 = 0x8f,
  kBregx = 0x92,
  kDerefSize = 0x94,
  kNop = 0x96,
};

class Evaluator {
 public:
  Evaluator(std::span<const uint8_t> expression, const FrameRegisters& registers, KnownRegisters known,
            const StackMemory& readable)
      : expression_(expression), reader_(expression), registers_(registers), known_(known), readable_(readable) {}

  std::optional<uintptr_t> Run(std::optional<uintptr_t> initial) {
    if (initial) Push(*initial);
    for (int i = 0; ok_ && reader_.ok() && !reader_.AtEnd(); ++i) {
      if (i == kMaxOperations) return std::nullopt;
      Execute(reader_.Read<uint8_t>());
    }
    const uintptr_t result = Pop();
    if (!ok_ || !reader_.ok()) return std::nullopt;
    return result;
  }

 private:
  void Execute(uint8_t op) {
    if (op >= kLit0 && op <= kLit31) return Push(op - kLit0);
    if (op >= kBreg0 && op <= kBreg31) return PushRegister(op - kBreg0);
    if (op == kAbs || op == kNeg || op == kNot || op == kPlusUconst) return Unary(op);
    if (op >= kAnd && op <= kNe && op != kBra) return Binary(op);
    if (op >= kConst1u && op <= kConsts) return PushConstant(op);
    if (op >= kDup && op <= kRot) return Rearrange(op);
    switch (op) {
      case kAddr:
        return Push(reader_.Read<uint64_t>());
      case kDeref:
        return Push(Load(Pop(), sizeof(uintptr_t)));
      case kDerefSize:
        return Push(Load(Pop(), reader_.Read<uint8_t>()));
      case kBregx:
        return PushRegister(reader_.ReadUleb128());
      case kSkip:
        return Branch(reader_.Read<int16_t>());
      case kBra: {
        const int16_t distance = reader_.Read<int16_t>();
        if (Pop() != 0) Branch(distance);
        return;
      }
      case kNop:
        return;
      default:
        return Fail();
    }
  }

  void PushConstant(uint8_t op) {
    switch (op) {
      case kConst1u:
        return Push(reader_.Read<uint8_t>());
      case kConst1s:
        return Push(static_cast<uintptr_t>(int64_t{reader_.Read<int8_t>()}));
      case kConst2u:
        return Push(reader_.Read<uint16_t>());
      case kConst2s:
        return Push(static_cast<uintptr_t>(int64_t{reader_.Read<int16_t>()}));
      case kConst4u:
        return Push(reader_.Read<uint32_t>());
      case kConst4s:
        return Push(static_cast<uintptr_t>(int64_t{reader_.Read<int32_t>()}));
      case kConst8u:
      case kConst8s:
        return Push(reader_.Read<uint64_t>());
      case kConstu:
        return Push(reader_.ReadUleb128());
      default:  // kConsts
        return Push(static_cast<uintptr_t>(reader_.ReadSleb128()));
    }
  }

  void Rearrange(uint8_t op) {
    switch (op) {
      case kDup:
        return Push(Peek(0));
      case kDrop:
        Pop();
        return;
      case kOver:
        return Push(Peek(1));
      case kPick:
        return Push(Peek(reader_.Read<uint8_t>()));
      case kSwap: {
        const uintptr_t first = Pop();
        const uintptr_t second = Pop();
        Push(first);
        return Push(second);
      }
      default: {  // kRot: the top one goes below the next two
        const uintptr_t first = Pop();
        const uintptr_t second = Pop();
        const uintptr_t third = Pop();
        Push(first);
        Push(third);
        return Push(second);
      }
    }
  }

  void Unary(uint8_t op) {
    const uintptr_t value = Pop();
    switch (op) {
      case kAbs:
        return Push(static_cast<intptr_t>(value) < 0 ? 0 - value : value);
      case kNeg:
        return Push(0 - value);
      case kNot:
        return Push(~value);
      default:  // kPlusUconst
        return Push(value + reader_.ReadUleb128());
    }
  }

  // Arithmetic is modulo 2^64; comparisons, division and shra are signed, mod is not (DWARF 5 section 2.5.1.4).
  void Binary(uint8_t op) {
    const uintptr_t right = Pop();
    const uintptr_t left = Pop();
    const auto signed_right = static_cast<intptr_t>(right);
    const auto signed_left = static_cast<intptr_t>(left);
    switch (op) {
      case kAnd:
        return Push(left & right);
      case kDiv:
        if (right == 0) return Fail();
        return Push(signed_right == -1 ? 0 - left : static_cast<uintptr_t>(signed_left / signed_right));
      case kMinus:
        return Push(left - right);
      case kMod:
        return right == 0 ? Fail() : Push(left % right);
      case kMul:
        return Push(left * right);
      case kOr:
        return Push(left | right);
      case kPlus:
        return Push(left + right);
      case kShl:
        return Push(right < 64 ? left << right : 0);
      case kShr:
        return Push(right < 64 ? left >> right : 0);
      case kShra:
        return Push(static_cast<uintptr_t>(signed_left >> (right < 64 ? right : 63)));
      case kXor:
        return Push(left ^ right);
      case kEq:
        return Push(left == right);
      case kGe:
        return Push(signed_left >= signed_right);
      case kGt:
        return Push(signed_left > signed_right);
      case kLe:
        return Push(signed_left <= signed_right);
      case kLt:
        return Push(signed_left < signed_right);
      case kNe:
        return Push(left != right);
      default:
        return Fail();
    }
  }

  void PushRegister(uint64_t dwarf_register) {
    const int64_t offset = reader_.ReadSleb128();
    const auto frame_register = FromDwarf(dwarf_register);
    if (!frame_register || !known_.Has(*frame_register)) return Fail();
    Push(registers_[static_cast<size_t>(*frame_register)] + static_cast<uintptr_t>(offset));
  }

  uintptr_t Load(uintptr_t address, size_t bytes) {
    const bool is_size = bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
    if (!is_size || address % sizeof(uintptr_t) != 0 || !readable_.bounds.ContainsWord(address)) {
      Fail();
      return 0;
    }
    const uintptr_t word = readable_.Load(address);
    return bytes == sizeof(word) ? word : word & ((uintptr_t{1} << (8 * bytes)) - 1);
  }

  // `distance` counts from behind the branch, which is where the reader stands.
  void Branch(int16_t distance) {
    if (!reader_.ok()) return;
    const int64_t target = (reader_.position() - expression_.data()) + int64_t{distance};
    if (target < 0 || target > static_cast<int64_t>(expression_.size())) return Fail();
    reader_ = DwarfReader(expression_.subspan(static_cast<size_t>(target)));
  }

  void Push(uintptr_t value) {
    if (depth_ == kMaxDepth) return Fail();
    stack_[depth_++] = value;
  }

  uintptr_t Peek(size_t below_top) {
    if (below_top >= depth_) {
      Fail();
      return 0;
    }
    return stack_[depth_ - 1 - below_top];
  }

  uintptr_t Pop() {
    const uintptr_t value = Peek(0);
    if (depth_ > 0) --depth_;
    return value;
  }

  void Fail() { ok_ = false; }

  const std::span<const uint8_t> expression_;
  DwarfReader reader_;
  const FrameRegisters& registers_;
  const KnownRegisters known_;
  const StackMemory readable_;
  std::array<uintptr_t, kMaxDepth> stack_;
  size_t depth_ = 0;
  bool ok_ = true;
};

}  // namespace

std::optional<uintptr_t> EvaluateExpression(std::span<const uint8_t> expression, const FrameRegisters& registers,
                                            const StackMemory& readable, std::optional<uintptr_t> initial,
                                            KnownRegisters known) {
  return Evaluator(expression, registers, known, readable).Run(initial);
}

}  // namespace fiberscope
