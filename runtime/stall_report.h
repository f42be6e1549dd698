// What the monitor says about a fiber that keeps its worker to itself.
//
// A fiber should give its processor up every now and then: by waiting, by yielding, or by saying that a call blocks
// (blocking.h). One that does not for more than 10 ms makes others wait that could run. The monitor lends a processor in its
// place, so that the scheduler goes on, and reports the fiber, so that somebody puts it right.
#ifndef FIBERSCOPE_RUNTIME_STALL_REPORT_H_
#define FIBERSCOPE_RUNTIME_STALL_REPORT_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/fiber_id.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope {

struct StallReport {
  enum class Kind : uint8_t {
    kBlocked,    // the thread sleeps in the kernel: a blocking call that is not inside Blocking()
    kComputing,  // the thread runs, or waits for a CPU
  };
  Kind kind = Kind::kComputing;
  FiberId fiber;
  std::string name;                   // the fiber's; arbitrary bytes
  std::chrono::nanoseconds duration;  // so far; the stall goes on
  int thread_id = 0;                  // of the kernel: a debugger or /proc/self/task/<id>/stack shows more
  FiberId parent;                     // the fiber that spawned it
  uintptr_t entry_pc = 0;             // first instruction of the fiber's function
  uintptr_t creator_pc = 0;           // return address of the call to Spawn
  uint64_t suppressed = 0;            // stalls since the last report that were counted but not reported
  // The fiber's stack as it was when the monitor looked (running_stack.h): the exact pc, then return addresses. The report changes
  // nothing in what the fiber does: a sleep is not cut short for it.
  std::vector<uintptr_t> stack;
  UnwindEnd stack_end = UnwindEnd::kRoot;  // what the outermost frame of `stack` is
  std::string no_stack;                    // why `stack` is empty
};

// Called on the monitor's thread, at most once a second. May take its time, but while it does no stall is found and no
// processor taken back from a blocking call.
using StallHandler = std::function<void(const StallReport&)>;

// One line: "fiber 7 \"resize\" has not let go of its thread for 12 ms: blocked in the kernel outside Blocking(); entry ...,
// created at ...". Names come from the symbol tables; text from outside is escaped. Then the stack, a line per frame, the fiber's
// function last; what called that is not shown.
std::string FormatStall(const StallReport& report);

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_STALL_REPORT_H_
