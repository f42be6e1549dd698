// Protects that every log line may ask which request it belongs to (5 ns at most), that to be seen at /debug/requests costs a
// request 1 us at most, and what taking a request's identity over costs.
//
//   bazel run //tests/bench:request_bench
#include <string>

#include "benchmark/benchmark.h"
#include "runtime/context.h"
#include "runtime/request.h"
#include "runtime/scheduler.h"
#include "server/requests/request_registry.h"
#include "server/requests/served_request.h"

namespace fiberscope {
namespace {

constexpr ReceivedIdentity kReceived{.request_id = "0192e4a7-9c1c-7d5e-8a54-2f2d1c3b4a59",
                                     .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                     .tracestate = "congo=t61rcWkgMzE"};
constexpr ContextKey<int> kOther("other");

template <typename F>
void OnFiber(benchmark::State& state, const F& loop) {
  Scheduler scheduler({.processors = 1});
  scheduler.Spawn(loop).Join();
  state.SetItemsProcessed(state.iterations());
}

// With so many other contexts below the one that has the request.
void BM_Request_Lookup(benchmark::State& state) {
  OnFiber(state, [&] {
    const RequestScope request(AcceptRequest(kReceived));
    Context context = this_fiber::context();
    for (int64_t i = 0; i < state.range(0); ++i) context = context.With(kOther, 1);
    const ContextScope scope(context);
    for (auto _ : state) benchmark::DoNotOptimize(this_fiber::request());
  });
}
BENCHMARK(BM_Request_Lookup)->ArgName("below")->Arg(0)->Arg(2)->Arg(8);

void BM_Request_LookupOfNone(benchmark::State& state) {
  OnFiber(state, [&] {
    for (auto _ : state) benchmark::DoNotOptimize(this_fiber::request());
  });
}
BENCHMARK(BM_Request_LookupOfNone);

void BM_Request_Accept(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(AcceptRequest(kReceived));
}
BENCHMARK(BM_Request_Accept);

void BM_Request_AcceptNothing(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(AcceptRequest());
}
BENCHMARK(BM_Request_AcceptNothing);

void BM_Request_Scope(benchmark::State& state) {
  OnFiber(state, [&] {
    const RequestIdentity identity = AcceptRequest(kReceived);
    for (auto _ : state) {
      const RequestScope scope(identity);
      benchmark::ClobberMemory();
    }
  });
}
BENCHMARK(BM_Request_Scope);

void BM_Request_PrintTraceparent(benchmark::State& state) {
  const RequestIdentity identity = AcceptRequest(kReceived);
  for (auto _ : state) benchmark::DoNotOptimize(PrintTraceparent(identity.trace));
}
BENCHMARK(BM_Request_PrintTraceparent);

// All that there is around a request, besides taking its identity over.
void BM_Request_Served(benchmark::State& state) {
  server::RequestRegistry registry;
  OnFiber(state, [&] {
    const RequestIdentity identity = AcceptRequest(kReceived);
    for (auto _ : state) {
      server::ServedRequest served(registry, {.identity = identity, .route = "/order", .method = "GET"});
      served.set_status(200);
    }
  });
}
BENCHMARK(BM_Request_Served);

// The registry's part, of threads that serve the same route, with so many routes.
void BM_Request_Registry(benchmark::State& state) {
  static server::RequestRegistry registry;
  const RequestIdentity identity = AcceptRequest(kReceived);
  for (int i = 0; i < 50; ++i) registry.End(registry.Begin("/" + std::to_string(i), "GET", identity, FiberId{1}), 200);
  for (auto _ : state) registry.End(registry.Begin("/order", "GET", identity, FiberId{1}), 200);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Request_Registry)->Threads(1)->Threads(2)->UseRealTime();

}  // namespace
}  // namespace fiberscope
