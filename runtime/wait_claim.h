// The word by which the parties to one wait agree who ends it, so that it ends exactly once.
//
// A wait that only its object can end needs none of this: whoever takes the waiter out of the object's queue, under the
// object's lock, has the right to wake it. A wait with a deadline, a wait that can be cancelled, a select over several objects
// and a callback from somewhere else have several parties that may end it, without a lock in common. They use this word:
//
//     bits 63..32  generation     counts the waits of this record, so that a token of an earlier wait, or of an earlier fiber on
//                                 the same control block, claims nothing
//     bit  3       cancellable    CancelWait may end it (park.h)
//     bit  2       claimed        somebody has the right to end this wait; set by compare-and-swap, once per generation
//     bits 1..0    arrivals       how many of the two, the waiter and the claimer, are there; 2 also at rest
//
//     at rest: claimed, arrivals 2
//         │ Open                by the waiter: generation + 1, not claimed, arrivals 0
//         ▼
//       open ── Claim ────────► claimed, arrivals 0 or 1          by the winner; losers must not touch the waiter again
//         │                         │ Arrive (the winner, after it has written outcome and value)
//         │ Arrive (the waiter,     │ Arrive (the waiter, in the commit of its park, when its registers are saved)
//         │ before a claim)         ▼
//         └───────────────────► claimed, arrivals 2 = at rest     the second to arrive makes the fiber runnable
//
// Why each wait ends exactly once, and what each party may rely on:
//   C1  One winner. `claimed` goes from 0 to 1 by compare-and-swap and back to 0 only in Open, which the waiter calls only after
//       the wait before is at rest.
//   C2  The winner has the waiter to itself. Until the winner arrives, arrivals cannot be 2, so the waiter neither runs on nor
//       opens another wait: its record, its nodes and the slots they point to stay as they are.
//   C3  No wake-up before the registers are saved. The waiter arrives in the commit of its park (park.h). If the winner was
//       there first, the commit says "nothing to wait for" and the fiber is runnable at once; otherwise the winner's arrival is
//       the second, and the winner makes it runnable. fetch_add tells exactly one of them that it was the second.
//   C4  A claim means this wait. A party finds the waiter in one of three ways: in a queue, under the lock of the queue's
//       object; in a timer queue, under that queue's lock; by a token. The waiter leaves queue and timer queue, under the
//       same locks, before it returns from the wait. So what is found there belongs to the wait that is going on. A token
//       carries the generation, and the compare-and-swap compares it. (32 bits: a token would have to be kept over 4 billion
//       waits of the same record.)
//   C5  No value is lost or delivered twice. A waker claims under the object's lock and hands a value over only after it has won;
//       when it loses, it drops the node from the queue and goes on to the next. A waiter that ended otherwise has no value, and
//       nobody will bring one: C1.
//   C6  Results are visible. Arrivals are acquire-release: the winner sees what the waiter did before, the waiter what the winner
//       wrote.
//
// For plain threads the record and the claim are the same; the winner arrives by setting the futex that the thread sleeps on
// (waiter.h), and the thread puts the word at rest itself.
//
// Checked: tests/runtime/model/wait_claim_model, select_model.
//
// Thread-safe as described. Never blocks. Cost: one locked instruction per Claim and per Arrive.
#ifndef FIBERSCOPE_RUNTIME_WAIT_CLAIM_H_
#define FIBERSCOPE_RUNTIME_WAIT_CLAIM_H_

#include <atomic>
#include <cstdint>

namespace fiberscope::internal {

class WaitClaim {
 public:
  // Begins a wait; the waiter only, at rest. Returns the generation, for tokens. Release: a winner that found the waiter without a
  // lock in between, by CancelWait, sees the record as the waiter has prepared it.
  uint32_t Open(bool cancellable) {
    const uint64_t generation = Generation(word_.load(std::memory_order_relaxed)) + 1;
    word_.store(generation << kGenerationShift | (cancellable ? kCancellable : 0), std::memory_order_release);
    return static_cast<uint32_t>(generation);
  }

  // Claims the wait that is going on; for the waiter, and for those who found it in a queue (C4).
  bool Claim() {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while ((word & kClaimed) == 0) {
      if (TrySetClaimed(word)) return true;
    }
    return false;
  }

  // Claims the wait of that generation, if it is still going on.
  bool ClaimGeneration(uint32_t generation) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while ((word & kClaimed) == 0 && static_cast<uint32_t>(word >> kGenerationShift) == generation) {
      if (TrySetClaimed(word)) return true;
    }
    return false;
  }

  // Claims whatever wait is going on, if it is cancellable.
  bool ClaimCancellable() {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while ((word & (kClaimed | kCancellable)) == kCancellable) {
      if (TrySetClaimed(word)) return true;
    }
    return false;
  }

  // True for the second of the two parties.
  bool Arrive() { return (word_.fetch_add(1, std::memory_order_acq_rel) & kArrivals) == 1; }

  // Of a waiter that waits for the winner without parking. Acquire pairs with the winner's Arrive.
  bool winner_arrived() const { return (word_.load(std::memory_order_acquire) & kArrivals) != 0; }

  // Puts the word at rest; the waiter only, when it or a winner that has arrived owns the claim and nobody parks.
  void Close() {
    const uint64_t word = word_.load(std::memory_order_relaxed);
    word_.store((word & ~(kArrivals | kCancellable)) | kClaimed | kAtRestArrivals, std::memory_order_relaxed);
  }

  // What a stopping scheduler asks about a parked fiber.
  enum class Parked : uint8_t {
    kPlainly,  // at rest: the wait does not use the word
    kOpen,     // somebody may claim it
    kClaimed,  // somebody has, and is about to arrive
  };
  Parked parked() const {
    const uint64_t word = word_.load(std::memory_order_acquire);
    if ((word & kClaimed) == 0) return Parked::kOpen;
    return (word & kArrivals) == kAtRestArrivals ? Parked::kPlainly : Parked::kClaimed;
  }

 private:
  static constexpr uint64_t kArrivals = 3;
  static constexpr uint64_t kAtRestArrivals = 2;
  static constexpr uint64_t kClaimed = 4;
  static constexpr uint64_t kCancellable = 8;
  static constexpr int kGenerationShift = 32;

  static uint64_t Generation(uint64_t word) { return word >> kGenerationShift; }

  // Acquire: what the waiter set up before it showed itself is visible to the winner.
  bool TrySetClaimed(uint64_t& word) {
    return word_.compare_exchange_weak(word, word | kClaimed, std::memory_order_acquire, std::memory_order_relaxed);
  }

  std::atomic<uint64_t> word_{kClaimed | kAtRestArrivals};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_WAIT_CLAIM_H_
