// Protects that an execution trace may be taken of a busy service: each pair does the same without and with one. The second of each
// pair also says what an event costs and how many bytes it has.
//
//   bazel run //tests/bench:trace_bench -- --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/base/check.h"
#include "runtime/execution_trace.h"
#include "runtime/fiber.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/this_fiber.h"

namespace fiberscope {
namespace {

// Takes a trace, and throws it away every 100 ms, while it lives.
class Tracing {
 public:
  explicit Tracing(bool on) {
    if (!on) return;
    auto trace = ExecutionTrace::Start();
    FIBERSCOPE_CHECK(trace.ok(), "no trace");
    trace_ = *std::move(trace);
    thread_ = std::thread([this] { Run(); });
  }
  ~Tracing() { (void)Bytes(); }

  // Ends it. Of all events.
  uint64_t Bytes() {
    if (trace_ == nullptr) return bytes_;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
    Count(trace_->Stop());
    trace_ = nullptr;
    return bytes_;
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, std::chrono::milliseconds(100), [this] { return stopping_; })) Count(trace_->Next());
  }
  void Count(const TraceGenerations& generations) {
    for (const auto& each : generations) bytes_ += each->recorded_bytes();
  }

  std::unique_ptr<ExecutionTrace> trace_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  uint64_t bytes_ = 0;
};

// Three events each: unblock, block, start.
void PingPong(int hops) {
  Channel<int> there;
  Channel<int> back;
  Fiber echo = Spawn([&] {
    while (const auto value = there.Receive()) back.Send(*value);
  });
  for (int i = 0; i < hops / 2; ++i) {
    there.Send(i);
    (void)back.Receive();
  }
  there.Close();
  echo.Join();
}

void BM_Trace_ChannelHop(benchmark::State& state, bool on) {
  constexpr int kHops = 200'000;
  Scheduler scheduler({.processors = 1});
  Tracing tracing(on);
  for (auto _ : state) scheduler.Spawn([] { PingPong(kHops); }).Join();
  state.SetItemsProcessed(state.iterations() * kHops);
  if (on) {
    const double events = 3.0 * kHops * static_cast<double>(state.iterations());
    state.counters["bytes/event"] = static_cast<double>(tracing.Bytes()) / events;
  }
}
BENCHMARK_CAPTURE(BM_Trace_ChannelHop, off, false)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Trace_ChannelHop, on, true)->UseRealTime()->Unit(benchmark::kMillisecond);

// Two events each: stop, start.
void BM_Trace_Yield(benchmark::State& state, bool on) {
  constexpr int kYields = 200'000;
  Scheduler scheduler({.processors = 1});
  Tracing tracing(on);
  const auto yield = [] {
    for (int i = 0; i < kYields / 2; ++i) this_fiber::Yield();
  };
  for (auto _ : state) {
    scheduler.Spawn([&yield] {
      Fiber other = Spawn(yield);
      yield();
      other.Join();
    }).Join();
  }
  state.SetItemsProcessed(state.iterations() * kYields);
  if (on) {
    const double events = 2.0 * kYields * static_cast<double>(state.iterations());
    state.counters["bytes/event"] = static_cast<double>(tracing.Bytes()) / events;
  }
}
BENCHMARK_CAPTURE(BM_Trace_Yield, off, false)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Trace_Yield, on, true)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fiberscope

BENCHMARK_MAIN();
