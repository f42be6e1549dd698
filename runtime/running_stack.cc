#include "runtime/running_stack.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/instant.h"
#include "runtime/restartable_call.h"
#include "runtime/sleeping_stack.h"
#include "runtime/thread_status.h"

namespace fiberscope {
namespace {

// A thread that wakes up and goes back to sleep all the time is left at that: as asleep, without a stack.
constexpr int kMaxAttempts = 3;

// Of a stack whose bounds are not known, at most.
constexpr size_t kCopyBytes = 4 << 20;

// Kept from one thread to the next. Untouched bytes of it cost nothing.
using CopyBuffer = std::unique_ptr<std::byte[]>;

// A thread that was walked from outside, and what proves that it still sleeps.
struct Sleeper {
  const RunningThread* thread = nullptr;
  internal::SleepingStack walked;
  const RunningStack* stack = nullptr;
};

// From outside. Nothing: the thread runs, or did in between.
std::optional<RunningStack> WalkOne(const UnwindTable& table, const RunningThread& thread, CopyBuffer& buffer, Sleeper& sleeper) {
  if (thread.copy_stack && buffer == nullptr) buffer = std::make_unique_for_overwrite<std::byte[]>(kCopyBytes);
  internal::ThreadFileBuffer file;
  RunningStack stack;
  stack.pcs.resize(RunningStack::kMaxFrames);
  const auto walked = internal::WalkSleeping(
      table, thread.thread_id, thread.own_stack,
      {.file = file, .copy = {buffer.get(), thread.copy_stack ? kCopyBytes : 0}, .pcs = stack.pcs});
  if (!walked) return std::nullopt;
  if (walked->fiber != nullptr) {
    stack.fiber = walked->fiber->fiber_id();
    stack.word = walked->word;
  }
  stack.pcs.resize(walked->walk.depth);
  stack.end = walked->walk.end;
  stack.outcome = RunningStack::Outcome::kCaptured;
  sleeper = {.thread = &thread, .walked = *walked};
  return stack;
}

// What can be had without a signal; false: send one.
bool CaptureWithoutSignal(const UnwindTable& table, const RunningThread& thread, CopyBuffer& buffer, RunningStack& stack,
                          Sleeper& sleeper) {
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    if (!internal::SleepingSystemCall(thread.thread_id)) return false;
    auto walked = WalkOne(table, thread, buffer, sleeper);
    if (!walked) continue;
    stack = std::move(*walked);
    return stack.end != UnwindEnd::kUnknownRegister || !internal::OutlivesSignal(sleeper.walked.call) ||
           internal::SignalIsBlocked(thread.thread_id, internal::StackSignalNumber());
  }
  stack.outcome = RunningStack::Outcome::kRestless;
  return true;
}

// While all other threads are held. The instant is between the walks and the first look here: who has slept until that was
// asleep at it.
bool RecordSleepers(internal::Instant& instant, std::span<const Sleeper> sleepers) {
  for (const Sleeper& sleeper : sleepers) {
    if (sleeper.thread == nullptr) return false;
    const StackBounds& own = sleeper.thread->own_stack;
    internal::RecordHeld(instant.word(), {.stands_on = sleeper.walked.fiber,
                                          .on_own_stack = own.low <= sleeper.walked.call.sp && sleeper.walked.call.sp < own.high,
                                          .runs = sleeper.thread->runs,
                                          .pcs = sleeper.stack->pcs,
                                          .truncated = sleeper.stack->end != UnwindEnd::kRoot});
  }
  return std::ranges::all_of(sleepers, [](const Sleeper& sleeper) {
    return internal::SleepsStill(sleeper.thread->thread_id, sleeper.walked);
  });
}

}  // namespace

std::vector<RunningStack> CaptureRunningStacks(std::span<const RunningThread> threads, const CaptureOptions& options) {
  // With threads at the gate nothing may wait for the loader's lock; the table has been refreshed before.
  const UnwindTable& table = options.instant != nullptr ? *UnwindTable::Current() : UnwindTable::Refresh();
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
