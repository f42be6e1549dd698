#include "runtime/running_stack.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/instant.h"
#include "runtime/restartable_call.h"
#include "runtime/thread_status.h"

namespace fiberscope {
namespace {

using internal::ControlBlock;
using internal::SystemCall;

// A thread that wakes up and goes back to sleep all the time is left at that: as asleep, without a stack.
constexpr int kMaxAttempts = 3;

// Of a stack whose bounds are not known: most have no more, the second and third size are for what does not fit.
constexpr size_t kCopySizes[] = {16 << 10, 256 << 10, 4 << 20};

// The bytes of a copy, kept from one thread to the next.
using CopyBuffer = std::vector<std::byte>;

// Copies as much as the walk needs, up to the largest size.
UnwindResult WalkInCopy(const UnwindTable& table, const SystemCall& call, CopyBuffer& buffer, std::span<uintptr_t> pcs) {
  UnwindResult result;
  for (const size_t bytes : kCopySizes) {
    if (buffer.size() < bytes) buffer.resize(bytes);
    const StackMemory stack = CopyStack(call.sp, std::span(buffer).first(bytes));
    result = UnwindFromPcAndSp(table, call.pc, call.sp, stack, pcs);
    // A copy that is not full has all that there is.
    if (result.end != UnwindEnd::kBadFrame || stack.bounds.size() < bytes) break;
  }
  return result;
}

// A thread that was walked from outside, and what proves that it still sleeps.
struct Sleeper {
  const RunningThread* thread = nullptr;
  uint64_t sleeps = 0;
  SystemCall call;
  ControlBlock* stands_on = nullptr;
  const RunningStack* stack = nullptr;
};

// From outside. Nothing: the thread runs, or did in between. Exact, because the thread has slept from the first look at its
// system call to the last one; the order of the four looks is what proves it (thread_status.h).
std::optional<RunningStack> WalkSleeping(const UnwindTable& table, const RunningThread& thread, SystemCall& call,
                                         CopyBuffer& buffer, Sleeper& sleeper) {
  const auto sleeps = internal::SleepCount(thread.thread_id);
  const auto before = internal::SleepingSystemCall(thread.thread_id);
  if (!sleeps || !before) return std::nullopt;
  call = *before;
  RunningStack stack;
  StackBounds bounds;
  bool is_copied = false;
  ControlBlock* const fiber = internal::FiberPool::Instance().BlockOfStack(call.sp);
  if (fiber != nullptr) {
    bounds = fiber->stack();
    stack.fiber = fiber->fiber_id();
    stack.word = fiber->state.Load();
  } else if (call.sp >= thread.own_stack.low && call.sp < thread.own_stack.high) {
    bounds = thread.own_stack;
  } else {
    is_copied = thread.copy_stack;
  }
  stack.pcs.resize(RunningStack::kMaxFrames);
  const UnwindResult result = is_copied ? WalkInCopy(table, call, buffer, stack.pcs)
                                        : UnwindFromPcAndSp(table, call.pc, call.sp, bounds, stack.pcs);
  stack.pcs.resize(result.depth);
  stack.end = result.end;
  stack.outcome = RunningStack::Outcome::kCaptured;
  if (internal::SleepingSystemCall(thread.thread_id) != call) return std::nullopt;
  if (internal::SleepCount(thread.thread_id) != sleeps) return std::nullopt;
  sleeper = {.thread = &thread, .sleeps = *sleeps, .call = call, .stands_on = fiber};
  return stack;
}

// What can be had without a signal; false: send one.
bool CaptureWithoutSignal(const UnwindTable& table, const RunningThread& thread, CopyBuffer& buffer, RunningStack& stack,
                          Sleeper& sleeper) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (!internal::SleepingSystemCall(thread.thread_id)) return false;
    SystemCall call;
    auto walked = WalkSleeping(table, thread, call, buffer, sleeper);
    if (!walked) continue;
    stack = std::move(*walked);
    return stack.end != UnwindEnd::kUnknownRegister || !internal::OutlivesSignal(call) ||
           internal::SignalIsBlocked(thread.thread_id, internal::StackSignalNumber());
  }
  stack.outcome = RunningStack::Outcome::kRestless;
  return true;
}

