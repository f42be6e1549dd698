// What a scrape costs, with many fibers parked: the whole page of /metrics, and its part that grows with the fibers, the census;
// and what a sample of the health watch costs.
//
//   bazel run //tests/bench:metrics_bench
//
// The decision they protect: fibers are counted when somebody asks, nothing is kept up to date on the switch path. Goal: 10 ms
// for the page with 100,000 fibers.
#include <sched.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "benchmark/benchmark.h"
#include "runtime/fiber_census.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "server/metrics/metrics_page.h"
#include "server/metrics/process_collector.h"
#include "server/metrics/runtime_collector.h"
#include "server/vars/process_vars.h"
#include "server/watch/health.h"
#include "server/watch/history.h"

namespace fiberscope {
namespace {

class ParkedFibers {
 public:
  explicit ParkedFibers(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      done_.Add(1);
      scheduler_.Spawn([this] {
        (void)channel_.Receive();
        done_.Done();
      });
    }
    while (TakeFiberCensus().waiting_for(WaitReason::kChannelReceive).fibers < static_cast<uint64_t>(count)) sched_yield();
  }
  ~ParkedFibers() {
    channel_.Close();
    done_.Wait();
  }

 private:
  Scheduler scheduler_{{.stall_after = std::chrono::nanoseconds::max()}};
  Channel<int> channel_{0};
  WaitGroup done_;
};

void BM_Metrics_Page(benchmark::State& state) {
  const ParkedFibers fibers(state.range(0));
  const server::MetricsPage page({std::make_shared<server::RuntimeCollector>(), std::make_shared<server::ProcessCollector>()});
  for (auto _ : state) benchmark::DoNotOptimize(page.Render());
}

void BM_Vars_Page(benchmark::State& state) {
  const ParkedFibers fibers(state.range(0));
  server::VarRegistry registry;
  server::PublishProcessVars(registry);
  for (auto _ : state) benchmark::DoNotOptimize(registry.Json());
}

void BM_FiberCensus(benchmark::State& state) {
  const ParkedFibers fibers(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(TakeFiberCensus());
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// What a health watch does each second, callbacks and thresholds aside.
void BM_HealthSample(benchmark::State& state) {
  const ParkedFibers fibers(state.range(0));
  server::History seconds({.samples = 1, .rows = 600}, server::ReadHealth());
  server::History minutes({.samples = 60, .rows = 1440}, server::ReadHealth());
  for (auto _ : state) {
    const server::HealthReading reading = server::ReadHealth();
    seconds.Add(reading);
    minutes.Add(reading);
  }
}

// Beside it: the same counts by a listing.
void BM_Listing_WithoutStacks(benchmark::State& state) {
  const ParkedFibers fibers(state.range(0));
  for (auto _ : state) {
    uint64_t waiting = 0;
    ForEachFiber({.stacks = false}, [&](const FiberSnapshot& fiber) {
      waiting += fiber.state == FiberState::kWaiting ? 1 : 0;
      return true;
    });
    benchmark::DoNotOptimize(waiting);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

// In this order: blocks of fibers stay, and are looked at, when their fibers have ended.
BENCHMARK(BM_HealthSample)->ArgName("fibers")->Arg(100)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Metrics_Page)->ArgName("fibers")->Arg(100)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Vars_Page)->ArgName("fibers")->Arg(100)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Metrics_Page)->ArgName("fibers")->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Vars_Page)->ArgName("fibers")->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_FiberCensus)->ArgName("fibers")->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_HealthSample)->ArgName("fibers")->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Listing_WithoutStacks)->ArgName("fibers")->Arg(100'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Metrics_Page)->ArgName("fibers")->Arg(1'000'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_FiberCensus)->ArgName("fibers")->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fiberscope
