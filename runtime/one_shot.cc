#include "runtime/one_shot.h"

#include <mutex>

#include "runtime/base/check.h"
#include "runtime/wait_through_stop.h"

namespace fiberscope::internal {

OneShot::~OneShot() { FIBERSCOPE_CHECK(waiters_.empty(), "a result goes away while somebody waits for it"); }

void OneShot::Publish() {
  WakeList waiting;
  {
    std::lock_guard guard(lock_);
    published_.store(true, std::memory_order_release);
    waiters_.ClaimAll(waiting);
  }
  WakeAll(waiting, WaitOutcome::kDone);
}

WaitOutcome OneShot::Wait(const ParkInfo& info, const WaitLimits& limits) {
  if (published()) return WaitOutcome::kDone;
  lock_.lock();
  if (published()) {
    lock_.unlock();
    return WaitOutcome::kDone;
  }
  const WaitOutcome outcome = WaitIn(waiters_, lock_, info, nullptr, limits);
  return outcome != WaitOutcome::kDone && published() ? WaitOutcome::kDone : outcome;
}

void OneShot::WaitThroughStop(const ParkInfo& info) {
  std::lock_guard guard(lock_);
  while (!published()) ParkThroughStop(waiters_, lock_, info);
}

}  // namespace fiberscope::internal
