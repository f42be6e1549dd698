// What code inside a fiber may ask for itself.
//
// All of it is Fiber-only unless said otherwise: elsewhere it is a CHECK failure.
#ifndef FIBERSCOPE_RUNTIME_THIS_FIBER_H_
#define FIBERSCOPE_RUNTIME_THIS_FIBER_H_

#include <chrono>
#include <string>
#include <string_view>

#include "runtime/fiber_id.h"
#include "runtime/labels.h"

namespace fiberscope::this_fiber {

// No fiber (id 0) on a plain thread. Any thread.
FiberId id();

// The name given at spawn or by SetName, cut to 32 bytes.
std::string name();
void SetName(std::string_view name);

// A fiber's labels are inherited by the fibers it spawns from then on. labels() is empty on a plain thread.
Labels labels();
void SetLabels(Labels labels);

// Lets other runnable fibers run first. Returns at once when there are none.
void Yield();

// Parks the fiber (WaitReason::kSleep). A duration of zero or less yields. Precision: the kernel's timers, ~50 us on an idle
// machine; late by what the worker is doing otherwise.
void SleepFor(std::chrono::nanoseconds duration);
void SleepUntil(std::chrono::steady_clock::time_point deadline);

}  // namespace fiberscope::this_fiber

#endif  // FIBERSCOPE_RUNTIME_THIS_FIBER_H_