bool SleepsStill(const Sleeper& sleeper) {
  return sleeper.thread != nullptr && internal::SleepingSystemCall(sleeper.thread->thread_id) == sleeper.call &&
         internal::SleepCount(sleeper.thread->thread_id) == sleeper.sleeps;
}

// While all other threads are held. The instant is between the walks and the first look here: who has slept until that was
// asleep at it.
bool RecordSleepers(internal::Instant& instant, std::span<const Sleeper> sleepers) {
  for (const Sleeper& sleeper : sleepers) {
    if (sleeper.thread == nullptr) return false;
    const StackBounds& own = sleeper.thread->own_stack;
    internal::RecordHeld(instant.word(), {.stands_on = sleeper.stands_on,
                                          .on_own_stack = sleeper.call.sp >= own.low && sleeper.call.sp < own.high,
                                          .runs = sleeper.thread->runs,
                                          .pcs = sleeper.stack->pcs,
                                          .truncated = sleeper.stack->end != UnwindEnd::kRoot});
  }
  return std::ranges::all_of(sleepers, SleepsStill);
}

}  // namespace

std::vector<RunningStack> CaptureRunningStacks(std::span<const RunningThread> threads, const CaptureOptions& options) {
  const UnwindTable& table = UnwindTable::Refresh();
  std::vector<RunningStack> stacks(threads.size());
  std::vector<RunningThread> running;
  std::vector<size_t> running_index;
  std::vector<Sleeper> sleepers;
  CopyBuffer buffer;
  // The number of the signal must be known, to see who blocks it. Without a free one the request below fails as well.
  if (internal::StackSignalNumber() == 0) (void)internal::AskForStacks({}, std::chrono::nanoseconds(0), {});
  const int64_t begin_ns = MonotonicNowNs();
  for (size_t i = 0; i < threads.size(); ++i) {
    if (MonotonicNowNs() - begin_ns >= options.walk_timeout.count()) {
      stacks[i].outcome = RunningStack::Outcome::kNoTime;
      continue;
    }
    Sleeper sleeper;
    if (CaptureWithoutSignal(table, threads[i], buffer, stacks[i], sleeper)) {
      sleeper.stack = &stacks[i];
      sleepers.push_back(sleeper);
      continue;
    }
    running.push_back(threads[i]);
    running_index.push_back(i);
  }
  std::vector<RunningStack> answers(running.size());
  const auto declare = [&options, &sleepers](bool all_wait) {
    options.instant->Declare(all_wait && RecordSleepers(*options.instant, sleepers));
  };
  const internal::InstantRequest instant{.instant = options.instant, .declare = declare};
  const absl::Status status =
      internal::AskForStacks(running, options.timeout, answers, options.instant != nullptr ? &instant : nullptr);
  for (size_t i = 0; i < running.size(); ++i) {
    RunningStack& stack = stacks[running_index[i]];
    if (!status.ok()) answers[i].outcome = RunningStack::Outcome::kNoSignal;
    // A thread that ran with the signal blocked may have gone to sleep in the meantime.
    RunningStack late;
    Sleeper sleeper;
    if (answers[i].outcome == RunningStack::Outcome::kNoAnswer && stack.pcs.empty() &&
        CaptureWithoutSignal(table, running[i], buffer, late, sleeper) && late.outcome == RunningStack::Outcome::kCaptured) {
      answers[i] = std::move(late);
    }
    // Half a stack, if it was walked from outside, is better than none.
    if (answers[i].outcome == RunningStack::Outcome::kCaptured || stack.pcs.empty()) stack = std::move(answers[i]);
  }
  return stacks;
}

}  // namespace fiberscope
