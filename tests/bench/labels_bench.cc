// Protects that labels cost little enough to be set for every request: 20 ns for the two ends of a scope, with labels that
// were made before; and what making them costs.
//
//   bazel run //tests/bench:labels_bench
#include "benchmark/benchmark.h"
#include "runtime/labels.h"
#include "runtime/scheduler.h"
#include "runtime/this_fiber.h"

namespace fiberscope {
namespace {

// Runs the measured loop on a fiber that has labels.
template <typename F>
void OnFiber(benchmark::State& state, const F& loop) {
  Scheduler scheduler({.processors = 1});
  scheduler
      .Spawn([&] {
        this_fiber::SetLabels(Labels({{"service", "orders"}}));
        loop();
      })
      .Join();
  state.SetItemsProcessed(state.iterations());
}

void BM_Labels_SetAndRestore(benchmark::State& state) {
  OnFiber(state, [&] {
    const Labels labels({{"route", "/orders"}, {"tenant", "7"}});
    for (auto _ : state) {
      const this_fiber::LabelsScope scope(labels);
      benchmark::ClobberMemory();
    }
  });
}
BENCHMARK(BM_Labels_SetAndRestore);

void BM_Labels_MakeSetAndRestore(benchmark::State& state) {
  OnFiber(state, [&] {
    for (auto _ : state) {
      this_fiber::WithLabels({{"route", "/orders"}, {"tenant", "7"}}, [] { benchmark::ClobberMemory(); });
    }
  });
}
BENCHMARK(BM_Labels_MakeSetAndRestore);

// Where labels are read: a copy is a reference more.
void BM_Labels_Read(benchmark::State& state) {
  OnFiber(state, [&] {
    for (auto _ : state) {
      const Labels labels = this_fiber::labels();
      benchmark::DoNotOptimize(labels.pairs().data());
    }
  });
}
BENCHMARK(BM_Labels_Read);

}  // namespace
}  // namespace fiberscope
