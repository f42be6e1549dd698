#include "pprof/elf_symbols.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace fiberscope::pprof {
namespace {

constexpr uint32_t kMaxSize = std::numeric_limits<uint32_t>::max();  // no function has 4 GiB

// Functions can lie inside another's bytes (hand-written assembly with several entries), so the symbol that starts last
// before an address need not contain it. Looking this many symbols further back finds every case met in glibc, and
// bounds the cost of a table made to be slow.
constexpr int kMaxNesting = 16;

struct Candidate {
  uint64_t start;
  uint32_t size;
  uint32_t name;
  // Smaller is better; see the header.
  bool is_unsized;
  bool is_local;
  bool is_weak;
  uint8_t underscores;

  auto Order() const { return std::tuple(start, is_unsized, is_local, underscores, is_weak, name); }
};

uint32_t ClampSize(uint64_t size) { return static_cast<uint32_t>(std::min<uint64_t>(size, kMaxSize)); }

uint8_t LeadingUnderscores(std::string_view name) {
  constexpr size_t kEnough = 8;
  return static_cast<uint8_t>(std::min({name.find_first_not_of('_'), name.size(), kEnough}));
}

const Elf64_Shdr* FindTable(const ElfImage& image) {
  for (const uint32_t type : {SHT_SYMTAB, SHT_DYNSYM}) {
    for (const Elf64_Shdr& section : image.sections()) {
      const bool usable = section.sh_type == type && section.sh_entsize == sizeof(Elf64_Sym);
      if (usable && section.sh_size > sizeof(Elf64_Sym) && !image.Contents(section).empty()) return &section;
    }
  }
  return nullptr;
}

// How far a symbol without a size can reach at most: to the end of its section.
uint32_t RoomInSection(const ElfImage& image, const Elf64_Sym& symbol) {
  if (symbol.st_shndx >= image.sections().size()) return 0;
  const Elf64_Shdr& section = image.sections()[symbol.st_shndx];
  const uint64_t offset = symbol.st_value - section.sh_addr;
  return offset < section.sh_size ? ClampSize(section.sh_size - offset) : 0;
}

}  // namespace

ElfSymbols::ElfSymbols(const ElfImage& image) {
  const Elf64_Shdr* table = FindTable(image);
  if (table == nullptr || table->sh_link >= image.sections().size()) return;
  names_ = image.Contents(image.sections()[table->sh_link]);
  names_ = names_.substr(0, names_.rfind('\0') + 1);  // from here on every name ends within the table

  const std::string_view entries = image.Contents(*table);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < entries.size() / sizeof(Elf64_Sym); ++i) {
    const auto symbol = ElementAt<Elf64_Sym>(entries, i);
    const int type = ELF64_ST_TYPE(symbol.st_info);
    if (type != STT_FUNC && type != STT_GNU_IFUNC) continue;
    if (symbol.st_shndx == SHN_UNDEF) continue;
    if (symbol.st_name >= names_.size() || names_[symbol.st_name] == '\0') continue;
    const bool is_unsized = symbol.st_size == 0;
    candidates.push_back({
        .start = symbol.st_value,
        .size = is_unsized ? RoomInSection(image, symbol) : ClampSize(symbol.st_size),
        .name = symbol.st_name,
        .is_unsized = is_unsized,
        .is_local = ELF64_ST_BIND(symbol.st_info) == STB_LOCAL,
        .is_weak = ELF64_ST_BIND(symbol.st_info) == STB_WEAK,
        .underscores = LeadingUnderscores(names_.substr(symbol.st_name)),
    });
  }
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.Order() < b.Order(); });
  const auto last = std::unique(candidates.begin(), candidates.end(),
                                [](const Candidate& a, const Candidate& b) { return a.start == b.start; });
  candidates.erase(last, candidates.end());

  symbols_.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    Candidate& symbol = candidates[i];
    if (symbol.is_unsized && i + 1 < candidates.size()) {
      symbol.size = std::min(symbol.size, ClampSize(candidates[i + 1].start - symbol.start));
    }
    symbols_.push_back({.start = symbol.start, .size = symbol.size, .name = symbol.name});
  }
}

std::optional<ElfSymbol> ElfSymbols::Find(uint64_t address) const {
  auto next = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                               [](uint64_t wanted, const Symbol& symbol) { return wanted < symbol.start; });
  for (int i = 0; i < kMaxNesting && next != symbols_.begin(); ++i) {
    const Symbol& symbol = *--next;
    if (address - symbol.start < symbol.size) {
      return ElfSymbol{.name = StringAt(names_, symbol.name), .start = symbol.start, .size = symbol.size};
    }
  }
  return std::nullopt;
}

}  // namespace fiberscope::pprof
