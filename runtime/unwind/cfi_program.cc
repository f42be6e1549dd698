#include "runtime/unwind/cfi_program.h"

#include <utility>

#include "runtime/unwind/dwarf_reader.h"

namespace fiberscope {
namespace {

using Kind = RegisterSource::Kind;

// DWARF 5 table 7.29. In the first three the low six bits are the operand.
enum CfaOp : uint8_t {
  kAdvanceLoc = 0x40,
  kOffset = 0x80,
  kRestore = 0xc0,
  kNop = 0x00,
  kSetLoc = 0x01,
  kAdvanceLoc1 = 0x02,
  kAdvanceLoc2 = 0x03,
  kAdvanceLoc4 = 0x04,
  kOffsetExtended = 0x05,
  kRestoreExtended = 0x06,
  kUndefined = 0x07,
  kSameValue = 0x08,
  kRegister = 0x09,
  kRememberState = 0x0a,
  kRestoreState = 0x0b,
  kDefCfa = 0x0c,
  kDefCfaRegister = 0x0d,
  kDefCfaOffset = 0x0e,
  kDefCfaExpression = 0x0f,
  kExpression = 0x10,
  kOffsetExtendedSf = 0x11,
  kDefCfaSf = 0x12,
  kDefCfaOffsetSf = 0x13,
  kValOffset = 0x14,
  kValOffsetSf = 0x15,
  kValExpression = 0x16,
  kGnuArgsSize = 0x2e,
  kGnuNegativeOffsetExtended = 0x2f,
};

// Compilers nest two deep. Bounds the memory that hostile bytes can ask for.
constexpr size_t kMaxRememberedStates = 32;
constexpr size_t kMaxExpressionBytes = 1024;
constexpr size_t kMaxPoolBytes = size_t{1} << 24;

// Runs CFI instructions over one rule. Used twice: for a CIE's initial rule, and for the rows of an FDE.
class CfiInterpreter {
 public:
  CfiInterpreter(std::span<const uint8_t> program, const Cie& cie, ExpressionPool& expressions)
      : reader_(program), cie_(cie), expressions_(expressions), rule_(cie.initial) {}

  // Executes instructions until the address moves up or the program ends; rule() is what held at the old address.
  // False: malformed.
  bool RunToNextAddress(uintptr_t& address);

  const FrameRule& rule() const { return rule_; }

 private:
  // What an instruction did; the two kinds of end are told apart because only one is an error.
  enum class Outcome : uint8_t { kNextInstruction, kAddressMoved, kMalformed };

  Outcome Execute(uintptr_t& address);
  Outcome Advance(uintptr_t& address, uint64_t units);
  Outcome SetLocation(uintptr_t& address, uint64_t destination);
  Outcome SetOffset(uint64_t dwarf_register, Kind kind, uint64_t factored);
  Outcome SetExpression(uint64_t dwarf_register, Kind kind);
  Outcome SetSource(uint64_t dwarf_register, const RegisterSource& source);
  Outcome Restore(uint64_t dwarf_register);
  Outcome DefineCfa(uint64_t dwarf_register, int64_t offset);
  Outcome DefineCfaRegister(uint64_t dwarf_register);
  Outcome DefineCfaOffset(int64_t offset);
  Outcome DefineCfaExpression();
  Outcome RestoreState();
  bool ReadExpression(RegisterSource& source);
  // `factored` times the data alignment; nothing when no stack frame is that large.
  std::optional<int32_t> Scale(uint64_t factored) const;

