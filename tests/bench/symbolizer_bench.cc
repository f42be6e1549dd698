// Symbolising addresses spread over this program's own code: names, lines, and what has been asked before.
//
// The cold ones run once: libbacktrace's memory cannot be freed.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "pprof/symbolizer.h"

// Of the linker: the program's code. (PLT and start-up code are before it.)
extern "C" char __executable_start, etext;

namespace fiberscope::pprof {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Those that have a name, at most 1000.
const std::vector<uintptr_t>& Addresses() {
  static const auto* addresses = [] {
    auto* result = new std::vector<uintptr_t>;
    const auto symbolizer = MakeProcessSymbolizer();
    const auto start = reinterpret_cast<uintptr_t>(&__executable_start);
    const uintptr_t step = (reinterpret_cast<uintptr_t>(&etext) - start) / 1000;
    for (uintptr_t pc = start; pc < reinterpret_cast<uintptr_t>(&etext); pc += step) {
      if (!symbolizer->Lookup(pc).frames.empty()) result->push_back(pc);
    }
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
