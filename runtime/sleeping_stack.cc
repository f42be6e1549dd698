#include "runtime/sleeping_stack.h"

#include <algorithm>

#include "runtime/fiber_pool.h"
#include "runtime/stack/stack_memory.h"

namespace fiberscope::internal {
namespace {

// Of a copy: most stacks have no more, the larger sizes are for what does not fit.
constexpr size_t kSmallestCopy = 16 << 10;
constexpr size_t kGrowth = 16;

UnwindResult WalkInCopy(const UnwindTable& table, const SystemCall& call, const SleepingWalkMemory& memory) {
  UnwindResult result;
  for (size_t bytes = kSmallestCopy;; bytes *= kGrowth) {
    bytes = std::min(bytes, memory.copy.size());
    const StackMemory stack = CopyStack(call.sp, memory.copy.first(bytes));
    result = UnwindFromPcAndSp(table, call.pc, call.sp, stack, memory.pcs);
    // A copy that is not full has all that there is.
    if (result.end != UnwindEnd::kBadFrame || stack.bounds.size() < bytes || bytes == memory.copy.size()) return result;
  }
}

}  // namespace

// After a look at both in the other order: that is what proves it (thread_status.h).
bool SleepsStill(int thread_id, const SleepingStack& walked, std::span<char> file) {
  return SleepingSystemCall(thread_id, file) == walked.call && SleepCount(thread_id, file) == walked.sleeps;
}

std::optional<SleepingStack> WalkSleeping(const UnwindTable& table, int thread_id, StackBounds own_stack,
                                          const SleepingWalkMemory& memory) {
  const auto sleeps = SleepCount(thread_id, memory.file);
  const auto call = SleepingSystemCall(thread_id, memory.file);
  if (!sleeps || !call) return std::nullopt;
  SleepingStack stack{.call = *call,
                      .sleeps = *sleeps,
                      .fiber = FiberPool::Instance().BlockOfStack(call->sp),
                      .word = {},
                      .walk = {}};
  StackBounds bounds;
  if (stack.fiber != nullptr) {
    bounds = stack.fiber->stack();
    stack.word = stack.fiber->state.Load();
  } else if (call->sp >= own_stack.low && call->sp < own_stack.high) {
    bounds = own_stack;
  }
  stack.walk = bounds.size() == 0 && !memory.copy.empty() ? WalkInCopy(table, *call, memory)
                                                          : UnwindFromPcAndSp(table, call->pc, call->sp, bounds, memory.pcs);
  if (!SleepsStill(thread_id, stack, memory.file)) return std::nullopt;
  return stack;
}

}  // namespace fiberscope::internal
