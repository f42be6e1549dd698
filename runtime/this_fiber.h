// What code inside a fiber may ask for itself.
//
// All of it is Fiber-only unless said otherwise: elsewhere it is a CHECK failure.
#ifndef FIBERSCOPE_RUNTIME_THIS_FIBER_H_
#define FIBERSCOPE_RUNTIME_THIS_FIBER_H_

#include <chrono>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/fiber_id.h"
#include "runtime/labels.h"

namespace fiberscope::this_fiber {

// No fiber (id 0) on a plain thread. Any thread.
FiberId id();

// The name given at spawn or by SetName, cut to 32 bytes.
std::string name();
void SetName(std::string_view name);

// A fiber's labels are inherited by the fibers it spawns from then on. Plain threads have none: labels() is empty there, and what
// samples a thread that runs no fiber shows no labels.
Labels labels();
void SetLabels(Labels labels);

// Labels in place of the fiber's for the length of a scope: its end puts back what was there at the beginning, whatever was set in
// between. Belongs on the stack. Any thread; on a plain one nothing happens, so that code that runs on both may use it.
// Cost: 20 ns for both ends, of which most is a reference taken and dropped.
class [[nodiscard]] LabelsScope {
 public:
  explicit LabelsScope(Labels labels);
  ~LabelsScope();
  LabelsScope(const LabelsScope&) = delete;
  LabelsScope& operator=(const LabelsScope&) = delete;

 private:
  Labels before_;
};

// Calls `function` with the fiber's labels overlaid with `pairs`, which win, and returns or throws what it does; its labels are
// back then. Any thread, as LabelsScope. Go: pprof.Do. To save the making of the labels (0.2 us), make them once and use
// LabelsScope.
template <typename F>
decltype(auto) WithLabels(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs, F&& function) {
  const LabelsScope scope(labels().With(pairs));
  return std::forward<F>(function)();
}

// Lets other runnable fibers run first. Returns at once when there are none.
void Yield();

// Parks the fiber (WaitReason::kSleep). A duration of zero or less yields. Precision: the kernel's timers, ~50 us on an idle
// machine; late by what the worker is doing otherwise.
void SleepFor(std::chrono::nanoseconds duration);
void SleepUntil(std::chrono::steady_clock::time_point deadline);

}  // namespace fiberscope::this_fiber

#endif  // FIBERSCOPE_RUNTIME_THIS_FIBER_H_
