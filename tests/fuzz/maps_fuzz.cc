#include <cstdlib>
#include <string_view>

#include "pprof/mappings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const fiberscope::pprof::Mapping& mapping : fiberscope::pprof::ParseMappings(text)) {
    if (mapping.start >= mapping.limit) std::abort();
    if (mapping.file.find('\n') != std::string::npos) std::abort();
    if (!mapping.build_id.empty()) std::abort();
  }
  return 0;
}
