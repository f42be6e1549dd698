#include "runtime/unwind/unwind_table_builder.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "runtime/unwind/dwarf_reader.h"

namespace fiberscope {
namespace {

constexpr size_t kMaxRules = std::numeric_limits<uint16_t>::max();  // beside number 0

const uint8_t* Bytes(uintptr_t address) { return reinterpret_cast<const uint8_t*>(address); }

// From `address` to the end of the readable segment that holds it; empty if none does.
std::span<const uint8_t> ReadableFrom(const dl_phdr_info& object, uintptr_t address) {
  for (const ElfW(Phdr) & header : std::span(object.dlpi_phdr, object.dlpi_phnum)) {
    const uintptr_t begin = object.dlpi_addr + header.p_vaddr;
    if (header.p_type != PT_LOAD || !(header.p_flags & PF_R)) continue;
    if (address >= begin && address - begin < header.p_memsz) {
      return {Bytes(address), header.p_memsz - (address - begin)};
    }
  }
  return {};
}

// The part of `section` from `address` on; empty if the address is outside.
std::span<const uint8_t> Suffix(std::span<const uint8_t> section, uintptr_t address) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(section.data());
  if (address < begin || address - begin >= section.size()) return {};
  return section.subspan(address - begin);
}

// .eh_frame_hdr, LSB 5.0 section 10.6.2. The search table's other half, the addresses of the functions, is not needed:
// the records hold them too.
struct EhFrameHdr {
  uintptr_t eh_frame = 0;
  std::vector<uintptr_t> records;  // of the search table; may be empty
};

std::optional<EhFrameHdr> ParseEhFrameHdr(std::span<const uint8_t> bytes) {
  const uintptr_t data_base = reinterpret_cast<uintptr_t>(bytes.data());
  DwarfReader reader(bytes);
  const auto version = reader.Read<uint8_t>();
  const auto eh_frame_encoding = reader.Read<uint8_t>();
  const auto count_encoding = reader.Read<uint8_t>();
  const auto table_encoding = reader.Read<uint8_t>();
  EhFrameHdr hdr;
  hdr.eh_frame = reader.ReadPointer(eh_frame_encoding, data_base);
  if (version != 1 || !reader.ok()) return std::nullopt;
  if (count_encoding == pointer_encoding::kOmitted || table_encoding == pointer_encoding::kOmitted) return hdr;
  const uint64_t count = reader.ReadPointer(count_encoding, data_base);
  for (uint64_t i = 0; i < count && reader.ok(); ++i) {
    reader.ReadPointer(table_encoding, data_base);
    hdr.records.push_back(reader.ReadPointer(table_encoding, data_base));
  }
  if (!reader.ok()) hdr.records.clear();  // a table that does not say what it promised says nothing
  return hdr;
}

}  // namespace

UnwindTableBuilder::UnwindTableBuilder() : index_(std::make_unique<RuleIndex>()) {
  index_->complete_rules.emplace_back();  // number 0: none
}

void UnwindTableBuilder::AddObject(const dl_phdr_info& object) {
  ++counts_.objects;
  const std::span<const ElfW(Phdr)> headers(object.dlpi_phdr, object.dlpi_phnum);
  const auto frames = std::find_if(headers.begin(), headers.end(),
                                   [](const ElfW(Phdr) & header) { return header.p_type == PT_GNU_EH_FRAME; });
  if (frames == headers.end()) return;
  const auto hdr = ParseEhFrameHdr(ReadableFrom(object, object.dlpi_addr + frames->p_vaddr));
  if (!hdr) {
    ++counts_.refused;
    return;
  }
  const Section eh_frame = ReadableFrom(object, hdr->eh_frame);
  const std::vector<Function> functions =
      ParseFunctions(hdr->records.empty() ? ScanForRecords(eh_frame) : hdr->records, eh_frame);
  for (const ElfW(Phdr) & header : headers) {
    if (header.p_type != PT_LOAD || !(header.p_flags & PF_X)) continue;
    const uintptr_t begin = object.dlpi_addr + header.p_vaddr;
    AddCode(begin, begin + header.p_memsz, functions);
  }
}

// Addresses of all FDEs up to the terminator, or to the first thing that is no record.
std::vector<uintptr_t> UnwindTableBuilder::ScanForRecords(Section eh_frame) {
  std::vector<uintptr_t> records;
  while (const auto record = ReadCfiRecord(eh_frame)) {
    if (record->cie_delta != 0) records.push_back(reinterpret_cast<uintptr_t>(eh_frame.data()));
    eh_frame = eh_frame.subspan(record->next - eh_frame.data());
  }
  return records;
}

