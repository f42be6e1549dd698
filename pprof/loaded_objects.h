// The ELF objects mapped into this process, as the dynamic loader lists them.
#ifndef FIBERSCOPE_PPROF_LOADED_OBJECTS_H_
#define FIBERSCOPE_PPROF_LOADED_OBJECTS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace fiberscope::pprof {

struct AddressRange {
  uintptr_t start = 0;
  uintptr_t limit = 0;  // one past the end
  bool Contains(uintptr_t address) const { return address - start < limit - start; }
  bool operator==(const AddressRange&) const = default;
};

// Counts of objects ever loaded and unloaded. Either changes whenever the list does.
struct LoadGeneration {
  uint64_t added = 0;
  uint64_t removed = 0;
  bool operator==(const LoadGeneration&) const = default;
};

struct LoadedObject {
  std::string path;                // as given to the loader, may be relative; "" for the main program
  uintptr_t bias = 0;              // run-time address minus address in the file
  AddressRange all;                // from the first loaded page to the last
  std::vector<AddressRange> code;  // pages of executable segments
  std::string program_headers;     // bytes of the table in memory: a fingerprint to tell a replaced file by
  std::string build_id;            // hex of the GNU build id in memory; "" when there is none
  bool is_vdso = false;            // has no file; its image is `all` itself
  bool operator==(const LoadedObject&) const = default;
};

struct LoadedObjects {
  LoadGeneration generation;
  std::vector<LoadedObject> objects;  // in the loader's order, the main program first
};

// Both are thread-safe and take the loader's lock for a moment (they must not be called from a signal handler). The
// second costs about 0.1 us.
LoadedObjects ReadLoadedObjects();
LoadGeneration CurrentLoadGeneration();

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_LOADED_OBJECTS_H_
