// A program with very many parked fibers, each ten (or --depth) calls deep, for the suites Parked, Dump, Shapes and SlowReader
// of //tests/bench:compare; go/parked_program.go is the same in Go. They protect two promises: a parked fiber costs little more
// than a page, and a profile of all of them is quick and disturbs nobody.
//
// It is driven over stdin and stdout, a line each way:
//   (start)  -> "started ADDRESS"                      the debug server's, "-" without --serve; nothing is parked yet
//   park     -> "parked CPU_NS"                        all fibers wait; the process's CPU time for getting them there
//   ticker   -> "ticker COUNT P50_NS P99_NS WORST_NS"  how late a fiber that sleeps 1 ms at a time woke since the last question
// and ends at the end of its input.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "benchmark/benchmark.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/this_fiber.h"
#include "server/debug_server.h"

ABSL_FLAG(int, fibers, 100'000, "how many to park");
ABSL_FLAG(int, depth, 10, "calls between a fiber's function and the wait");
ABSL_FLAG(int, stacks, 1, "different ones among them, at most 2 to the power of --depth");
ABSL_FLAG(bool, serve, false, "start the debug server and the ticker");

namespace {

using fiberscope::Channel;
using fiberscope::Scheduler;

int64_t ProcessCpuNs() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

// Every frame has 64 bytes of its own, as in the Go twin, and calls from one of two places: a bit of `path` says which. Different
// paths, different stacks.
__attribute__((noinline)) int Descend(int depth, int path, Channel<int>& never, std::atomic<int>& arrived) {
  char locals[64];
  benchmark::DoNotOptimize(locals);
  if (depth > 1) {
    if (path % 2 == 0) return Descend(depth - 1, path / 2, never, arrived) + locals[0];
    return Descend(depth - 1, path / 2, never, arrived) + locals[1];
  }
  arrived.fetch_add(1, std::memory_order_relaxed);
  if (path % 2 == 0) return never.Receive().value_or(0) + locals[0];
  return never.Receive().value_or(0) + locals[1];
}

// Plain thread. The CPU time it took.
int64_t Park(Scheduler& scheduler, Channel<int>& never) {
  const int fibers = absl::GetFlag(FLAGS_fibers);
  const int depth = absl::GetFlag(FLAGS_depth);
  const int stacks = absl::GetFlag(FLAGS_stacks);
  std::atomic<int> arrived = 0;
  const int64_t start_ns = ProcessCpuNs();
  for (int i = 0; i < fibers; ++i) {
    scheduler.Spawn([&never, &arrived, depth, path = i % stacks] {
      benchmark::DoNotOptimize(Descend(depth, path, never, arrived));
    });
  }
  while (arrived.load(std::memory_order_relaxed) < fibers) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const int64_t cpu_ns = ProcessCpuNs() - start_ns;
  // The last ones are on their way into the wait.
  for (int parked = 0; parked < fibers;) {
    parked = 0;
    fiberscope::ForEachFiber({.stacks = false}, [&parked](const fiberscope::FiberSnapshot& fiber) {
      if (fiber.wait_reason == fiberscope::WaitReason::kChannelReceive) ++parked;
      return true;
    });
  }
  return cpu_ns;
}

// Remembers how late it woke.
class Ticker {
 public:
  // Fiber-only. For ever.
  void Run() {
    for (;;) {
      const auto due = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
      fiberscope::this_fiber::SleepUntil(due);
      const int64_t late_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now() - due).count();
      const std::lock_guard lock(mutex_);
      late_ns_.push_back(late_ns);
    }
  }

  // Any thread. In ascending order; forgets them.
  std::vector<int64_t> Take() {
    std::vector<int64_t> taken;
    {
      const std::lock_guard lock(mutex_);
      taken = std::exchange(late_ns_, {});
    }
    std::sort(taken.begin(), taken.end());
    return taken;
  }

 private:
  std::mutex mutex_;
  std::vector<int64_t> late_ns_;  // GUARDED_BY(mutex_)
};

void PrintTicker(Ticker& ticker) {
  const std::vector<int64_t> late_ns = ticker.Take();
  const size_t count = late_ns.size();
  // Of so many in a hundred, at most.
  const auto lateness = [&](size_t percent) {
    return static_cast<long long>(count == 0 ? 0 : late_ns[std::min(count * percent / 100, count - 1)]);
  };
  std::printf("ticker %zu %lld %lld %lld\n", count, lateness(50), lateness(99), lateness(100));
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  Channel<int> never;
  Ticker ticker;
  Scheduler scheduler;
  std::unique_ptr<fiberscope::server::DebugServer> server;
  if (absl::GetFlag(FLAGS_serve)) {
    fiberscope::server::DebugServerOptions options;
    options.port = 0;
    auto started = fiberscope::server::DebugServer::Start(options);
    if (!started.ok()) {
      std::cerr << started.status().message() << "\n";
      return 1;
    }
    server = *std::move(started);
    scheduler.Spawn([&ticker] { ticker.Run(); }, {.name = "ticker"});
  }
  std::printf("started %s\n", server == nullptr ? "-" : server->address().c_str());
  for (std::string command; std::getline(std::cin, command);) {
    if (command == "park") {
      std::printf("parked %lld\n", static_cast<long long>(Park(scheduler, never)));
    } else if (command == "ticker") {
      PrintTicker(ticker);
    } else {
      std::cerr << "unknown command: " << command << "\n";
      return 2;
    }
  }
  if (server != nullptr) server->Stop();
  scheduler.Stop();
}
