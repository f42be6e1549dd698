// Reads the .eh_frame of loaded objects and compacts it into a RuleIndex.
//
// An object is found by its PT_GNU_EH_FRAME segment: .eh_frame_hdr, which points at .eh_frame and usually lists all
// functions. Of that list only the record addresses are used; where it is missing, .eh_frame is read from its start.
// Every read is bounded by the loadable segment that holds the bytes. A function whose record is malformed, or which
// claims addresses that are not code of its object, has no rule, and so have executable segments of 4 GiB and more;
// both are counted.
//
// Thread-compatible. Allocates. The objects must stay loaded during AddObject() and no longer.
#ifndef FIBERSCOPE_RUNTIME_UNWIND_UNWIND_TABLE_BUILDER_H_
#define FIBERSCOPE_RUNTIME_UNWIND_UNWIND_TABLE_BUILDER_H_

#include <link.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "runtime/unwind/cfi_program.h"
#include "runtime/unwind/rule_index.h"

namespace fiberscope {

class UnwindTableBuilder {
 public:
  UnwindTableBuilder();

  // Adds one object as dl_iterate_phdr describes it. No two objects may overlap.
  void AddObject(const dl_phdr_info& object);

  struct Counts {
    size_t objects = 0;
    size_t functions = 0;
    size_t refused = 0;  // functions and segments without a rule: malformed, or beyond a limit
  };
  const Counts& counts() const { return counts_; }

  // The finished index. The builder is empty afterwards.
  std::unique_ptr<const RuleIndex> Finish();

 private:
  using Section = std::span<const uint8_t>;  // from .eh_frame's first byte to the end of its segment
  struct Function {
    Fde fde;
    const Cie* cie;
  };

  static std::vector<uintptr_t> ScanForRecords(Section eh_frame);
  std::vector<Function> ParseFunctions(std::span<const uintptr_t> records, Section eh_frame);
  const Cie* FindCie(const CfiRecord& fde, Section eh_frame);
  void AddCode(uintptr_t begin, uintptr_t end, std::span<const Function> functions);
  void AddFunction(const RuleIndex::Range& range, size_t first_row, const Function& function);
  void AddRow(size_t first_row, uintptr_t offset, uint16_t rule);
  void AddPages(uint32_t size, size_t first_row);
  // The rule's number, 0 if it says nothing; 0 and counted as refused if there are too many rules.
  uint16_t Intern(const FrameRule& rule);

  std::unique_ptr<RuleIndex> index_;
  ExpressionPool expressions_;
  absl::flat_hash_map<FrameRule, uint16_t> rule_numbers_;
  absl::flat_hash_map<uintptr_t, std::unique_ptr<const Cie>> cies_;  // of the object being added; null: malformed
  std::vector<CfiRow> rows_;                                         // of the function being added
  Counts counts_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_UNWIND_TABLE_BUILDER_H_
