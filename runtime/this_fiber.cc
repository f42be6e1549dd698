#include "runtime/this_fiber.h"

#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/control_block.h"
#include "runtime/park.h"
#include "runtime/trace_hooks.h"
#include "runtime/worker.h"

namespace fiberscope::this_fiber {
namespace {

internal::ControlBlock& Self() {
  internal::ControlBlock* const self = internal::CurrentFiber();
  FIBERSCOPE_CHECK(self != nullptr, "this_fiber was asked on a thread that runs no fiber");
  return *self;
}

// Returns those that were there; they are to be dropped only after that. Release: a dump that sees the pointer sees the pairs. A
// load and a store, cheaper than an exchange, because only the fiber itself writes its labels while it lives.
Labels Replace(internal::ControlBlock& self, Labels labels) {
  Labels before = Labels::Adopt(self.labels.load(std::memory_order_relaxed));
  self.labels.store(std::move(labels).Release(), std::memory_order_release);
  if (internal::TraceOn()) internal::TraceLabels();
  return before;
}

void SleepUntilNs(int64_t deadline_ns) {
  Self();  // a CHECK failure on a plain thread
  internal::ClaimedWait wait({.deadline_ns = deadline_ns});
  internal::ThrowInterrupted(wait.Wait({.reason = WaitReason::kSleep}));
}

}  // namespace

FiberId id() {
  const internal::ControlBlock* const self = internal::CurrentFiber();
  return self == nullptr ? FiberId{} : self->fiber_id();
}

std::string name() {
  std::array<char, internal::AtomicName::kBytes> buffer;
  return std::string(Self().name.Load(buffer));
}

void SetName(std::string_view name) { Self().name.Store(name); }

Labels labels() {
  internal::ControlBlock* const self = internal::CurrentFiber();
  return self == nullptr ? Labels() : Labels::Share(self->labels.load(std::memory_order_relaxed));
}

void SetLabels(Labels labels) { const Labels old = Replace(Self(), std::move(labels)); }

LabelsScope::LabelsScope(Labels labels) {
  internal::ControlBlock* const self = internal::CurrentFiber();
  if (self != nullptr) before_ = Replace(*self, std::move(labels));
}

LabelsScope::~LabelsScope() {
  if (internal::ControlBlock* const self = internal::CurrentFiber(); self != nullptr) {
    const Labels ended = Replace(*self, std::move(before_));
  }
}

void Yield() { internal::YieldFiber(); }

void SleepFor(std::chrono::nanoseconds duration) {
  if (duration.count() <= 0) {
    Yield();
    return;
  }
  const int64_t now_ns = MonotonicNowNs();
  int64_t deadline_ns;
  if (__builtin_add_overflow(now_ns, duration.count(), &deadline_ns)) deadline_ns = internal::TimerQueue::kNever - 1;
  SleepUntilNs(deadline_ns);
}

void SleepUntil(std::chrono::steady_clock::time_point deadline) {
  const int64_t deadline_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch()).count();
  if (deadline_ns <= MonotonicNowNs()) {
    Yield();
    return;
  }
  SleepUntilNs(deadline_ns);
}

}  // namespace fiberscope::this_fiber
