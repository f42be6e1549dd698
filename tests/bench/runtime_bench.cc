// What fibers cost, each figure beside the same program in Go (go/runtime_bench.go), under the same names:
//
//   bazel run //tests/bench:compare -- BM_
//   bazel run //tests/bench:runtime_bench -- --benchmark_filter=BM_Yield
//
// The loops run on a fiber. Times are CPU time of the whole process (all workers, in Go also the garbage collector), so that
// other programs on the machine disturb them little; benchmarks of several processors say real_time where the question is
// how soon the work is done. items_per_second counts what the name says: yields, hops, spawns, locks, wake-ups.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/fiber.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "runtime/sync/select.h"
#include "runtime/sync/wait_group.h"
#include "runtime/this_fiber.h"

namespace fiberscope {
namespace {

// Runs `body` on a fiber of a scheduler of its own and waits for it. The first argument of every benchmark is `processors`.
template <typename F>
void RunOnFiber(benchmark::State& state, F&& body) {
  Scheduler scheduler({.processors = static_cast<int>(state.range(0))});
  scheduler.Spawn([&body] { body(); }).Join();
}

// Protects the direct switch to the successor: a yield is one switch, not one to the worker's loop and another back.
// With 1000 fibers it shows the misses of cold stacks and control blocks.
void BM_Yield(benchmark::State& state) {
  const int64_t fibers = state.range(1);
  RunOnFiber(state, [&] {
    bool stop = false;
    WaitGroup others;
    others.Add(fibers - 1);
    for (int64_t i = 1; i < fibers; ++i) {
      Spawn([&stop, &others] {
        while (!stop) this_fiber::Yield();
        others.Done();
      });
    }
    this_fiber::Yield();  // from here on all of them yield
    for (auto _ : state) this_fiber::Yield();
    stop = true;
    others.Wait();
  });
  state.SetItemsProcessed(state.iterations() * fibers);
}
BENCHMARK(BM_Yield)->ArgNames({"processors", "fibers"})->Args({1, 2})->Args({1, 1000})->MeasureProcessCPUTime();

// Protects the pool as registry: control block and stack come from a LIFO list of the processor, nothing is inserted anywhere.
void BM_Spawn_FinishJoin(benchmark::State& state) {
  RunOnFiber(state, [&] {
    for (auto _ : state) Spawn([] {}).Join();
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Spawn_FinishJoin)->ArgName("processors")->Arg(1)->MeasureProcessCPUTime();

constexpr int64_t kBatch = 1000;

// As above when fibers come in batches and the run queue (256 slots) overflows into the shared one.
void BM_Spawn_Batch1000(benchmark::State& state) {
  RunOnFiber(state, [&] {
    std::vector<Fiber> batch(kBatch);
    for (auto _ : state) {
      for (Fiber& fiber : batch) fiber = Spawn([] {});
      for (const Fiber& fiber : batch) fiber.Join();
    }
  });
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(BM_Spawn_Batch1000)->ArgName("processors")->Arg(1)->MeasureProcessCPUTime();

// The same, waited for in the way of Go.
void BM_Spawn_Batch1000_WaitGroup(benchmark::State& state) {
  RunOnFiber(state, [&] {
    WaitGroup group;
    for (auto _ : state) {
      group.Add(kBatch);
      for (int64_t i = 0; i < kBatch; ++i) Spawn([&group] { group.Done(); });
      group.Wait();
    }
  });
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(BM_Spawn_Batch1000_WaitGroup)->ArgName("processors")->Arg(1)->MeasureProcessCPUTime();

// Protects the run-next slot and the commit after the switch: a value handed to a waiting partner costs one park, one unpark
// and one switch. An iteration is two hops, there and back.
void BM_Channel_Unbuffered_Hop(benchmark::State& state) {
  RunOnFiber(state, [&] {
    Channel<int> there;
    Channel<int> back;
    const Fiber partner = Spawn([&there, &back] {
      while (const std::optional<int> value = there.Receive()) back.Send(*value);
    });
    for (auto _ : state) {
      there.Send(1);
      benchmark::DoNotOptimize(back.Receive());
    }
    there.Close();
    partner.Join();
  });
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(BM_Channel_Unbuffered_Hop)->ArgName("processors")->Arg(1)->Arg(2)->MeasureProcessCPUTime();

// Protects the ring under one lock: most sends and receives meet a buffer that is neither full nor empty.
void BM_Channel_Buffered(benchmark::State& state) {
  RunOnFiber(state, [&] {
    Channel<int> channel(128);
    std::atomic<bool> stop = false;
    const Fiber sender = Spawn([&channel, &stop] {
      while (!stop.load(std::memory_order_relaxed)) channel.Send(1);
      channel.Close();
    });
    for (auto _ : state) benchmark::DoNotOptimize(channel.Receive());
    stop.store(true, std::memory_order_relaxed);
    while (channel.Receive()) {
    }
    sender.Join();
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Channel_Buffered)->ArgName("processors")->Arg(1)->Arg(2)->MeasureProcessCPUTime();

// Protects the claim protocol: a hop whose receiver waits on several channels at once. The partner is a plain loop.
template <size_t kCases>
void BM_Select_Hop(benchmark::State& state) {
  RunOnFiber(state, [&] {
    Channel<int> there;
    Channel<int> back;
    std::array<Channel<int>, kCases - 1> silent;
    const Fiber partner = Spawn([&there, &back] {
      while (const std::optional<int> value = there.Receive()) back.Send(*value);
    });
    for (auto _ : state) {
      there.Send(1);
      [&]<size_t... kSilent>(std::index_sequence<kSilent...>) {
        std::array<std::optional<int>, kCases> into;
        benchmark::DoNotOptimize(
            Select(ReceiveCase(&back, into[kCases - 1]), ReceiveCase(&silent[kSilent], into[kSilent])...));
      }
      (std::make_index_sequence<kCases - 1>());
    }
    there.Close();
    partner.Join();
  });
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(BM_Select_Hop<2>)->Name("BM_Select_HopOf2")->ArgName("processors")->Arg(1)->Arg(2)->MeasureProcessCPUTime();
BENCHMARK(BM_Select_Hop<8>)->Name("BM_Select_HopOf8")->ArgName("processors")->Arg(1)->Arg(2)->MeasureProcessCPUTime();

// Protects stealing and the waking of idle workers: one fiber hands values to eight that hand them on to one. An item is a value.
void BM_Channel_FanOutFanIn(benchmark::State& state) {
  constexpr int kWorkers = 8;
  RunOnFiber(state, [&] {
    Channel<int> work(64);
    Channel<int> done(64);
    std::vector<Fiber> workers;
    for (int i = 0; i < kWorkers; ++i) {
      workers.push_back(Spawn([&work, &done] {
        while (const std::optional<int> value = work.Receive()) done.Send(*value);
      }));
    }
    std::atomic<bool> stop = false;
    const Fiber source = Spawn([&work, &stop] {
      while (!stop.load(std::memory_order_relaxed)) work.Send(1);
      work.Close();
    });
    for (auto _ : state) benchmark::DoNotOptimize(done.Receive());
    stop.store(true, std::memory_order_relaxed);
    const Fiber drain = Spawn([&done] {
      while (done.Receive()) {
      }
    });
    source.Join();
    for (const Fiber& worker : workers) worker.Join();
    done.Close();
    drain.Join();
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Channel_FanOutFanIn)->ArgName("processors")->Arg(1)->Arg(2)->MeasureProcessCPUTime();

// Protects the inject queue and the wake-up of a sleeping worker: a plain thread and a fiber play ping-pong, each asleep while it
// is the other's turn. Go's twin is a goroutine that is locked to its thread. An iteration is two hops; wall time.
void BM_Channel_ForeignWake(benchmark::State& state) {
  Scheduler scheduler({.processors = static_cast<int>(state.range(0))});
  Channel<int> there;
  Channel<int> back;
  const Fiber partner = scheduler.Spawn([&there, &back] {
    while (const std::optional<int> value = there.Receive()) back.Send(*value);
  });
  for (auto _ : state) {
    there.Send(1);
    benchmark::DoNotOptimize(back.Receive());
  }
  there.Close();
  partner.Join();
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(BM_Channel_ForeignWake)->ArgName("processors")->Arg(1)->UseRealTime();

// Protects the one-word mutex that knows its owner: naming the owner in dumps must not cost more than Go's, which does not.
void BM_Mutex_Uncontended(benchmark::State& state) {
  RunOnFiber(state, [&] {
    Mutex mutex;
    for (auto _ : state) {
      mutex.lock();
      benchmark::ClobberMemory();
      mutex.unlock();
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Mutex_Uncontended)->ArgName("processors")->Arg(1)->MeasureProcessCPUTime();

// Protects the rule that who runs may take a free mutex: to hand it over costs a switch at every unlock.
void BM_Mutex_Contended(benchmark::State& state) {
  constexpr int64_t kOthers = 7;
  int64_t locked = 0;
  RunOnFiber(state, [&] {
    Mutex mutex;
    bool stop = false;  // both guarded by the mutex
    WaitGroup others;
    others.Add(kOthers);
    for (int64_t i = 0; i < kOthers; ++i) {
      Spawn([&] {
        for (bool go_on = true; go_on;) {
          mutex.lock();
          ++locked;
          go_on = !stop;
          mutex.unlock();
        }
        others.Done();
      });
    }
    for (auto _ : state) {
      mutex.lock();
      ++locked;
      mutex.unlock();
    }
    mutex.lock();
    stop = true;
    mutex.unlock();
    others.Wait();
  });
  state.SetItemsProcessed(locked);
}
BENCHMARK(BM_Mutex_Contended)->ArgName("processors")->Arg(2)->MeasureProcessCPUTime();

// A leaf sends its number; every other fiber spawns ten and sends the sum of what they send.
void Skynet(Channel<int64_t>& parent, int64_t first, int64_t leaves) {
  if (leaves == 1) {
    parent.Send(first);
    return;
  }
  Channel<int64_t> children;
  for (int64_t i = 0; i < 10; ++i) {
    Spawn([&children, child = first + i * (leaves / 10), leaves] { Skynet(children, child, leaves / 10); });
  }
  int64_t sum = 0;
  for (int i = 0; i < 10; ++i) sum += children.Receive().value();
  parent.Send(sum);
}

// Protects all of the above together, with memory: a tree of 1.1 million fibers (1 million leaves) over channels. One item is
// one tree. The first tree is not measured: it pays for stacks that later ones find ready (in Go: for the heap's growth).
void BM_Skynet(benchmark::State& state, int64_t leaves) {
  RunOnFiber(state, [&] {
    const auto grow = [leaves] {
      Channel<int64_t> root;
      Spawn([&root, leaves] { Skynet(root, 0, leaves); });
      return root.Receive().value();
    };
    grow();
    for (auto _ : state) {
      if (grow() != leaves * (leaves - 1) / 2) state.SkipWithError("the sum is wrong");
    }
  });
  state.SetItemsProcessed(state.iterations());
}

int64_t SkynetByJoin(int64_t first, int64_t leaves) {
  if (leaves == 1) return first;
  std::array<Fiber, 10> children;
  std::array<int64_t, 10> sums;
  for (size_t i = 0; i < 10; ++i) {
    children[i] = Spawn([&sum = sums[i], child = first + static_cast<int64_t>(i) * (leaves / 10), leaves] {
      sum = SkynetByJoin(child, leaves / 10);
    });
  }
  int64_t sum = 0;
  for (size_t i = 0; i < 10; ++i) {
    children[i].Join();
    sum += sums[i];
  }
  return sum;
}

// The same tree, its sums returned through joins; in Go through a wait group per parent.
void BM_SkynetByJoin(benchmark::State& state, int64_t leaves) {
  RunOnFiber(state, [&] {
    SkynetByJoin(0, leaves);
    for (auto _ : state) {
      if (SkynetByJoin(0, leaves) != leaves * (leaves - 1) / 2) state.SkipWithError("the sum is wrong");
    }
  });
  state.SetItemsProcessed(state.iterations());
}

constexpr int kSleeps = 10;

// Protects the timer queue per processor: the CPU time of one wake-up when very many fibers sleep 1 to 100 ms each. An
// iteration is ten sleeps of every fiber; starting the fibers is not measured.
void BM_SleepWake(benchmark::State& state, int64_t fibers) {
  RunOnFiber(state, [&] {
    for (auto _ : state) {
      state.PauseTiming();
      WaitGroup ready;
      WaitGroup gate;
      WaitGroup done;
      ready.Add(fibers);
      gate.Add(1);
      done.Add(fibers);
      for (int64_t i = 0; i < fibers; ++i) {
        Spawn([&ready, &gate, &done, i] {
          ready.Done();
          gate.Wait();
          auto random = static_cast<uint32_t>(i);
          for (int n = 0; n < kSleeps; ++n) {
            random = random * 1664525 + 1013904223;  // Numerical Recipes; its high bits are good enough
            this_fiber::SleepFor(std::chrono::microseconds(1000 + (random >> 8) % 99'000));
          }
          done.Done();
        });
      }
      ready.Wait();
      state.ResumeTiming();
      gate.Done();
      done.Wait();
    }
  });
  state.SetItemsProcessed(state.iterations() * fibers * kSleeps);
}

void RegisterSized(bool small) {
  const int64_t leaves = small ? 1'000 : 1'000'000;
  const auto skynet = [leaves](benchmark::State& state) { BM_Skynet(state, leaves); };
  benchmark::RegisterBenchmark("BM_Skynet", skynet)->ArgName("processors")->Arg(1)->MeasureProcessCPUTime();
  benchmark::RegisterBenchmark("BM_Skynet", skynet)->ArgName("processors")->Arg(2)->UseRealTime();
  const auto by_join = [leaves](benchmark::State& state) { BM_SkynetByJoin(state, leaves); };
  benchmark::RegisterBenchmark("BM_SkynetByJoin", by_join)->ArgName("processors")->Arg(1)->MeasureProcessCPUTime();
  benchmark::RegisterBenchmark("BM_SkynetByJoin", by_join)->ArgName("processors")->Arg(2)->UseRealTime();
  const int64_t sleepers = small ? 100 : 100'000;
  const auto sleep_wake = [sleepers](benchmark::State& state) { BM_SleepWake(state, sleepers); };
  benchmark::RegisterBenchmark("BM_SleepWake_100k", sleep_wake)
      ->ArgName("processors")
      ->Arg(1)
      ->Arg(2)
      ->Iterations(1)
      ->MeasureProcessCPUTime();
}

}  // namespace
}  // namespace fiberscope

// --small: 1,000 leaves and 100 sleepers instead of a million and 100,000; shows that the benchmarks run, not what things cost.
int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const bool small = argc == 2 && std::strcmp(argv[1], "--small") == 0;
  if (!small && benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  fiberscope::RegisterSized(small);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
