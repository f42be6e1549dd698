// Protects that an execution trace may be taken of a busy service: each pair does the same without and with one. The second of each
// pair also says how many bytes an event has. BM_Trace_Echo, a service that waits for its clients, does both in turns, as the
// difference is smaller than how much faster or slower a machine is from one second to the next.
//
//   bazel run //tests/bench:trace_bench -- --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
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
#include "runtime/flight_recorder.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/this_fiber.h"
#include "tests/bench/echo.h"

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

std::unique_ptr<FlightRecorder> Record() {
  auto recorder = FlightRecorder::Start({});
  FIBERSCOPE_CHECK(recorder.ok(), "no flight recorder");
  return *std::move(recorder);
}

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

int64_t CpuNs(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// What a stretch of messages there and back costs, each.
struct EchoCost {
  double wall_us = 0;
  double server_us = 0;  // CPU time of all threads but the client's
};

EchoCost MeasureEcho(bench::Client& client, int messages) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t cpu = CpuNs(CLOCK_PROCESS_CPUTIME_ID) - CpuNs(CLOCK_THREAD_CPUTIME_ID);
  for (int i = 0; i < messages; ++i) client.Step();
  const int64_t used = CpuNs(CLOCK_PROCESS_CPUTIME_ID) - CpuNs(CLOCK_THREAD_CPUTIME_ID) - cpu;
  const std::chrono::duration<double, std::micro> wall = std::chrono::steady_clock::now() - start;
  return {wall.count() / messages, static_cast<double>(used) / 1000 / messages};
}

// An iteration is a pair of stretches, one of them traced, or with a flight recorder; which comes first changes. A ratio is the
// median of the pairs', with by without; on a machine that has other things to do, that of the server's CPU time is the one to look
// at.
void BM_Trace_Echo(benchmark::State& state, bool recorder) {
  constexpr int kMessages = 10'000;
  const bench::FiberServer server(/*processors=*/1);
  bench::Client client(server.port());
  client.WarmUp();
  std::vector<double> plain_us;
  std::vector<double> wall_ratios;
  std::vector<double> server_ratios;
  uint64_t bytes = 0;
  bool traced_first = false;
  for (auto _ : state) {
    EchoCost costs[2];  // without and with a trace
    for (const bool on : {traced_first, !traced_first}) {
      Tracing tracing(on && !recorder);
      std::unique_ptr<FlightRecorder> flight;
      if (on && recorder) flight = Record();
      client.WarmUp();
      costs[on] = MeasureEcho(client, kMessages);
      bytes += tracing.Bytes();
    }
    traced_first = !traced_first;
    plain_us.push_back(costs[0].server_us);
    wall_ratios.push_back(costs[1].wall_us / costs[0].wall_us);
    server_ratios.push_back(costs[1].server_us / costs[0].server_us);
  }
  state.counters["server_ratio"] = Median(server_ratios);
  state.counters["wall_ratio"] = Median(wall_ratios);
  state.counters["server_us"] = Median(plain_us);
  const double messages = (kMessages + bench::Client::kWarmUpMessages) * static_cast<double>(state.iterations());
  if (!recorder) state.counters["bytes/message"] = static_cast<double>(bytes) / messages;
}
BENCHMARK_CAPTURE(BM_Trace_Echo, trace, false)->Iterations(20)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_Trace_Echo, recorder, true)->Iterations(20)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fiberscope

BENCHMARK_MAIN();
