// A trace in which everything happens that a trace can say, in two generations.
#ifndef FIBERSCOPE_TESTS_TESTING_EVERY_TRACE_EVENT_H_
#define FIBERSCOPE_TESTS_TESTING_EVERY_TRACE_EVENT_H_

#include <memory>
#include <vector>

#include "runtime/trace/trace_generation.h"

namespace fiberscope::testing {

// Processors 0 (of thread 100 at first), 1 (of thread 101, in a blocking call) and 2 (idle). Fibers at the beginning: 1
// runs, 2 is in a blocking call on processor 1, 3 in one of thread 103, without a processor, 4 waits, 5 is runnable, 9 waits,
// 10 is in a blocking call on processor 4, of which nothing is heard at first.
// Later: 6 (spawned by 1), 7 (by thread 100 with no fiber), 8 (in a foreign thread). Stacks end at the address 1000 +
// fiber, for FakeTraceFrames.
std::vector<std::shared_ptr<const TraceGeneration>> EveryTraceEvent();

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_EVERY_TRACE_EVENT_H_
