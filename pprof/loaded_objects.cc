#include "pprof/loaded_objects.h"

#include <link.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <algorithm>

#include "pprof/elf_image.h"

namespace fiberscope::pprof {
namespace {

// As the kernel maps it. (The vdso's section headers lie behind the last byte of its segment.)
AddressRange RoundToPages(AddressRange range) {
  const uintptr_t mask = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)) - 1;
  return {.start = range.start & ~mask, .limit = (range.limit + mask) & ~mask};
}

LoadedObject Describe(const dl_phdr_info& info) {
  LoadedObject object;
  object.path = info.dlpi_name == nullptr ? "" : info.dlpi_name;
  object.bias = info.dlpi_addr;
  object.program_headers.assign(reinterpret_cast<const char*>(info.dlpi_phdr), info.dlpi_phnum * sizeof(Elf64_Phdr));
  object.all = {.start = UINTPTR_MAX, .limit = 0};
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info.dlpi_phdr[i];
    const uintptr_t start = info.dlpi_addr + segment.p_vaddr;
    if (segment.p_type == PT_LOAD) {
      object.all.start = std::min(object.all.start, start);
      object.all.limit = std::max(object.all.limit, start + segment.p_memsz);
      if (segment.p_flags & PF_X)
        object.code.push_back(RoundToPages({.start = start, .limit = start + segment.p_memsz}));
    }
    // A note segment of a loaded object is part of one of its PT_LOAD segments, so it can be read.
    if (segment.p_type == PT_NOTE && object.build_id.empty()) {
      object.build_id = GnuBuildId({reinterpret_cast<const char*>(start), segment.p_filesz}, segment.p_align);
    }
  }
  if (object.all.limit == 0) object.all = {};
  object.all = RoundToPages(object.all);
  const uintptr_t vdso = getauxval(AT_SYSINFO_EHDR);
  object.is_vdso = vdso != 0 && object.all.Contains(vdso);
  return object;
}

}  // namespace

LoadedObjects ReadLoadedObjects() {
  LoadedObjects result;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto& result = *static_cast<LoadedObjects*>(data);
        result.generation = {.added = info->dlpi_adds, .removed = info->dlpi_subs};
        result.objects.push_back(Describe(*info));
        return 0;
      },
      &result);
  return result;
}

LoadGeneration CurrentLoadGeneration() {
  LoadGeneration generation;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        *static_cast<LoadGeneration*>(data) = {.added = info->dlpi_adds, .removed = info->dlpi_subs};
        return 1;  // the first object says it all
      },
      &generation);
  return generation;
}

}  // namespace fiberscope::pprof
