#include <cstdlib>
#include <string_view>

#include "pprof/elf_image.h"
#include "pprof/elf_symbols.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  fiberscope::pprof::GnuBuildId(bytes);
  fiberscope::pprof::GnuBuildId(bytes, 8);
  const auto image = fiberscope::pprof::ElfImage::Parse(bytes);
  if (!image) return 0;
  image->BuildId();
  image->FindSection(".debug_line");
  const fiberscope::pprof::ElfSymbols symbols(*image);
  for (const uint64_t address : {uint64_t{0}, uint64_t{0x1000}, uint64_t{0x1010}, UINT64_MAX}) {
    const auto symbol = symbols.Find(address);
    if (!symbol) continue;
    if (symbol->name.empty()) std::abort();
    if (address - symbol->start >= symbol->size) std::abort();
  }
  return 0;
}
