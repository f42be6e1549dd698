#include "server/metrics/process_memory.h"

#include <unistd.h>

#include <fstream>

namespace fiberscope::server {

std::optional<ProcessMemory> ReadProcessMemory() {
  // In pages: addresses, memory, and more.
  std::ifstream file("/proc/self/statm");
  uint64_t addresses = 0;
  uint64_t resident = 0;
  if (!(file >> addresses >> resident)) return std::nullopt;
  const uint64_t page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return ProcessMemory{.virtual_bytes = addresses * page_bytes, .resident_bytes = resident * page_bytes};
}

}  // namespace fiberscope::server
