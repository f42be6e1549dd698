// Protects that looking costs little: each pair does the same with a profile switched off and on. The ratio of the two lines is the
// cost; run them several times, in alternation.
//
//   bazel run //tests/bench:profiles_bench -- --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "pprof/gperftools/heap_samples.h"
#include "runtime/base/check.h"
#include "runtime/contention.h"
#include "runtime/cpu_profiler.h"
#include "runtime/fiber.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"

namespace fiberscope {
namespace {

// ---- CPU: two processors busy with requests, each a hop through channels and some work.

void Work() {
  for (int i = 0; i < 2'000; ++i) benchmark::DoNotOptimize(i);
}

void ServeRequests(Scheduler& scheduler, int requests) {
  scheduler
      .Spawn([requests] {
        std::vector<Fiber> pairs;
        for (int p = 0; p < 8; ++p) {
          pairs.push_back(Spawn([requests] {
            Channel<int> request;
            Channel<int> reply;
            Fiber server = Spawn([&] {
              while (const std::optional<int> number = request.Receive()) {
                Work();
                reply.Send(*number);
              }
            });
            for (int i = 0; i < requests / 8; ++i) {
              request.Send(i);
              reply.Receive();
            }
            request.Close();
            server.Join();
          }));
        }
        for (Fiber& pair : pairs) pair.Join();
      })
      .Join();
}

void BM_CpuProfile(benchmark::State& state, int hz) {
  constexpr int kRequests = 80'000;
  Scheduler scheduler({.processors = 2});
  std::unique_ptr<CpuProfiler> profiler;
  if (hz != 0) profiler = *CpuProfiler::Start({.hz = hz});
  for (auto _ : state) ServeRequests(scheduler, kRequests);
  state.SetItemsProcessed(state.iterations() * kRequests);
  if (profiler != nullptr) state.counters["samples"] = static_cast<double>(profiler->Stop().count);
}
BENCHMARK_CAPTURE(BM_CpuProfile, off, 0)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_CpuProfile, hz_100, 100)->UseRealTime()->Unit(benchmark::kMillisecond);

// ---- Heap: malloc and free.

void BM_Heap(benchmark::State& state, int64_t rate) {
  FIBERSCOPE_CHECK(pprof::SetHeapSampleRate(0).ok(), "no tcmalloc");
  (void)pprof::SetHeapSampleRate(rate);
  for (auto _ : state) {
    void* const memory = std::malloc(64);
    benchmark::DoNotOptimize(memory);
    std::free(memory);
  }
  (void)pprof::SetHeapSampleRate(0);
}
BENCHMARK_CAPTURE(BM_Heap, off, 0);
BENCHMARK_CAPTURE(BM_Heap, rate_512KiB, 512 * 1024);

void BM_HeapCollect(benchmark::State& state) {
  FIBERSCOPE_CHECK(pprof::SetHeapSampleRate(0).ok(), "no tcmalloc");
  (void)pprof::SetHeapSampleRate(64);
  std::vector<std::unique_ptr<char[]>> kept;
  for (int i = 0; i < 100'000; ++i) kept.push_back(std::make_unique<char[]>(1024));
  (void)pprof::SetHeapSampleRate(0);
  int64_t live = 0;
  for (auto _ : state) {
    live = 0;
    const absl::StatusOr<pprof::HeapSnapshot> snapshot = pprof::ReadHeapSamples();
    for (const pprof::HeapRecord& record : snapshot->records) live += record.allocated - record.freed;
  }
  state.counters["live"] = static_cast<double>(live);
}
BENCHMARK(BM_HeapCollect)->Unit(benchmark::kMillisecond);

// ---- Contention: fibers on two processors that do nothing but take one mutex; two on one that do nothing but hand over values.

void BM_Mutex(benchmark::State& state, int64_t fraction, int64_t block_rate) {
  constexpr int kFibers = 16;
  constexpr int kRounds = 20'000;
  Scheduler scheduler({.processors = 2});
  SetMutexProfileFraction(fraction);
  SetBlockProfileRate(block_rate);
  for (auto _ : state) {
    Mutex mutex;
    std::vector<Fiber> fibers;
    for (int f = 0; f < kFibers; ++f) {
      fibers.push_back(scheduler.Spawn([&mutex] {
        for (int i = 0; i < kRounds; ++i) {
          const std::lock_guard lock(mutex);
          for (int k = 0; k < 200; ++k) benchmark::DoNotOptimize(k);
        }
      }));
    }
    for (Fiber& fiber : fibers) fiber.Join();
  }
  SetMutexProfileFraction(0);
  SetBlockProfileRate(0);
  state.SetItemsProcessed(state.iterations() * kFibers * kRounds);
}
BENCHMARK_CAPTURE(BM_Mutex, off, 0, 0)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Mutex, mutex_1, 1, 0)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Mutex, mutex_1_block_1, 1, 1)->UseRealTime()->Unit(benchmark::kMillisecond);

void BM_Channel(benchmark::State& state, int64_t block_rate) {
  constexpr int kValues = 200'000;
  Scheduler scheduler({.processors = 1});
  SetBlockProfileRate(block_rate);
  for (auto _ : state) {
    Channel<int> channel;
    Fiber sender = scheduler.Spawn([&channel] {
      for (int i = 0; i < kValues; ++i) channel.Send(i);
      channel.Close();
    });
    scheduler.Spawn([&channel] { while (channel.Receive()) {} }).Join();
    sender.Join();
  }
  SetBlockProfileRate(0);
  state.SetItemsProcessed(state.iterations() * kValues);
}
BENCHMARK_CAPTURE(BM_Channel, off, 0)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Channel, block_1, 1)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fiberscope
