// Protects that recording where something was called from stays cheap enough to be left on: a profile of one's own adds and
// removes a thing in about a microsecond, and a thread's creation is not noticeably longer for being recorded.
//
//   bazel run //tests/bench:own_stack_bench
#include <pthread.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "benchmark/benchmark.h"
#include "pprof/custom_profile.h"
#include "pprof/mappings.h"
#include "pprof/symbolizer.h"
#include "runtime/thread_creation.h"

namespace fiberscope {
namespace {

template <typename F>
__attribute__((noinline)) void Descend(int64_t depth, const F& function) {
  if (depth == 0) {
    function();
  } else {
    Descend(depth - 1, function);
  }
  asm volatile("" ::: "memory");  // no tail call
}

void BM_CustomProfile_AddRemove(benchmark::State& state) {
  const std::unique_ptr<pprof::Symbolizer> symbolizer = pprof::MakeProcessSymbolizer();
  pprof::CustomProfile profile("bench", *symbolizer,
                               {.mappings = pprof::ReadProcessMappings, .now = std::chrono::system_clock::now});
  Descend(state.range(0), [&] {
    uint64_t key = 0;
    for (auto _ : state) {
      benchmark::DoNotOptimize(profile.Add(++key));
      profile.Remove(key);
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_CustomProfile_AddRemove)->ArgName("deeper")->Arg(0)->Arg(10)->Arg(100);

void* Nothing(void*) { return nullptr; }

void BM_Thread_CreateAndJoin(benchmark::State& state) {
  Descend(state.range(0), [&] {
    for (auto _ : state) {
      pthread_t thread;
      if (pthread_create(&thread, nullptr, &Nothing, nullptr) != 0) return state.SkipWithError("no thread to be had");
      pthread_join(thread, nullptr);
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Thread_CreateAndJoin)->ArgName("deeper")->Arg(0)->Arg(10)->Arg(100)->UseRealTime();

// What of it is the recording.
void BM_Thread_Record(benchmark::State& state) {
  Descend(state.range(0), [&] {
    for (auto _ : state) {
      internal::BeginThreadCreation();
      internal::EndThreadCreation(true);
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Thread_Record)->ArgName("deeper")->Arg(0)->Arg(10)->Arg(100);

}  // namespace
}  // namespace fiberscope
