#include "tests/testing/every_trace_event.h"

#include <cstdint>

#include "runtime/trace/trace_event.h"
#include "tests/testing/trace_builder.h"

namespace fiberscope::testing {
namespace {

using enum TraceEvent;

constexpr uint64_t kRuns = 2, kBlocks = 3, kWaits = 4, kIsRunnable = 1;
constexpr uint64_t kPRuns = 1, kPIdles = 2, kPBlocks = 3;

void AddFirst(TraceBuilder& t) {
  const uint64_t network = t.String("network"), receive = t.String("chan receive"), sleep = t.String("sleep");
  const uint64_t yield = t.String("runtime.Gosched"), handle = t.String("handle \"x\" <&> \xff"),
                 parse = t.String("parse");
  const uint64_t route = t.String("route=/a"), key = t.String("key"), value = t.String("value\n2"),
                 barrier = t.String("barrier");
  const uint64_t of1 = t.Stack({11, 12, 1001}), of1_more = t.Stack({13, 1001}), of6 = t.Stack({61, 1006}),
                 entry6 = t.Stack({1006});
  const uint64_t entry7 = t.Stack({1007}), poll = t.Stack({99}), of2 = t.Stack({21, 1002}), of5 = t.Stack({51, 1005});
  t.On(100).Add(kProcessorStatus, 0, kPRuns).Add(kFiberStatus, 1, 100, kRuns);
  t.On(101).Add(kProcessorStatus, 1, kPBlocks).Add(kFiberStatus, 2, 101, kBlocks);
  t.On(kNoTraceThread).Add(kProcessorStatus, 2, kPIdles).Add(kFiberStatus, 3, 103, kBlocks);
  t.Add(kFiberStatus, 4, kNoTraceThread, kWaits).Add(kFiberStatus, 5, kNoTraceThread, kIsRunnable);
  t.On(100).Add(kProcessorsChange, 3, 0).Add(kFiberCreate, 6, entry6, of1).Add(kHeapAlloc, 1000).Add(kHeapGoal, 4000);
  t.Add(kTaskBegin, 50, 0, handle, of1).Add(kRegionBegin, 50, parse, of1_more).Add(kLog, 50, key, value, of1);
  t.Add(kFiberLabel, route).Add(kFiberStop, yield, of1).Add(kFiberStart, 6, 1).Add(kFiberBlock, receive, of6);
  t.Add(kFiberStart, 1, 1).Add(kFiberUnblock, 6, 2, of1).Add(kRegionEnd, 50, parse, 0).Add(kTaskEnd, 50, of1);
  // Fiber 2's call goes on without its processor.
  t.On(104).Add(kProcessorSteal, 1, 1, 101).Add(kProcessorStart, 1, 2).Add(kFiberStart, 5, 1);
  t.On(101).Add(kBlockingEndLost);
  t.On(104).Add(kBlockingBegin, 3, of5).Add(kBlockingEnd).Add(kFiberBlock, network, of5);
  // Nobody has a processor for the one that sees the network, and the one that waits.
  t.On(105).Add(kFiberUnblock, 5, 2, poll).Add(kFiberUnblock, 4, 1, poll);
  t.On(104)
      .Add(kFiberStart, 2, 1)
      .Add(kFiberBlock, barrier, of2)
      .Add(kFiberCreate, 7, entry7, 0)
      .Add(kFiberStart, 7, 1);
  t.Add(kFiberDestroy);
  t.On(106).Add(kFiberCreateBlocking, 8).Add(kProcessorStart, 2, 1).Add(kBlockingEndLost).Add(kFiberStart, 8, 1);
  t.On(100).Add(kFiberBlock, sleep, of1);
  t.generation().statuses = {{.fiber = 9, .status = TraceFiberStatus::kWaiting, .stack = t.Stack({1009})},
                             {.fiber = 10, .status = TraceFiberStatus::kBlocking, .thread = 108}};
  t.generation().samples = {{1150, 100, 0, 1, of1}, {1155, 104, 1, 5, of5}, {1157, 107, kNoTraceThread, 0, poll}};
}

void AddSecond(TraceBuilder& t) {
  const uint64_t forever = t.String("forever"), preempted = t.String("preempted"), select = t.String("select");
  const uint64_t sync = t.String("sync"), send = t.String("chan send"), condition = t.String("sync.(*Cond).Wait");
  const uint64_t poll = t.Stack({99}), of1 = t.Stack({14, 1001}), of8 = t.Stack({81, 1008}), of2 = t.Stack({22, 1002});
  t.On(100).Add(kProcessorStatus, 0, kPRuns);
  t.On(kNoTraceThread).Add(kFiberStatus, 1, kNoTraceThread, kWaits).Add(kFiberStatus, 5, kNoTraceThread, kIsRunnable);
  t.Add(kFiberStatus, 2, kNoTraceThread, kWaits).Add(kProcessorStatus, 3, kPIdles);
  t.Add(kFiberStatus, 6, kNoTraceThread, kIsRunnable);
  t.On(100)
      .Add(kFiberUnblock, 1, 1, poll)
      .Add(kFiberStart, 1, 2)
      .Add(kFiberStop, preempted, of1)
      .Add(kFiberStart, 1, 3);
  t.Add(kFiberBlock, select, of1).Add(kFiberUnblock, 1, 4, poll).Add(kFiberStart, 1, 5).Add(kFiberBlock, sync, of1);
  t.Add(kFiberUnblock, 1, 6, poll).Add(kFiberStart, 1, 7).Add(kFiberBlock, send, of1);
  t.Add(kFiberUnblock, 1, 8, poll).Add(kFiberStart, 1, 9).Add(kFiberBlock, condition, of1);
  t.Add(kFiberUnblock, 1, 10, poll).Add(kFiberStart, 1, 11).Add(kFiberBlock, forever, of1);
  t.On(106)
      .Add(kProcessorStatus, 2, kPRuns)
      .Add(kFiberStatus, 8, 106, kRuns)
      .Add(kBlockingBegin, 1, of8)
      .Add(kFiberDestroyBlocking);
  t.On(104)
      .Add(kProcessorStatus, 1, kPRuns)
      .Add(kProcessorSteal, 2, 2, 106)
      .Add(kFiberUnblock, 2, 1, poll)
      .Add(kFiberStart, 2, 2);
  // In a call since before the beginning.
  t.On(kNoTraceThread).Add(kFiberStatus, 3, 103, kBlocks).On(103).Add(kBlockingEndLost).On(104);
  // In one that turns out to have kept its processor.
  t.On(108).Add(kFiberStatus, 10, 108, kBlocks).Add(kProcessorStatus, 4, kPBlocks).Add(kBlockingEnd);
  t.Add(kFiberBlock, select, t.Stack({101, 1010})).On(104);
  // Kept from the beginning, given away, back.
  t.Add(kBlockingBegin, 1, of2)
      .Add(kProcessorStop)
      .Add(kProcessorStart, 3, 1)
      .Add(kBlockingEndLost)
      .Add(kFiberStart, 2, 3);
  t.Add(kFiberDestroy).Add(kFiberStart, 3, 1).Add(kFiberDestroy).Add(kFiberStart, 5, 1).Add(kFiberBlock, forever, 0);
  t.On(105).Add(kFiberUnblock, 5, 2, 0);
  t.On(104).Add(kProcessorStop);
  t.On(100).Add(kFiberStart, 6, 1);
}

}  // namespace

std::vector<std::shared_ptr<const TraceGeneration>> EveryTraceEvent() {
  TraceBuilder first(1);
  AddFirst(first);
  TraceBuilder second(2);
  AddSecond(second);
  return {first.Build(), second.Build()};
}

}  // namespace fiberscope::testing
