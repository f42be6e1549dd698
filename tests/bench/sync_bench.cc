// Protects the costs that the headers of runtime/sync promise: a lock in a few nanoseconds, a hop over an unbuffered
// channel in one switch and one lock round trip, and what deadlines and selects add to that.
//
//   bazel run //tests/bench:sync_bench
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/rw_mutex.h"
#include "runtime/sync/select.h"
#include "runtime/sync/semaphore.h"

namespace fiberscope {
namespace {

// Runs the measured loop on a fiber.
void OnFiber(benchmark::State& state, const std::function<void(Scheduler&)>& loop) {
  Scheduler scheduler({.processors = static_cast<int>(state.range(0))});
  scheduler.Spawn([&] { loop(scheduler); }).Join();
}

void BM_Mutex_Uncontended(benchmark::State& state) {
  OnFiber(state, [&](Scheduler&) {
    Mutex mutex;
    for (auto _ : state) {
      mutex.lock();
      mutex.unlock();
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Mutex_Uncontended)->ArgName("processors")->Arg(1)->UseRealTime();

void BM_RwMutex_UncontendedRead(benchmark::State& state) {
  OnFiber(state, [&](Scheduler&) {
    RwMutex mutex;
    for (auto _ : state) {
      mutex.lock_shared();
      mutex.unlock_shared();
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_RwMutex_UncontendedRead)->ArgName("processors")->Arg(1)->UseRealTime();

void BM_Semaphore_Uncontended(benchmark::State& state) {
  OnFiber(state, [&](Scheduler&) {
    Semaphore semaphore(1);
    for (auto _ : state) {
      semaphore.Acquire();
      semaphore.Release();
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Semaphore_Uncontended)->ArgName("processors")->Arg(1)->UseRealTime();

// There and back: two hops an iteration. The other side is always a plain loop; `exchange` is this side.
template <typename Exchange>
void PingPong(benchmark::State& state, Exchange exchange) {
  OnFiber(state, [&](Scheduler& scheduler) {
    Channel<int> there;
    Channel<int> back;
    const Fiber echo = scheduler.Spawn([&] {
      while (const std::optional<int> value = there.Receive()) back.Send(*value);
    });
    for (auto _ : state) exchange(there, back);
    there.Close();
    echo.Join();
  });
  state.SetItemsProcessed(state.iterations() * 2);
}

// Each wait with a deadline: a claim, and a timer put in and taken out.
void BM_Channel_HopWithDeadline(benchmark::State& state) {
  PingPong(state, [](Channel<int>& there, Channel<int>& back) {
    benchmark::DoNotOptimize(there.SendFor(1, std::chrono::minutes(1)).ok());
    benchmark::DoNotOptimize(back.ReceiveFor(std::chrono::minutes(1)).ok());
  });
}
BENCHMARK(BM_Channel_HopWithDeadline)->ArgName("processors")->Arg(1)->Arg(2)->UseRealTime();

// One of n is ready: no wait.
void BM_Select_OneReady(benchmark::State& state) {
  const auto n = static_cast<size_t>(state.range(1));
  OnFiber(state, [&](Scheduler&) {
    std::vector<std::unique_ptr<Channel<int>>> channels;
    std::vector<std::optional<int>> into(n);
    std::vector<SelectCase> cases;
    for (size_t i = 0; i < n; ++i) {
      channels.push_back(std::make_unique<Channel<int>>(1));
      cases.push_back(ReceiveCase(channels[i].get(), into[i]));
    }
    for (auto _ : state) {
      channels[0]->TrySend(1);
      benchmark::DoNotOptimize(Select(cases));
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Select_OneReady)->ArgNames({"processors", "cases"})->Args({1, 2})->Args({1, 8})->UseRealTime();

}  // namespace
}  // namespace fiberscope
