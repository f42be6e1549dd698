#include "runtime/suspend.h"

#include <sched.h>

#include <utility>

#include "runtime/base/check.h"

namespace fiberscope::internal {
namespace {

constexpr uint64_t kClaimed = 4;
constexpr uint64_t kArrivals = 3;
constexpr int kGenerationShift = 32;

ControlBlock& Self() {
  ControlBlock* const self = CurrentFiber();
  FIBERSCOPE_CHECK(self != nullptr, "only a fiber can be suspended");
  return *self;
}

bool Claim(const Suspension::Token& token) {
  uint64_t word = token.fiber->suspend_word.load(std::memory_order_relaxed);
  do {
    if (word >> kGenerationShift != token.generation || (word & kClaimed) != 0) return false;
    // Acquire: the slot, set before the fiber arrived or before the callback was started, is visible to the winner.
  } while (!token.fiber->suspend_word.compare_exchange_weak(word, word | kClaimed, std::memory_order_acquire,
                                                            std::memory_order_relaxed));
  return true;
}

// True for the second of the two parties. acq_rel: each sees what the other did before it arrived.
bool Arrive(ControlBlock& fiber) {
  return (fiber.suspend_word.fetch_add(1, std::memory_order_acq_rel) & kArrivals) == 1;
}

}  // namespace

Suspension::Suspension() : fiber_(Self()) {
  generation_ = (fiber_.suspend_word.load(std::memory_order_relaxed) >> kGenerationShift) + 1;
  generation_ &= (uint64_t{1} << (64 - kGenerationShift)) - 1;
  fiber_.suspend_word.store(generation_ << kGenerationShift, std::memory_order_relaxed);
}

Suspension::~Suspension() {
  // Only if starting the operation threw: then a callback may still come, and the slot goes away.
  if (waited_ || Claim(token())) return;
  // One is there and writes at this moment. Acquire pairs with its arrival.
  while ((fiber_.suspend_word.load(std::memory_order_acquire) & kArrivals) == 0) sched_yield();
}

bool Suspension::Wait(const ParkInfo& info) {
  waited_ = true;
  const auto commit = [](ControlBlock& self, void*) { return !Arrive(self); };
  if (Park(info, commit, nullptr)) return true;
  // The scheduler stops. Whoever claimed has the result written before this thread, which alone runs fibers and the
  // reactor now, could get here; otherwise nobody ever may.
  return !Claim(token());
}

bool Suspension::WaitThroughStop(const ParkInfo& info, absl::FunctionRef<void()> cancel) {
  waited_ = true;
  const auto arrive = [](ControlBlock& self, void*) { return !Arrive(self); };
  // Parked again: the fiber has arrived already. While the scheduler stops one thread runs the fibers and the reactor,
  // so nobody completes between the look at the word and the park.
  const auto stay = [](ControlBlock& self, void*) {
    return self.suspend_word.load(std::memory_order_relaxed) % 4 == 1;
  };
  bool stopped = false;
  for (ParkCommit commit = arrive;; commit = stay) {
    ParkInEarnest(info, commit, nullptr);
    // Acquire pairs with the completer's arrival.
    if ((fiber_.suspend_word.load(std::memory_order_acquire) & kArrivals) == 2) return !stopped;
    if (!std::exchange(stopped, true)) cancel();
  }
}

bool Suspension::Complete(const Token& token, absl::FunctionRef<void(void* slot)> write) {
  if (!Claim(token)) return false;
  write(token.fiber->waiter.slot);
  if (Arrive(*token.fiber)) Unpark(*token.fiber);
  return true;
}

}  // namespace fiberscope::internal
