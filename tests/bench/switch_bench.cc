// Protects the decision for a switch of our own (runtime/stack/context_switch.h) and what it costs to begin and end a fiber; and
// for slabs of stacks: making one ready in a batch is to cost under half a microsecond.
//
//   bazel run //tests/bench:switch_bench
#include <cstdint>
#include <vector>

#include "benchmark/benchmark.h"
#include "runtime/stack/context_switch.h"
#include "runtime/stack/stack_bounds.h"
#include "runtime/stack/stack_slab.h"

namespace fiberscope {
namespace {

StackBounds TakeStack() {
  static uint32_t next = 0;
  StackSlab& slab = StackSlab::ForClass(StackClass::k64KiB);
  if (next == slab.slot_count()) slab.AddBatch().value();
  return slab.Bounds(next++);
}

struct Partner {
  SwitchTarget thread;
  StackBounds thread_stack = ThreadStackBounds();
  SwitchTarget fiber;
  StackBounds fiber_stack;
};

// Switches back until it is given null.
LastSwitch Echo(void* argument) {
  Partner& partner = *static_cast<Partner*>(argument);
  FinishFirstSwitch(partner.fiber);
  while (SwitchTo(partner.fiber, partner.thread, partner.thread_stack, nullptr) != nullptr) {
  }
  return SwitchForGood(partner.fiber, partner.thread, partner.thread_stack, nullptr);
}

// One thread and one fiber: two switches an iteration.
void BM_Switch_PingPong(benchmark::State& state) {
  Partner partner;
  AdoptThreadStack(partner.thread);
  partner.fiber_stack = TakeStack();
  PrepareTarget(partner.fiber, partner.fiber_stack, &Echo);
  for (auto _ : state) SwitchTo(partner.thread, partner.fiber, partner.fiber_stack, &partner);
  SwitchTo(partner.thread, partner.fiber, partner.fiber_stack, nullptr);
  ReleaseTarget(partner.fiber);
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(BM_Switch_PingPong);

// Round after round over many fibers: cache and TLB misses of cold stacks.
void BM_Switch_RoundRobin(benchmark::State& state) {
  std::vector<Partner> partners(static_cast<size_t>(state.range(0)));
  for (Partner& partner : partners) {
    AdoptThreadStack(partner.thread);
    partner.fiber_stack = TakeStack();
    PrepareTarget(partner.fiber, partner.fiber_stack, &Echo);
  }
  for (auto _ : state) {
    for (Partner& partner : partners) SwitchTo(partner.thread, partner.fiber, partner.fiber_stack, &partner);
  }
  for (Partner& partner : partners) {
    SwitchTo(partner.thread, partner.fiber, partner.fiber_stack, nullptr);
    ReleaseTarget(partner.fiber);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * 2);
}
BENCHMARK(BM_Switch_RoundRobin)->ArgName("fibers")->Arg(100)->Arg(1000)->Arg(10000);

LastSwitch EndAtOnce(void* argument) {
  Partner& partner = *static_cast<Partner*>(argument);
  FinishFirstSwitch(partner.fiber);
  return SwitchForGood(partner.fiber, partner.thread, partner.thread_stack, nullptr);
}

// The machine's share of a fiber's life: prepare, first switch, last switch, on a warm stack.
void BM_Switch_PrepareRunEnd(benchmark::State& state) {
  Partner partner;
  AdoptThreadStack(partner.thread);
  partner.fiber_stack = TakeStack();
  for (auto _ : state) {
    PrepareTarget(partner.fiber, partner.fiber_stack, &EndAtOnce);
    SwitchTo(partner.thread, partner.fiber, partner.fiber_stack, &partner);
  }
  ReleaseTarget(partner.fiber);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Switch_PrepareRunEnd);

// Stacks made ready, guards included; nothing is touched. 100 batches: 102,400 stacks, 6.4 GiB of addresses.
void BM_StackSlab_AddBatch(benchmark::State& state) {
  StackSlab slab(StackSlab::Options{});
  for (auto _ : state) slab.AddBatch().value();
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(slab.slots_per_batch()));
}
BENCHMARK(BM_StackSlab_AddBatch)->Iterations(100);

void BM_StackSlab_FindStack(benchmark::State& state) {
  const uintptr_t address = TakeStack().high - 100;
  for (auto _ : state) benchmark::DoNotOptimize(FindStack(address));
}
BENCHMARK(BM_StackSlab_FindStack);

}  // namespace
}  // namespace fiberscope
