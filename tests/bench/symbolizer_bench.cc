// Symbolising addresses spread over this program's own code: names, lines, and what has been asked before. The decisions they
// protect: names come from the symbol table and do not wait for debug information; that is read by another thread, once.
//
// The cold ones run once: libbacktrace's memory cannot be freed.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

#include "pprof/symbolizer.h"

// Of the linker: the program's code. (PLT and start-up code are before it.)
extern "C" char __executable_start, etext;

namespace fiberscope::pprof {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::vector<uintptr_t> Spread(size_t count) {
  const auto start = reinterpret_cast<uintptr_t>(&__executable_start);
  const uintptr_t step = (reinterpret_cast<uintptr_t>(&etext) - start) / count;
  std::vector<uintptr_t> result;
  for (uintptr_t pc = start; pc < reinterpret_cast<uintptr_t>(&etext); pc += step) result.push_back(pc);
  return result;
}

// Those that have a name, at most 1000.
const std::vector<uintptr_t>& Addresses() {
  static const auto* addresses = [] {
    auto* result = new std::vector<uintptr_t>(Spread(1000));
    const auto symbolizer = MakeProcessSymbolizer();
    std::erase_if(*result, [&](uintptr_t pc) { return symbolizer->Lookup(pc).frames.empty(); });
    return result;
  }();
  return *addresses;
}

void LookupAll(Symbolizer& symbolizer, benchmark::State& state) {
  const auto start = Clock::now();
  for (const uintptr_t pc : Addresses()) benchmark::DoNotOptimize(symbolizer.Lookup(pc).frames.data());
  const double seconds = SecondsSince(start);
  state.SetIterationTime(seconds);
  state.counters["addresses"] = static_cast<double>(Addresses().size());
  state.counters["us_per_address"] = seconds * 1e6 / static_cast<double>(Addresses().size());
}

struct Resident {
  double all_mib = 0;
  double file_mib = 0;  // mapped files: the kernel may take these pages back
};

// From /proc/self/statm.
Resident ResidentNow() {
  size_t size = 0, resident = 0, shared = 0;
  std::ifstream("/proc/self/statm") >> size >> resident >> shared;
  const double page_mib = static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
  return {static_cast<double>(resident) * page_mib, static_cast<double>(shared) * page_mib};
}

// What a program's first dump has to wait for: names of thirty addresses, the reading of debug information, their lines. The first
// benchmark, so that nothing has been read yet.
void BM_First(benchmark::State& state) {
  for (auto _ : state) {
    const Resident before = ResidentNow();
    const auto start = Clock::now();
    const auto symbolizer = MakeProcessSymbolizer();
    const std::vector<uintptr_t> addresses = Spread(30);
    for (const uintptr_t pc : addresses) benchmark::DoNotOptimize(symbolizer->Lookup(pc).frames.data());
    state.counters["names_ms"] = SecondsSince(start) * 1e3;
    if (!symbolizer->WaitForLines(std::chrono::minutes(1))) state.SkipWithError("no lines");
    state.counters["read_ms"] = SecondsSince(start) * 1e3;
    for (const uintptr_t pc : addresses) benchmark::DoNotOptimize(symbolizer->Lookup(pc).frames.data());
    state.SetIterationTime(SecondsSince(start));
    const Resident after = ResidentNow();
    state.counters["growth_mib"] = after.all_mib - before.all_mib;
    state.counters["growth_file_mib"] = after.file_mib - before.file_mib;
    state.counters["binary_mib"] = static_cast<double>(std::filesystem::file_size("/proc/self/exe")) / (1 << 20);
  }
}
BENCHMARK(BM_First)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);

// While the debug information is being read by the other thread, as in a program's first dump.
void BM_ColdNames(benchmark::State& state) {
  Addresses();
  for (auto _ : state) {
    const auto symbolizer = MakeProcessSymbolizer();
    LookupAll(*symbolizer, state);
  }
}
BENCHMARK(BM_ColdNames)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);

void BM_ColdLines(benchmark::State& state) {
  Addresses();
  for (auto _ : state) {
    const auto symbolizer = MakeProcessSymbolizer();
    const auto start = Clock::now();
    if (!symbolizer->WaitForLines(std::chrono::minutes(1))) state.SkipWithError("no lines");
    state.counters["reading_ms"] = SecondsSince(start) * 1e3;
    LookupAll(*symbolizer, state);
  }
}
BENCHMARK(BM_ColdLines)->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);

void BM_CachedLookup(benchmark::State& state) {
  static Symbolizer& symbolizer = *[] {
    auto made = MakeProcessSymbolizer();
    made->WaitForLines(std::chrono::minutes(1));
    for (const uintptr_t pc : Addresses()) made->Lookup(pc);
    return made.release();
  }();
  const std::vector<uintptr_t>& addresses = Addresses();
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(&symbolizer.Lookup(addresses[next]));
    if (++next == addresses.size()) next = 0;
  }
}
BENCHMARK(BM_CachedLookup)->Threads(1)->Threads(2);

}  // namespace
}  // namespace fiberscope::pprof
