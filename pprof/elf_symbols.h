// Code address to function name, from the symbol table of an ELF file.
#ifndef FIBERSCOPE_PPROF_ELF_SYMBOLS_H_
#define FIBERSCOPE_PPROF_ELF_SYMBOLS_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "pprof/elf_image.h"

namespace fiberscope::pprof {

struct ElfSymbol {
  std::string_view name;  // as the linker knows it (mangled); points into the image
  uint64_t start = 0;     // virtual address in the file's own terms: run-time address minus load bias
  uint64_t size = 0;
};

// The functions of .symtab, or of .dynsym if the file has been stripped, sorted by address.
//
// A value; the image must outlive it. Thread-safe once made. Cost: 16 bytes a function; making it is one sort (10 ms
// per 100,000 functions), Find a binary search.
class ElfSymbols {
 public:
  ElfSymbols() = default;
  explicit ElfSymbols(const ElfImage& image);

  // The function whose bytes contain `address`. Of several names for one address: one with a size before one without,
  // global before local, fewer leading underscores before more, strong before weak.
  std::optional<ElfSymbol> Find(uint64_t address) const;

  size_t size() const { return symbols_.size(); }

 private:
  struct Symbol {
    uint64_t start;
    uint32_t size;
    uint32_t name;  // offset in names_
  };

  std::vector<Symbol> symbols_;  // ascending and unique by start
  std::string_view names_;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ELF_SYMBOLS_H_
