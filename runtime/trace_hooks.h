// Where the scheduler tells the execution trace what it does. Each is called behind TraceOn(), so that it costs one load and one
// branch while nobody traces; trace_writer.h says what it does otherwise.
//
// A hook about a fiber is called by whoever may move it, before anybody else can. None is inlined: the innermost frame of a stack
// is the caller of the hook, and thread-local variables are those of the thread on which it begins. Never parks.
#ifndef FIBERSCOPE_RUNTIME_TRACE_HOOKS_H_
#define FIBERSCOPE_RUNTIME_TRACE_HOOKS_H_

#include <cstdint>
#include <vector>

#include "runtime/control_block.h"
#include "runtime/processor_status.h"
#include "runtime/trace/trace_writer.h"
#include "runtime/unwind/unwinder.h"
#include "runtime/wait_reason.h"

namespace fiberscope::internal {

// Of the hook's caller, who runs on the fiber's stack. A macro, since it is about the frame that it stands in.
#define FIBERSCOPE_CALLERS_STACK(writer, fiber)                                                                 \
  (writer).Stack((fiber).stack(), reinterpret_cast<uintptr_t>(__builtin_return_address(0)),                     \
                 reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) + 2 * sizeof(uintptr_t), nullptr)

class Processor;
class Worker;

// The fiber that runs on the worker, or none, as a trace sees it.
TracedFiber TracedFiberOf(const Worker& worker);

// The calling thread's worker has taken a processor, or is about to give its up.
void TraceProcessorStart(Worker& worker);
void TraceProcessorStop();
void TraceProcessorCount(uint32_t before, uint32_t after);  // of a scheduler; always to be called

// Any thread.
void TraceSpawn(ControlBlock& spawned);
void TraceUnpark(ControlBlock& fiber);
void TraceTimer(ControlBlock& fiber);
void TraceUnparkAtOnce(ControlBlock& fiber);  // what it was about to wait for has come meanwhile

// On the worker's thread. Of a chain through ControlBlock::next from the inject queue.
void TraceArrived(Worker& worker, ControlBlock& first);
// `follows`: right after another fiber's last event, whose time is taken.
void TraceStart(Worker& worker, ControlBlock& next, bool follows);

// By the fiber that runs on the worker.
void TraceYield(Worker& worker);
void TracePark(Worker& worker, WaitReason reason);
void TraceExit(Worker& worker);
void TraceLabels();  // they have changed; any thread
void TraceBlockingBegin(Worker& worker, const Registers& here);
void TraceBlockingHandOff(Processor& processor);
// `kept`: with the processor that it had. Otherwise perhaps with another one.
void TraceBlockingEnd(Worker& worker, bool kept);

// Threads that run a fiber with a processor at the moment. Any thread.
std::vector<TracedRunning> TraceRunningNow();

// ProcessorStatus::Retake, traced.
bool TraceRetake(Processor& processor, BlockingTicket ticket);

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_HOOKS_H_
