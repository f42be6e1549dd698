// What a wall-clock profile costs: one look at all fibers, and the application while it is being looked at.
//
//   bazel run //tests/bench:wall_bench
//
// The decision they protect: looks of one instant, kept to 1 % of the time (pprof/sources/wall.h).
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "benchmark/benchmark.h"
#include "pprof/sources/wall.h"
#include "pprof/symbolizer.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/wait_group.h"
#include "runtime/this_fiber.h"

namespace fiberscope {
namespace {

__attribute__((noinline)) void ParkDeep(Channel<int>& channel, int depth) {
  if (depth > 0) {
    ParkDeep(channel, depth - 1);
  } else {
    (void)channel.Receive();
  }
  benchmark::DoNotOptimize(depth);  // no tail call
}

// So many fibers, ten calls deep.
class ParkedFibers {
 public:
  ParkedFibers(Scheduler& scheduler, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      done_.Add(1);
      scheduler.Spawn([this] {
        ParkDeep(channel_, 10);
        done_.Done();
      });
    }
  }
  ~ParkedFibers() {
    channel_.Close();
    done_.Wait();
  }

 private:
  Channel<int> channel_{0};
  WaitGroup done_;
};

// A wall-clock profile without end, on a thread of its own.
class Sampling {
 public:
  explicit Sampling(int hz)
      : thread_([this, hz] {
          const std::unique_ptr<pprof::Symbolizer> symbolizer = pprof::MakeProcessSymbolizer();
          (void)pprof::SampleWall({.hz = hz}, std::chrono::hours(1), *symbolizer,
                                  [this](std::chrono::nanoseconds time) { return Wait(time); });
        }) {}
  ~Sampling() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  absl::Status Wait(std::chrono::nanoseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return stopped_; }) ? absl::CancelledError("stopped") : absl::OkStatus();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  std::thread thread_;  // the last: it uses the others
};

// One pass; items are fibers.
void BM_Pass(benchmark::State& state) {
  Scheduler scheduler({.processors = 2, .stall_after = std::chrono::nanoseconds::max()});
  const ParkedFibers parked(scheduler, state.range(0));
  pprof::WallSampler sampler({});
  sampler.Pass();
  for (auto _ : state) sampler.Pass();
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Pass)->ArgName("parked")->Arg(0)->Arg(1000)->Arg(10'000)->Arg(100'000)->UseRealTime()->Unit(benchmark::kMicrosecond);

// Two fibers that hand each other the processor, while all are being sampled; hz 0: they are not. The time is CPU time of the whole
// process, so it has the sampler's in it, and other programs on the machine disturb it little.
void BM_YieldWhileSampled(benchmark::State& state) {
  Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  const ParkedFibers parked(scheduler, state.range(1));
  const auto sampling = state.range(0) == 0 ? nullptr : std::make_unique<Sampling>(static_cast<int>(state.range(0)));
  scheduler
      .Spawn([&state] {
        bool stop = false;
        const Fiber other = Spawn([&stop] {
          while (!stop) this_fiber::Yield();
        });
        for (auto _ : state) this_fiber::Yield();
        stop = true;
        other.Join();
      })
      .Join();
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(BM_YieldWhileSampled)
    ->ArgNames({"hz", "parked"})
    ->ArgsProduct({{0, 99, 1000}, {0, 10'000}})
    ->MinTime(3)
    ->MeasureProcessCPUTime();

}  // namespace
}  // namespace fiberscope

BENCHMARK_MAIN();