  DwarfReader reader_;
  const Cie& cie_;
  ExpressionPool& expressions_;
  FrameRule rule_;
  std::vector<FrameRule> remembered_;
};

bool CfiInterpreter::RunToNextAddress(uintptr_t& address) {
  while (!reader_.AtEnd()) {
    const Outcome outcome = Execute(address);
    if (outcome == Outcome::kMalformed || !reader_.ok()) return false;
    if (outcome == Outcome::kAddressMoved) return true;
  }
  return reader_.ok();
}

CfiInterpreter::Outcome CfiInterpreter::Execute(uintptr_t& address) {
  const uint8_t op = reader_.Read<uint8_t>();
  const uint8_t operand = op & 0x3f;
  switch (op & 0xc0) {
    case kAdvanceLoc:
      return Advance(address, operand);
    case kOffset:
      return SetOffset(operand, Kind::kAtCfa, reader_.ReadUleb128());
    case kRestore:
      return Restore(operand);
    default:
      break;
  }
  switch (op) {
    case kNop:
      return Outcome::kNextInstruction;
    case kSetLoc:
      return SetLocation(address, reader_.ReadPointer(cie_.pointer_encoding));
    case kAdvanceLoc1:
      return Advance(address, reader_.Read<uint8_t>());
    case kAdvanceLoc2:
      return Advance(address, reader_.Read<uint16_t>());
    case kAdvanceLoc4:
      return Advance(address, reader_.Read<uint32_t>());
    case kDefCfaExpression:
      return DefineCfaExpression();
    case kRememberState:
      if (remembered_.size() == kMaxRememberedStates) return Outcome::kMalformed;
      remembered_.push_back(rule_);
      return Outcome::kNextInstruction;
    case kRestoreState:
      return RestoreState();
    case kDefCfaOffset:
      return DefineCfaOffset(static_cast<int64_t>(reader_.ReadUleb128()));
    case kDefCfaOffsetSf: {
      const auto offset = Scale(static_cast<uint64_t>(reader_.ReadSleb128()));
      return offset ? DefineCfaOffset(*offset) : Outcome::kMalformed;
    }
    case kGnuArgsSize:  // what a landing pad pops; nothing to us
      reader_.ReadUleb128();
      return Outcome::kNextInstruction;
    default:
      break;
  }
  const uint64_t dwarf_register = reader_.ReadUleb128();
  switch (op) {
    case kOffsetExtended:
      return SetOffset(dwarf_register, Kind::kAtCfa, reader_.ReadUleb128());
    case kOffsetExtendedSf:
      return SetOffset(dwarf_register, Kind::kAtCfa, static_cast<uint64_t>(reader_.ReadSleb128()));
    case kGnuNegativeOffsetExtended:
      return SetOffset(dwarf_register, Kind::kAtCfa, 0 - reader_.ReadUleb128());
    case kValOffset:
      return SetOffset(dwarf_register, Kind::kCfaPlus, reader_.ReadUleb128());
    case kValOffsetSf:
      return SetOffset(dwarf_register, Kind::kCfaPlus, static_cast<uint64_t>(reader_.ReadSleb128()));
    case kExpression:
      return SetExpression(dwarf_register, Kind::kAtExpression);
    case kValExpression:
      return SetExpression(dwarf_register, Kind::kExpression);
    case kRestoreExtended:
      return Restore(dwarf_register);
    case kUndefined:
      return SetSource(dwarf_register, {.kind = Kind::kUndefined});
    case kSameValue:
      return SetSource(dwarf_register, {.kind = Kind::kSame});
    case kRegister: {
      const auto base = FromDwarf(reader_.ReadUleb128());
      return SetSource(dwarf_register, base ? RegisterSource{.kind = Kind::kRegisterPlus, .base = *base}
                                            : RegisterSource{.kind = Kind::kUnknown});
    }
    case kDefCfa:
      return DefineCfa(dwarf_register, static_cast<int64_t>(reader_.ReadUleb128()));
    case kDefCfaSf: {
      const auto offset = Scale(static_cast<uint64_t>(reader_.ReadSleb128()));
      return offset ? DefineCfa(dwarf_register, *offset) : Outcome::kMalformed;
    }
    case kDefCfaRegister:
      return DefineCfaRegister(dwarf_register);
    default:
      return Outcome::kMalformed;
  }
}

CfiInterpreter::Outcome CfiInterpreter::Advance(uintptr_t& address, uint64_t units) {
  uint64_t bytes;
  if (__builtin_mul_overflow(units, cie_.code_alignment, &bytes)) return Outcome::kMalformed;
  uint64_t destination;
  if (__builtin_add_overflow(address, bytes, &destination)) return Outcome::kMalformed;
  return SetLocation(address, destination);
}

CfiInterpreter::Outcome CfiInterpreter::SetLocation(uintptr_t& address, uint64_t destination) {
  if (destination < address) return Outcome::kMalformed;
  if (destination == address) return Outcome::kNextInstruction;
  address = destination;
  return Outcome::kAddressMoved;
}

std::optional<int32_t> CfiInterpreter::Scale(uint64_t factored) const {
  int32_t offset;
  if (__builtin_mul_overflow(static_cast<int64_t>(factored), cie_.data_alignment, &offset)) return std::nullopt;
  return offset;
}

CfiInterpreter::Outcome CfiInterpreter::SetOffset(uint64_t dwarf_register, Kind kind, uint64_t factored) {
  const auto offset = Scale(factored);
  return offset ? SetSource(dwarf_register, {.kind = kind, .offset = *offset}) : Outcome::kMalformed;
}

CfiInterpreter::Outcome CfiInterpreter::SetSource(uint64_t dwarf_register, const RegisterSource& source) {
  if (const auto known = FromDwarf(dwarf_register)) rule_[*known] = source;
  return Outcome::kNextInstruction;
}

CfiInterpreter::Outcome CfiInterpreter::Restore(uint64_t dwarf_register) {
  if (const auto known = FromDwarf(dwarf_register)) rule_[*known] = cie_.initial[*known];
  return Outcome::kNextInstruction;
}

CfiInterpreter::Outcome CfiInterpreter::SetExpression(uint64_t dwarf_register, Kind kind) {
  RegisterSource source{.kind = kind};
  return ReadExpression(source) ? SetSource(dwarf_register, source) : Outcome::kMalformed;
}

bool CfiInterpreter::ReadExpression(RegisterSource& source) {
  const auto expression = reader_.ReadBytes(reader_.ReadUleb128());
  return reader_.ok() && expressions_.Add(expression, source);
}

CfiInterpreter::Outcome CfiInterpreter::DefineCfa(uint64_t dwarf_register, int64_t offset) {
  if (offset != static_cast<int32_t>(offset)) return Outcome::kMalformed;
  rule_.cfa = {.offset = static_cast<int32_t>(offset)};
  return DefineCfaRegister(dwarf_register);
}

// An unknown register leaves the CFA undefined and its offset in place: the next def_cfa_register may be to a known
// one.
CfiInterpreter::Outcome CfiInterpreter::DefineCfaRegister(uint64_t dwarf_register) {
  const int32_t offset = rule_.cfa.kind == Kind::kExpression ? 0 : rule_.cfa.offset;
  const auto base = FromDwarf(dwarf_register);
  rule_.cfa = base ? RegisterSource{.kind = Kind::kRegisterPlus, .base = *base, .offset = offset}
                   : RegisterSource{.kind = Kind::kUnknown, .offset = offset};
  return Outcome::kNextInstruction;
}

CfiInterpreter::Outcome CfiInterpreter::DefineCfaOffset(int64_t offset) {
  if (offset != static_cast<int32_t>(offset)) return Outcome::kMalformed;
  if (rule_.cfa.kind == Kind::kExpression) return Outcome::kMalformed;
  rule_.cfa.offset = static_cast<int32_t>(offset);
  return Outcome::kNextInstruction;
}

CfiInterpreter::Outcome CfiInterpreter::DefineCfaExpression() {
  RegisterSource source{.kind = Kind::kExpression};
  if (!ReadExpression(source)) return Outcome::kMalformed;
  rule_.cfa = source;
  return Outcome::kNextInstruction;
}

CfiInterpreter::Outcome CfiInterpreter::RestoreState() {
  if (remembered_.empty()) return Outcome::kMalformed;
  rule_ = remembered_.back();
  remembered_.pop_back();
  return Outcome::kNextInstruction;
}

// Before any instruction: a call preserves the callee-saved registers, and the caller's stack pointer is the CFA. No
// default exists for the return address; kSame marks it as not given.
FrameRule RuleBeforeAnyInstruction() {
  FrameRule rule;
  rule.registers.fill({.kind = Kind::kSame});
  rule[FrameRegister::kSp] = {.kind = Kind::kCfaPlus};
  return rule;
}

// The letters behind 'z' and their data. Unknown ones end the reading: 'z' gave the length, so the data can be skipped.
bool ParseAugmentation(std::string_view letters, std::span<const uint8_t> data, Cie& cie) {
  DwarfReader reader(data);
  for (const char letter : letters) {
    if (letter == 'R') {
      cie.pointer_encoding = reader.Read<uint8_t>();
    } else if (letter == 'L') {  // encoding of the language-specific data pointer in the FDEs
      reader.Read<uint8_t>();
    } else if (letter == 'P') {  // personality routine
      reader.ReadUnrelocated(reader.Read<uint8_t>());
    } else if (letter == 'S') {
      cie.initial.signal_frame = true;
    } else {
      break;
    }
  }
  return reader.ok();
}

}  // namespace

bool ExpressionPool::Add(std::span<const uint8_t> expression, RegisterSource& source) {
  if (expression.size() > kMaxExpressionBytes || bytes_.size() + expression.size() > kMaxPoolBytes) return false;
  const auto [entry, is_new] = offsets_.try_emplace(std::vector<uint8_t>(expression.begin(), expression.end()),
                                                    static_cast<int32_t>(bytes_.size()));
  if (is_new) bytes_.insert(bytes_.end(), expression.begin(), expression.end());
  source.offset = entry->second;
  source.expression_bytes = static_cast<uint16_t>(expression.size());
  return true;
}

std::optional<CfiRecord> ReadCfiRecord(std::span<const uint8_t> section) {
  DwarfReader reader(section);
  const uint32_t length = reader.Read<uint32_t>();
  if (length == 0 || length == 0xffffffff) return std::nullopt;
  DwarfReader record(reader.ReadBytes(length));
  CfiRecord result;
  result.next = reader.position();
  result.cie_field = record.position();
  result.cie_delta = record.Read<uint32_t>();
  result.body = record.rest();
  if (!reader.ok() || !record.ok()) return std::nullopt;
  return result;
}

std::optional<Cie> ParseCie(std::span<const uint8_t> body, ExpressionPool& expressions) {
  DwarfReader reader(body);
  const uint8_t version = reader.Read<uint8_t>();
  if (version != 1 && version != 3 && version != 4) return std::nullopt;
  const std::string_view augmentation = reader.ReadCString();
  if (version == 4) {
    const uint8_t address_bytes = reader.Read<uint8_t>();
    const uint8_t segment_selector_bytes = reader.Read<uint8_t>();
    if (address_bytes != sizeof(uintptr_t) || segment_selector_bytes != 0) return std::nullopt;
  }
  Cie cie;
  cie.initial = RuleBeforeAnyInstruction();
  cie.code_alignment = reader.ReadUleb128();
  cie.data_alignment = reader.ReadSleb128();
  if ((version == 1 ? reader.Read<uint8_t>() : reader.ReadUleb128()) != kDwarfReturnAddress) return std::nullopt;
  if (augmentation.starts_with('z')) {
    cie.has_augmentation = true;
    const auto data = reader.ReadBytes(reader.ReadUleb128());
    if (!ParseAugmentation(augmentation.substr(1), data, cie)) return std::nullopt;
  } else if (!augmentation.empty()) {
    return std::nullopt;
  }
  if (!reader.ok()) return std::nullopt;
  CfiInterpreter program(reader.rest(), cie, expressions);
  uintptr_t address = 0;
  // A CIE's program speaks of one instruction; there is no address to advance to.
  if (!program.RunToNextAddress(address) || address != 0) return std::nullopt;
  cie.initial = program.rule();
  return cie;
}

std::optional<Fde> ParseFde(std::span<const uint8_t> body, const Cie& cie) {
  DwarfReader reader(body);
  Fde fde;
  fde.begin = reader.ReadPointer(cie.pointer_encoding);
  const uint64_t bytes = reader.ReadUnrelocated(cie.pointer_encoding);
  if (cie.has_augmentation) reader.ReadBytes(reader.ReadUleb128());
  if (!reader.ok() || fde.begin == 0 || bytes == 0) return std::nullopt;
  if (__builtin_add_overflow(fde.begin, bytes, &fde.end)) return std::nullopt;
  fde.program = reader.rest();
  return fde;
}

bool RunCfiProgram(const Fde& fde, const Cie& cie, ExpressionPool& expressions, std::vector<CfiRow>& rows) {
  rows.clear();
  CfiInterpreter program(fde.program, cie, expressions);
  uintptr_t address = fde.begin;
  while (address < fde.end) {
    const uintptr_t begin = address;
    if (!program.RunToNextAddress(address)) {
      rows.clear();
      return false;
    }
    rows.push_back({begin, program.rule()});
    if (address == begin) break;  // the program has ended: the last rule holds to the end of the function
  }
  return true;
}

}  // namespace fiberscope