std::vector<UnwindTableBuilder::Function> UnwindTableBuilder::ParseFunctions(std::span<const uintptr_t> records,
                                                                             Section eh_frame) {
  cies_.clear();
  std::vector<Function> functions;
  functions.reserve(records.size());
  for (const uintptr_t address : records) {
    const auto record = ReadCfiRecord(Suffix(eh_frame, address));
    const Cie* cie = record && record->cie_delta != 0 ? FindCie(*record, eh_frame) : nullptr;
    const auto fde = cie ? ParseFde(record->body, *cie) : std::nullopt;
    if (fde) {
      functions.push_back({*fde, cie});
    } else {
      ++counts_.refused;
    }
  }
  // Search tables are sorted already; records in .eh_frame are in the order of linking.
  std::stable_sort(functions.begin(), functions.end(),
                   [](const Function& a, const Function& b) { return a.fde.begin < b.fde.begin; });
  return functions;
}

const Cie* UnwindTableBuilder::FindCie(const CfiRecord& fde, Section eh_frame) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(fde.cie_field) - fde.cie_delta;
  const auto [entry, is_new] = cies_.try_emplace(address);
  if (is_new) {
    const auto record = ReadCfiRecord(Suffix(eh_frame, address));
    if (record && record->cie_delta == 0) {
      if (auto cie = ParseCie(record->body, expressions_)) entry->second = std::make_unique<const Cie>(*std::move(cie));
    }
  }
  return entry->second.get();
}

void UnwindTableBuilder::AddCode(uintptr_t begin, uintptr_t end, std::span<const Function> functions) {
  if (end <= begin || end - begin > std::numeric_limits<uint32_t>::max()) {
    ++counts_.refused;
    return;
  }
  const RuleIndex::Range range{.begin = begin, .end = end, .first_page = index_->pages.size()};
  const size_t first_row = index_->row_offsets.size();
  index_->ranges.push_back(range);
  AddRow(first_row, 0, 0);
  const auto first = std::lower_bound(functions.begin(), functions.end(), begin,
                                      [](const Function& f, uintptr_t address) { return f.fde.begin < address; });
  for (auto function = first; function != functions.end() && function->fde.begin < end; ++function) {
    AddFunction(range, first_row, *function);
  }
  AddPages(static_cast<uint32_t>(end - begin), first_row);
}

void UnwindTableBuilder::AddFunction(const RuleIndex::Range& range, size_t first_row, const Function& function) {
  const Fde& fde = function.fde;
  if (fde.end > range.end || !RunCfiProgram(fde, *function.cie, expressions_, rows_)) {
    ++counts_.refused;
    return;
  }
  ++counts_.functions;
  for (const CfiRow& row : rows_) AddRow(first_row, row.begin - range.begin, Intern(row.rule));
  AddRow(first_row, fde.end - range.begin, 0);
}

// Where functions overlap, which only nonsense does, the later one counts.
void UnwindTableBuilder::AddRow(size_t first_row, uintptr_t offset, uint16_t rule) {
  auto& offsets = index_->row_offsets;
  auto& rules = index_->row_rules;
  while (offsets.size() > first_row && offsets.back() >= offset) {
    offsets.pop_back();
    rules.pop_back();
  }
  if (offsets.size() > first_row && rules.back() == rule) return;
  offsets.push_back(static_cast<uint32_t>(offset));
  rules.push_back(rule);
}

// For each page the row that is in force at its first byte, and for the end the last row.
void UnwindTableBuilder::AddPages(uint32_t size, size_t first_row) {
  const auto& offsets = index_->row_offsets;
  const size_t page_count = (uint64_t{size} + (1 << RuleIndex::kPageShift) - 1) >> RuleIndex::kPageShift;
  size_t row = first_row;
  for (size_t page = 0; page <= page_count; ++page) {
    const uint64_t page_offset = uint64_t{page} << RuleIndex::kPageShift;
    while (row + 1 < offsets.size() && offsets[row + 1] <= page_offset) ++row;
    index_->pages.push_back(static_cast<uint32_t>(row));
  }
}

uint16_t UnwindTableBuilder::Intern(const FrameRule& rule) {
  if (!rule.IsUsable()) return 0;
  const auto known = rule_numbers_.find(rule);
  if (known != rule_numbers_.end()) return known->second;
  if (index_->complete_rules.size() > kMaxRules) {
    ++counts_.refused;
    return 0;
  }
  const auto number = static_cast<uint16_t>(index_->complete_rules.size());
  index_->complete_rules.push_back(rule);
  rule_numbers_.emplace(rule, number);
  return number;
}

std::unique_ptr<const RuleIndex> UnwindTableBuilder::Finish() {
  RuleIndex& index = *index_;
  index.expressions = expressions_.bytes();
  index.complete_rules.shrink_to_fit();  // before Digest, which keeps the address of each
  index.rules.reserve(index.complete_rules.size());
  for (FrameRule& rule : index.complete_rules) {
    rule.expressions = index.expressions.data();
    index.rules.push_back(Digest(rule));
  }
  std::sort(index.ranges.begin(), index.ranges.end(),
            [](const RuleIndex::Range& a, const RuleIndex::Range& b) { return a.begin < b.begin; });
  index.pages.shrink_to_fit();
  index.row_offsets.shrink_to_fit();
  index.row_rules.shrink_to_fit();
  return std::move(index_);
}

}  // namespace fiberscope
