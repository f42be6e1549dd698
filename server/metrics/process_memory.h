// How much memory the kernel says this process has.
#ifndef FIBERSCOPE_SERVER_METRICS_PROCESS_MEMORY_H_
#define FIBERSCOPE_SERVER_METRICS_PROCESS_MEMORY_H_

#include <cstdint>
#include <optional>

namespace fiberscope::server {

struct ProcessMemory {
  uint64_t virtual_bytes = 0;   // addresses in use, reserved stacks included
  uint64_t resident_bytes = 0;  // memory in use
};

// None: /proc/self/statm cannot be read. Thread-safe. Blocks the thread for three system calls.
std::optional<ProcessMemory> ReadProcessMemory();

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_METRICS_PROCESS_MEMORY_H_
