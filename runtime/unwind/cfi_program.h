// Call frame information: the byte programs in .eh_frame that say, for each instruction of a function, how to find the
// caller's registers.
//
//   .eh_frame   CIE  FDE FDE FDE  CIE  FDE ...       records, each with its length in front
//   CIE         what its FDEs share: alignment factors, pointer encoding, the program for a function's first
//   instruction FDE         one function: [begin, end), and a program that edits the rule while it advances through the
//   addresses
//
// Running an FDE's program unrolls it into rows: from this address on, this rule.
//
// Everything here takes bytes that may be anything. Reads stay inside the span given; time and memory are linear in its
// size; whatever is malformed or of unknown meaning makes the whole record nothing, never a guess.
//
// Format: DWARF 5 section 6.4, LSB 5.0 section 10.6 (.eh_frame), and the GNU augmentations "zPLRS".
//
// Thread-compatible. Not async-signal-safe (allocates).
#ifndef FIBERSCOPE_RUNTIME_UNWIND_CFI_PROGRAM_H_
#define FIBERSCOPE_RUNTIME_UNWIND_CFI_PROGRAM_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "runtime/unwind/unwind_rule.h"

namespace fiberscope {

// Copies of the DWARF expressions that rules refer to, each once: rules outlive the object that they were read from.
class ExpressionPool {
 public:
  // Sets the source's offset and size to those of a copy of `expression`. False: too long, or the pool is full.
  [[nodiscard]] bool Add(std::span<const uint8_t> expression, RegisterSource& source);
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
  std::map<std::vector<uint8_t>, int32_t> offsets_;
};

// One record: the bytes between its length and its end.
struct CfiRecord {
  std::span<const uint8_t> body;       // behind the CIE pointer
  const uint8_t* next = nullptr;       // where the following record starts
  const uint8_t* cie_field = nullptr;  // an FDE's CIE starts `cie_delta` bytes before this field; 0: this is a CIE
  uint32_t cie_delta = 0;
};
// The record at the start of `section`, or nothing: the terminator, a truncated record, or one in 64-bit DWARF (no
// linker writes that into .eh_frame, and the runtime that throws exceptions does not read it either).
std::optional<CfiRecord> ReadCfiRecord(std::span<const uint8_t> section);

struct Cie {
  uint64_t code_alignment = 1;
  int64_t data_alignment = 1;
  uint8_t pointer_encoding = 0;
  bool has_augmentation = false;  // FDEs have augmentation data to step over
  FrameRule initial;
};
std::optional<Cie> ParseCie(std::span<const uint8_t> body, ExpressionPool& expressions);

struct Fde {
  uintptr_t begin = 0;
  uintptr_t end = 0;  // > begin
  std::span<const uint8_t> program;
};
std::optional<Fde> ParseFde(std::span<const uint8_t> body, const Cie& cie);

struct CfiRow {
  uintptr_t begin;
  FrameRule rule;
};
// Replaces `rows` by those of the function, in rising order, the first at fde.begin, all below fde.end. False: the
// program is malformed, and `rows` is empty.
[[nodiscard]] bool RunCfiProgram(const Fde& fde, const Cie& cie, ExpressionPool& expressions,
                                 std::vector<CfiRow>& rows);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_CFI_PROGRAM_H_
