// Protects that a line costs the fiber that logs it 500 ns at most (four fields, within a request), and a line whose level is off
// 2 ns; and the decision against spdlog's own asynchronous logger, which takes a mutex: BM_Spdlog_* hand a ready line of the same
// length over to it. `sleeps` is how often 1000 calls put their thread to sleep, by the kernel's count: what a worker must not do.
//
//   bazel run //tests/bench:log_bench
#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/null_sink.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/request.h"
#include "runtime/scheduler.h"
#include "runtime/this_fiber.h"
#include "server/log/encode.h"
#include "server/log/log.h"

namespace fiberscope {
namespace {

constexpr int kBatch = 1'000;

std::unique_ptr<log::Log> StartLog(log::LogOptions options = {}) {
  options.sinks = {std::make_shared<spdlog::sinks::null_sink_st>()};
  return *log::Log::Start(std::move(options));
}

// Runs the loop on a fiber that works for a request.
template <typename F>
void InRequest(const F& loop) {
  Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  scheduler
      .Spawn([&] {
        this_fiber::SetLabels(Labels({{"route", "/order"}}));
        const RequestScope scope(AcceptRequest());
        loop();
      })
      .Join();
}

// The queue is empty before each batch, so nothing is dropped; writing is not measured, but goes on beside.
void BM_Log_FourFields(benchmark::State& state, log::Encoding encoding) {
  const std::unique_ptr<log::Log> log = StartLog({.encoding = encoding});
  const log::Logger logger = log->logger("orders");
  InRequest([&] {
    while (state.KeepRunningBatch(kBatch)) {
      for (int i = 0; i < kBatch; ++i) logger.Info("order placed", {{"order", i}, {"item", "apple"}, {"ms", 1.5}, {"paid", true}});
      state.PauseTiming();
      FIBERSCOPE_CHECK(log->Flush(std::chrono::seconds(60)), "the log does not write");
      state.ResumeTiming();
    }
  });
  FIBERSCOPE_CHECK(log->counts().dropped == 0, "lines were dropped");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(BM_Log_FourFields, json, log::Encoding::kJson);
BENCHMARK_CAPTURE(BM_Log_FourFields, console, log::Encoding::kConsole);

void BM_Log_NoFields(benchmark::State& state) {
  const std::unique_ptr<log::Log> log = StartLog();
  const log::Logger logger = log->logger();
  while (state.KeepRunningBatch(kBatch)) {
    for (int i = 0; i < kBatch; ++i) logger.Info("order placed");
    state.PauseTiming();
    FIBERSCOPE_CHECK(log->Flush(std::chrono::seconds(60)), "the log does not write");
    state.ResumeTiming();
  }
  FIBERSCOPE_CHECK(log->counts().dropped == 0, "lines were dropped");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Log_NoFields);

void BM_Log_LevelOff(benchmark::State& state) {
  const std::unique_ptr<log::Log> log = StartLog();
  const log::Logger logger = log->logger("orders");
  int i = 0;
  for (auto _ : state) {
    logger.Debug("order placed", {{"order", ++i}, {"item", "apple"}, {"ms", 1.5}, {"paid", true}});
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Log_LevelOff);

void BM_Log_LevelOffOfTheDefault(benchmark::State& state) {
  const std::unique_ptr<log::Log> log = StartLog();
  log::SetDefault(log.get());
  int i = 0;
  for (auto _ : state) {
    log::Debug("order placed", {{"order", ++i}, {"item", "apple"}, {"ms", 1.5}, {"paid", true}});
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Log_LevelOffOfTheDefault);

void BM_Log_SampledOut(benchmark::State& state) {
  const std::unique_ptr<log::Log> log = StartLog({.sampling = {.first = 1}});
  const log::Logger logger = log->logger("orders");
  int i = 0;
  for (auto _ : state) logger.Info("order placed", {{"order", ++i}, {"item", "apple"}, {"ms", 1.5}, {"paid", true}});
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Log_SampledOut);

// ---- Handing over: the same line, by ourselves and by spdlog's asynchronous logger.

const std::string& ReadyLine() {
  static const std::string* const line = new std::string(300, 'x');
  return *line;
}

// Of the calling thread: how often it has given its CPU away by itself.
int64_t VoluntarySwitches() {
  rusage usage;
  FIBERSCOPE_CHECK(getrusage(RUSAGE_THREAD, &usage) == 0, "getrusage(2) failed");
  return usage.ru_nvcsw;
}

// `threads` call `log_line` for a batch each, all at once, with `flush` after it.
template <typename LogLine, typename Flush>
void HandOver(benchmark::State& state, const LogLine& log_line, const Flush& flush) {
  const auto thread_count = static_cast<int>(state.range(0));
  std::atomic<int64_t> sleeps{0};
  for (auto _ : state) {
    std::atomic<int64_t> busy_ns{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < thread_count; ++thread) {
      threads.emplace_back([&] {
        const int64_t switches = VoluntarySwitches();
        const int64_t begin_ns = MonotonicNowNs();
        for (int i = 0; i < kBatch; ++i) log_line();
        busy_ns.fetch_add(MonotonicNowNs() - begin_ns);
        sleeps.fetch_add(VoluntarySwitches() - switches);
      });
    }
    for (std::thread& thread : threads) thread.join();
    flush();
    state.SetIterationTime(static_cast<double>(busy_ns.load()) * 1e-9 / thread_count);
  }
  state.SetItemsProcessed(state.iterations() * kBatch);
  state.counters["sleeps"] = static_cast<double>(sleeps.load()) / static_cast<double>(state.iterations() * thread_count);
}

void BM_Log_HandOver(benchmark::State& state) {
  const std::unique_ptr<log::Log> log = StartLog({.queue_bytes = 64 * 1024 * 1024});
  const log::Logger logger = log->logger();
  HandOver(
      state, [&] { logger.Info(ReadyLine()); },
      [&] { FIBERSCOPE_CHECK(log->Flush(std::chrono::seconds(60)), "the log does not write"); });
  FIBERSCOPE_CHECK(log->counts().dropped == 0, "lines were dropped");
}
BENCHMARK(BM_Log_HandOver)->ArgName("threads")->Arg(1)->Arg(2)->Arg(8)->UseManualTime()->Unit(benchmark::kMicrosecond);

void BM_Spdlog_HandOver(benchmark::State& state) {
  const auto pool = std::make_shared<spdlog::details::thread_pool>(1 << 17, 1);
  const auto logger = std::make_shared<spdlog::async_logger>("bench", std::make_shared<spdlog::sinks::null_sink_mt>(), pool,
                                                             spdlog::async_overflow_policy::overrun_oldest);
  HandOver(
      state, [&] { logger->log(spdlog::level::info, spdlog::string_view_t(ReadyLine())); },
      [&] {
        while (pool->queue_size() != 0) std::this_thread::yield();
      });
  FIBERSCOPE_CHECK(pool->overrun_counter() == 0, "lines were overwritten");
}
BENCHMARK(BM_Spdlog_HandOver)->ArgName("threads")->Arg(1)->Arg(2)->Arg(8)->UseManualTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace fiberscope
