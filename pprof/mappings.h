// Which file is mapped where: the executable mappings of this process.
#ifndef FIBERSCOPE_PPROF_MAPPINGS_H_
#define FIBERSCOPE_PPROF_MAPPINGS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fiberscope::pprof {

struct Mapping {
  uint64_t start = 0;
  uint64_t limit = 0;   // one past the end
  uint64_t offset = 0;  // in the file, of `start`
  std::string file;     // "[vdso]", "[vsyscall]", "" for anonymous memory; newlines stay \012 as the kernel writes them
  std::string build_id;  // GNU build id in hex; "" when there is none
  bool operator==(const Mapping&) const = default;
};

// The executable mappings in `maps`, the text of /proc/PID/maps, in its order; without build ids. " (deleted)" is cut
// off file names. A line that is not of the kernel's form is left out, and so is a last line without a newline: it has
// been cut short, and half a path is worse than none. Pure function.
std::vector<Mapping> ParseMappings(std::string_view maps);

// The executable mappings of this process: those of the main binary first, the rest in ascending order. Build ids are
// those in memory, so they are right for a binary that has been replaced or deleted since. Empty if /proc is not there.
//
// Thread-safe. Blocks the thread (reads /proc/self/maps: about 1 us per mapping of any kind). Not async-signal-safe.
std::vector<Mapping> ReadProcessMappings();

// /proc/self/maps as it is, for the formats that end with it. The same.
std::string ReadProcessMaps();

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_MAPPINGS_H_
