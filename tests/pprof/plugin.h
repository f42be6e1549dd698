// What plugin.cc exports.
#ifndef FIBERSCOPE_TESTS_PPROF_PLUGIN_H_
#define FIBERSCOPE_TESTS_PPROF_PLUGIN_H_

#include <cstdint>

struct PluginSite {
  uintptr_t pc;  // within a call instruction
  int line;      // of that call
};

extern "C" {
PluginSite PluginExportedSite();  // in PluginExportedSite itself
PluginSite PluginHiddenSite();    // in (anonymous namespace)::HiddenFunction
}

#endif  // FIBERSCOPE_TESTS_PPROF_PLUGIN_H_
