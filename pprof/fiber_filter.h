// Which fibers a request wants to see.
#ifndef FIBERSCOPE_PPROF_FIBER_FILTER_H_
#define FIBERSCOPE_PPROF_FIBER_FILTER_H_

#include <chrono>
#include <optional>
#include <vector>

#include "pprof/function_pattern.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/fiber_state.h"
#include "runtime/labels.h"
#include "runtime/wait_reason.h"

namespace fiberscope::pprof {

// A fiber must pass all that is set. Thread-compatible; a value.
struct FiberFilter {
  std::optional<FiberState> state = {};
  std::optional<WaitReason> reason = {};
  // Has been parked, or in a call that blocks its thread, for at least so long.
  std::optional<std::chrono::nanoseconds> min_wait = {};
  // Has every one of them, bytewise. A fiber's name counts as its label "name" unless it has a label of that key, as in the dump.
  std::vector<Label> labels = {};
  // One function of the stack matches; StackMatcher tells.
  std::optional<FunctionPattern> function = {};

  // Every fiber passes.
  bool empty() const { return !state && !reason && !min_wait && labels.empty() && !function; }

  // Whether the fiber passes everything but `function`: what can be told without symbols. Allocates nothing.
  bool MatchesRecord(const FiberSnapshot& fiber) const;
};

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_FIBER_FILTER_H_
