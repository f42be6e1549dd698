#include "runtime/unwind/cfi_program.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace fiberscope {
namespace {

using Bytes = std::vector<uint8_t>;
using Kind = RegisterSource::Kind;

constexpr uintptr_t kBegin = 0x400000;

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

template <typename Integer>
Bytes Raw(Integer value) {
  Bytes bytes(sizeof(value));
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

// Version 1, "zR" with absolute 8-byte pointers, code alignment 1, data alignment -8, return address in register 16;
// CFA = rsp + 8, return address at CFA - 8: what gcc writes, but for the pointers.
const Bytes kGccProgram = {0x0c, 7, 8, 0x90, 1};
Bytes CieBody(const Bytes& program = kGccProgram) { return Bytes{1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x00} + program; }

Bytes FdeBody(const Bytes& program, uint64_t size = 0x100) { return Raw(kBegin) + Raw(size) + Bytes{0} + program; }

// One row in the words of readelf: address relative to the function, CFA, then each register that is not untouched.
std::string Describe(const RegisterSource& source) {
  static constexpr const char* kNames[] = {"pc", "sp", "rbp", "rbx", "r12", "r13", "r14", "r15"};
  const std::string offset = (source.offset < 0 ? "" : "+") + std::to_string(source.offset);
  switch (source.kind) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kUnknown:
      return "unknown";
    case Kind::kSame:
      return "same";
    case Kind::kAtCfa:
      return "c" + offset;
    case Kind::kCfaPlus:
      return "v" + offset;
    case Kind::kRegisterPlus:
      return kNames[static_cast<size_t>(source.base)] + offset;
    case Kind::kAtExpression:
      return "exp" + std::to_string(source.expression_bytes);
    case Kind::kExpression:
      return "vexp" + std::to_string(source.expression_bytes);
  }
  return "?";
}

std::string Describe(const CfiRow& row) {
  static constexpr FrameRegister kShown[] = {FrameRegister::kRbx, FrameRegister::kRbp, FrameRegister::kR12,
                                             FrameRegister::kPc};
  std::string text = std::to_string(row.begin - kBegin) + ":" + Describe(row.rule.cfa);
  for (const FrameRegister r : kShown) text += " " + Describe(row.rule[r]);
  return text;
}

// The rows of a function with this program, or "malformed".
std::string Rows(const Bytes& program, uint64_t size = 0x100, const Bytes& cie_program = kGccProgram) {
  ExpressionPool expressions;
  const Bytes cie_body = CieBody(cie_program);
  const Bytes fde_body = FdeBody(program, size);
  const auto cie = ParseCie(cie_body, expressions);
  if (!cie) return "malformed CIE";
  const auto fde = ParseFde(fde_body, *cie);
  if (!fde) return "malformed FDE";
  std::vector<CfiRow> rows;
  if (!RunCfiProgram(*fde, *cie, expressions, rows)) return rows.empty() ? "malformed" : "malformed with rows";
  std::string text;
  for (const CfiRow& row : rows) text += (text.empty() ? "" : "; ") + Describe(row);
  return text;
}

TEST(CfiProgramTest, UnrollsAPrologueAndAnEpilogue) {
  // push %rbp; mov %rsp,%rbp; push %rbx; ...; leave; ret
  EXPECT_EQ(Rows({0x41, 0x0e, 16, 0x86, 2, 0x43, 0x0d, 6, 0x41, 0x83, 3, 0x02, 0x50, 0xc3, 0xc6, 0x0c, 7, 8}),
            "0:sp+8 same same same c-8; 1:sp+16 same c-16 same c-8; 4:rbp+16 same c-16 same c-8; "
            "5:rbp+16 c-24 c-16 same c-8; 85:sp+8 same same same c-8");
}

TEST(CfiProgramTest, KnowsEveryInstruction) {
  struct Case {
    const char* what;
    Bytes program;
    const char* rows;
  };
  const Case cases[] = {
      {"nothing", {}, "0:sp+8 same same same c-8"},
      {"nop, args_size", {0x00, 0x2e, 0x80, 1}, "0:sp+8 same same same c-8"},
      {"set_loc",
       {0x01, 0x10, 0, 0x40, 0, 0, 0, 0, 0, 0x0e, 16},
       "0:sp+8 same same same c-8; 16:sp+16 same same same c-8"},
      {"advance_loc2", {0x03, 0xf0, 0x00, 0x0e, 16}, "0:sp+8 same same same c-8; 240:sp+16 same same same c-8"},
      {"advance_loc4", {0x04, 0xf0, 0, 0, 0, 0x0e, 16}, "0:sp+8 same same same c-8; 240:sp+16 same same same c-8"},
      {"offset_extended", {0x05, 12, 2}, "0:sp+8 same same c-16 c-8"},
      {"restore_extended", {0x05, 12, 2, 0x06, 12}, "0:sp+8 same same same c-8"},
      {"undefined return address", {0x07, 16}, "0:sp+8 same same same undefined"},
      {"same_value", {0x8c, 2, 0x08, 12}, "0:sp+8 same same same c-8"},
      {"register", {0x09, 16, 3}, "0:sp+8 same same same rbx+0"},
      {"scratch register", {0x09, 16, 0}, "0:sp+8 same same same unknown"},
      {"remember and restore", {0x0a, 0x0e, 16, 0x41, 0x0b}, "0:sp+16 same same same c-8; 1:sp+8 same same same c-8"},
      {"def_cfa of r10", {0x0c, 10, 0}, "0:unknown same same same c-8"},
      {"offset kept across r10", {0x0c, 10, 24, 0x0d, 6}, "0:rbp+24 same same same c-8"},
      {"def_cfa_expression", {0x0f, 3, 0x76, 0x78, 0x06}, "0:vexp3 same same same c-8"},
      {"expression", {0x10, 6, 2, 0x76, 0}, "0:sp+8 same exp2 same c-8"},
      {"offset_extended_sf", {0x11, 12, 0x7f}, "0:sp+8 same same c+8 c-8"},
      {"def_cfa_sf", {0x12, 6, 0x7e}, "0:rbp+16 same same same c-8"},
      {"def_cfa_offset_sf", {0x13, 0x7d}, "0:sp+24 same same same c-8"},
      {"val_offset", {0x14, 12, 1}, "0:sp+8 same same v-8 c-8"},
      {"val_offset_sf", {0x15, 12, 0x7f}, "0:sp+8 same same v+8 c-8"},
      {"val_expression", {0x16, 6, 2, 0x77, 8}, "0:sp+8 same vexp2 same c-8"},
      {"negative_offset_extended", {0x2f, 12, 1}, "0:sp+8 same same c+8 c-8"},
      {"registers that no walk needs", {0x80, 2, 0x05, 33, 4, 0x07, 17}, "0:sp+8 same same same c-8"},
      {"advance beyond the function", {0x04, 0, 1, 0, 0, 0x0e, 16}, "0:sp+8 same same same c-8"},
      {"advance by nothing", {0x40, 0x0e, 16}, "0:sp+16 same same same c-8"},
  };
  for (const Case& c : cases) EXPECT_EQ(Rows(c.program), c.rows) << c.what;
}

TEST(CfiProgramTest, RefusesWhatMakesNoSense) {
  const std::pair<const char*, Bytes> cases[] = {
      {"unknown instruction", {0x3f}},
      {"GNU_window_save, which is SPARC's", {0x2d}},
      {"truncated operand", {0x04, 0, 1}},
      {"offset without its number", {0x83}},
      {"restore_state without remember_state", {0x0b}},
      {"set_loc backwards", {0x41, 0x01, 0, 0, 0x40, 0, 0, 0, 0, 0}},
      {"expression longer than the program", {0x0f, 40, 0x77}},
      {"offset of 2^35", {0x8c, 0x80, 0x80, 0x80, 0x80, 0x80, 1}},
      {"CFA offset of 2^35", {0x0e, 0x80, 0x80, 0x80, 0x80, 0x80, 1}},
      {"CFA offset beside an expression", {0x0f, 2, 0x77, 8, 0x0e, 8}},
      {"33 states remembered", Bytes(33, 0x0a)},
  };
  for (const auto& [what, program] : cases) EXPECT_EQ(Rows(program), "malformed") << what;
}

TEST(CfiProgramTest, EqualExpressionsAreKeptOnce) {
  ExpressionPool pool;
  RegisterSource first, second, third;
  EXPECT_TRUE(pool.Add(Bytes{0x77, 8}, first));
  EXPECT_TRUE(pool.Add(Bytes{0x76, 8}, second));
  EXPECT_TRUE(pool.Add(Bytes{0x77, 8}, third));
  EXPECT_EQ(first, third);
  EXPECT_NE(first, second);
  EXPECT_EQ(pool.bytes(), (Bytes{0x77, 8, 0x76, 8}));
  EXPECT_FALSE(pool.Add(Bytes(5000, 0x96), first));
}

TEST(CfiProgramTest, ReadsTheAugmentationsOfCppCode) {
  ExpressionPool expressions;
  // "zPLRS": personality (4 bytes, indirect), LSDA encoding, pointer encoding; a signal frame.
  const Bytes body = Bytes{1, 'z', 'P', 'L', 'R', 'S', 0, 4, 0x78, 16, 7, 0x9b, 1, 2, 3, 4, 0x1b, 0x1b} + kGccProgram;
  const auto cie = ParseCie(body, expressions);
  ASSERT_TRUE(cie.has_value());
  EXPECT_EQ(cie->code_alignment, 4u);
  EXPECT_EQ(cie->data_alignment, -8);
  EXPECT_EQ(cie->pointer_encoding, 0x1b);
  EXPECT_TRUE(cie->has_augmentation);
  EXPECT_TRUE(cie->initial.signal_frame);
}

TEST(CfiProgramTest, RefusesCiesItDoesNotUnderstand) {
  const std::pair<const char*, Bytes> cases[] = {
      {"empty", {}},
      {"version 2", {2, 0, 1, 0x78, 16}},
      {"augmentation without length", {1, 'e', 'h', 0, 1, 0x78, 16}},
      {"augmentation without end", {1, 'z', 'R'}},
      {"return address in another register", {1, 0, 1, 0x78, 17}},
      {"version 4 with 4-byte addresses", {4, 0, 4, 0, 1, 0x78, 16}},
      {"version 4 with segments", {4, 0, 8, 1, 1, 0x78, 16}},
      {"augmentation data beyond the record", {1, 'z', 'R', 0, 1, 0x78, 16, 100, 0x1b}},
      {"a program that advances", {1, 0, 1, 0x78, 16, 0x41}},
  };
  for (const auto& [what, body] : cases) {
    ExpressionPool expressions;
    EXPECT_FALSE(ParseCie(body, expressions).has_value()) << what;
  }
}

TEST(CfiProgramTest, RefusesFunctionsWithoutCode) {
  EXPECT_EQ(Rows({}, 0), "malformed FDE");
  EXPECT_EQ(Rows({}, ~uint64_t{0}), "malformed FDE");
}

TEST(CfiProgramTest, RecordsEndAtTheTerminatorOrWhereTheyAreCutOff) {
  const Bytes record = Raw(uint32_t{6}) + Raw(uint32_t{0}) + Bytes{7, 8};
  const Bytes section = record + Raw(uint32_t{0});
  const auto cie = ReadCfiRecord(section);
  ASSERT_TRUE(cie.has_value());
  EXPECT_EQ(cie->cie_delta, 0u);
  EXPECT_EQ(cie->body.size(), 2u);
  EXPECT_EQ(cie->next, section.data() + record.size());
  EXPECT_FALSE(ReadCfiRecord({cie->next, 4}).has_value());
  EXPECT_FALSE(ReadCfiRecord(std::span(record).first(9)).has_value());
  EXPECT_FALSE(ReadCfiRecord(Raw(uint32_t{2}) + Bytes{0, 0}).has_value());
  EXPECT_FALSE(ReadCfiRecord(Raw(uint32_t{0xffffffff}) + Bytes(20, 0)).has_value());
  EXPECT_FALSE(ReadCfiRecord({}).has_value());
}

}  // namespace
}  // namespace fiberscope
