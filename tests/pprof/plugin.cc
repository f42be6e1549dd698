// A shared object with two functions to look up. Built several ways, see BUILD.bazel.
#include "tests/pprof/plugin.h"

namespace {

[[gnu::noinline]] uintptr_t ReturnAddress() { return reinterpret_cast<uintptr_t>(__builtin_return_address(0)); }

[[gnu::noinline]] PluginSite HiddenFunction() {
  const uintptr_t address = ReturnAddress();
  return {.pc = address - 1, .line = __LINE__ - 1};
}

}  // namespace

PluginSite PluginExportedSite() {
  const uintptr_t address = ReturnAddress();
  return {.pc = address - 1, .line = __LINE__ - 1};
}

PluginSite PluginHiddenSite() {
  PluginSite site = HiddenFunction();
  asm volatile("" : "+m"(site));  // no tail call
  return site;
}
