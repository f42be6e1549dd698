// A fixed number of parties meet: each waits until all have arrived, round after round.
//
//   Barrier barrier(workers);
//   for (int step = 0; step < steps; ++step) { Compute(step); if (barrier.ArriveAndWait()) Publish(step); }
//
// For "until a number of things have happened" take WaitGroup.
//
// Thread-safe; for fibers and plain threads. Parks the fiber (WaitReason::kBarrier) or blocks the thread. ArriveAndWait
// throws WaitCancelled when the fiber is cancelled while it waits. A party that leaves early, by deadline or
// cancellation, has not arrived in this round: the others go on waiting for it. Must outlive every use; the destructor
// CHECKs that none waits. Cost: one futex-lock round trip per call.
#ifndef FIBERSCOPE_RUNTIME_SYNC_BARRIER_H_
#define FIBERSCOPE_RUNTIME_SYNC_BARRIER_H_

#include <chrono>
#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/base/futex_lock.h"
#include "runtime/deadline.h"
#include "runtime/park.h"
#include "runtime/wait_object.h"

namespace fiberscope {

class Barrier {
 public:
  // `parties` > 0. `name` must outlive the barrier; it appears in dumps.
  __attribute__((always_inline)) explicit Barrier(int64_t parties, const char* name = nullptr)
      : Barrier(parties, name, CurrentPc()) {}
  ~Barrier();
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  // True for exactly one party of each round, the last to arrive. What the parties did before is visible to all of them
  // afterwards.
  bool ArriveAndWait();

  // The same with a deadline: kDeadlineExceeded, or kCancelled.
  [[nodiscard]] absl::StatusOr<bool> ArriveAndWaitUntil(Deadline deadline);
  [[nodiscard]] absl::StatusOr<bool> ArriveAndWaitFor(std::chrono::nanoseconds timeout) {
    return ArriveAndWaitUntil(DeadlineAfter(timeout));
  }

  // Arrives without waiting, and takes part in no further round.
  void ArriveAndDrop();

  const WaitObject& wait_object() const { return object_; }

 private:
  Barrier(int64_t parties, const char* name, uintptr_t creation_pc);

  // kPending: the last one, nobody to wait for.
  internal::WaitOutcome Arrive(const internal::WaitLimits& limits);
  void EndRoundAndUnlock();

  FutexLock lock_;
  int64_t parties_;              // GUARDED_BY(lock_)
  int64_t arrived_ = 0;          // GUARDED_BY(lock_): in this round
  uint64_t round_ = 0;           // GUARDED_BY(lock_)
  internal::WaitQueue waiters_;  // GUARDED_BY(lock_)
  WaitObject object_;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_BARRIER_H_
