// One moment for all fibers: what a listing needs to show each of them with the stack it had at one instant, while they run on.
//
// A word for the whole process says whether anyone lists, and how far it is:
//
//      Raise                       Declare, in time                Close
//   ─────────► kGathering ───┬───────────────────────► kExact ───┬──────► (none)
//                            └───────────────────────► kLate  ───┘
//                              Declare, or 1 ms is over
//
// 1. Raise. From here on no thread lets a fiber run: it waits at the gate (BeforeRun), which it passes after it has made the
//    fiber's state word odd and before it gives it the processor.
// 2. Every thread that runs a fiber is sent a signal (stack_signal.h), records that fiber in the handler, and waits there.
// 3. When all are there, nothing runs that a fiber is made of: that is the instant. Declare lets all of them go on. After 1 ms
//    whoever waits says that it is late, and all go on: fibers that did not run are exact all the same, those that ran are not.
// 4. The listing visits each block (registry.cc). Whoever wants to let a fiber run that has not been listed yet records it first:
//    identity and stack, as they were. Listed or recorded: of the two, one takes the fiber's mark, once per instant (Take).
// 5. Fibers born after the instant are marked as taken when they are born. Those that have ended since had to run for it.
//
// Why no fiber slips through: the gate is a store of the odd word and then a load of this word; Raise is a store of this word, then
// membarrier(2), then loads of the state words. membarrier is a full fence on every thread of the process, so of the two
// either the thread sees the gate closed or the listing sees the odd word, and sends a signal. Thus being listed costs the
// switch a load and a branch that is never taken, no fence.
//
// Why what is recorded is of the instant: a fiber that does not run at the instant has the same stack until it is let run, and
// whoever does that records it before. A thread that passed the gate before it was closed is interrupted with the fiber on its way
// from one stack to the other: then the handler records both (RecordHeld).
//
// A thread that sleeps in the kernel is not sent a signal. It is looked at twice from outside, before and after the others have
// come; if it has slept all the time, its stack was that of the instant (running_stack.cc).
//
// Why the order of two unrelated events does not matter: a thread that reads the word late acts as if before the instant; had it
// heard of anything that was done after the instant, it would, by coherence, also see the word.
//
// The order of locks: a thread that is held may hold any lock of the application's, malloc's too. So between the first signal and
// Declare the listing takes no lock and allocates nothing; if it did, it would wait 1 ms, no longer.
//
// One instant at a time. References: K. M. Chandy and L. Lamport, "Distributed Snapshots", 1985, for what a consistent cut is;
// membarrier(2), PRIVATE_EXPEDITED.
#ifndef FIBERSCOPE_RUNTIME_INSTANT_H_
#define FIBERSCOPE_RUNTIME_INSTANT_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "absl/functional/function_ref.h"
#include "runtime/control_block.h"
#include "runtime/fiber_pool.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/labels.h"
#include "runtime/unwind/unwinder.h"

namespace fiberscope::internal {

// How far an instant is, and which one it is: the word.
struct InstantWord {
  enum class Phase : uint32_t { kNone = 0, kGathering = 1, kExact = 2, kLate = 3 };

  uint32_t bits = 0;

  Phase phase() const { return static_cast<Phase>(bits & 3); }
  uint32_t number() const { return bits >> 2; }
  bool gathering() const { return phase() == Phase::kGathering; }
  bool declared() const { return phase() >= Phase::kExact; }
  InstantWord In(Phase phase) const { return {(bits & ~3u) | static_cast<uint32_t>(phase)}; }
  bool operator==(const InstantWord&) const = default;
};

extern constinit std::atomic<uint32_t> g_instant;

// ---- For the runtime, at the moments that matter. Any thread. Cost when nobody lists: a load and a branch.

// Behind the gate, if it is closed. Keeps errno. May block for 1 ms.
void WaitAtGate(ControlBlock& fiber, FiberState was);
void MarkAsBorn(ControlBlock& fiber);
void MarkAsWoken(ControlBlock& fiber);

inline bool SomebodyLists() { return (g_instant.load(std::memory_order_relaxed) & 3) != 0; }

// After the fiber's word became odd, before it runs. `was`: its state before. Its saved registers are still those of that state.
inline void BeforeRun(ControlBlock& fiber, FiberState was) {
  std::atomic_signal_fence(std::memory_order_seq_cst);  // the store before the load; membarrier does the rest
  if (__builtin_expect(SomebodyLists(), false)) WaitAtGate(fiber, was);
}

// Before the fiber leaves kDead.
inline void BeforeBirth(ControlBlock& fiber) {
  if (__builtin_expect(SomebodyLists(), false)) MarkAsBorn(fiber);
}

// Before a waiting fiber is made runnable: it may have waited at the instant.
inline void BeforeWake(ControlBlock& fiber) {
  if (__builtin_expect(SomebodyLists(), false)) MarkAsWoken(fiber);
}

// ---- For the handler of the signal. Async-signal-safe.

// A thread that does not go on before the instant is declared.
struct HeldThread {
  ControlBlock* stands_on = nullptr;  // told by the stack pointer; null: no fiber's stack
  bool on_own_stack = false;          // the one that the thread was born with
  ControlBlock* runs = nullptr;       // what it says it runs
  std::span<const uintptr_t> pcs;     // of `stands_on`: the exact pc, then return addresses
  bool truncated = false;
};
// Records the fiber it stands on, and one that it was about to switch to. If it runs a fiber that stands elsewhere (on an
// alternate stack, in a signal handler of the application's) the instant is not exact. Without effect if the instant is over.
void RecordHeld(InstantWord instant, const HeldThread& thread);
// A thread is held, but nobody can tell what it ran at the instant.
void MissFiber(InstantWord instant);
// Waits until the instant is declared, 1 ms at most.
void HoldThread(InstantWord instant);

// ---- For the listing.

class Instant {
 public:
  static constexpr size_t kDefaultRecordBytes = 128 << 20;

  // Raises. `record_bytes`: of records of fibers that run before they are listed, at most.
  // Blocks while another thread lists. A thread has one at a time, which is CHECKed.
  explicit Instant(size_t record_bytes = kDefaultRecordBytes);
  // Closes.
  ~Instant();
  Instant(const Instant&) = delete;
  Instant& operator=(const Instant&) = delete;

  // False: the kernel has no membarrier(2), or forbids it. Then there is no instant, and nothing below has an effect.
  bool is_open() const { return is_open_; }
  InstantWord word() const { return word_; }
  int64_t deadline_ns() const { return deadline_ns_; }  // MonotonicNowNs(): until when threads are held

  // The instant was: all have come, or not. Lets all go on.
  void Declare(bool all_have_come);

  enum class Taken : uint8_t {
    kYes,         // the caller lists it
    kWokenSince,  // the same; it waited at the instant and has been made runnable since
    kNo,          // it is recorded, or not of this instant
  };
  Taken Take(ListingMark& mark);
  bool IsTaken(const ListingMark& mark) const;
  bool IsWoken(const ListingMark& mark) const;

  // No records are made any more. How long threads were held is a pause (pause_log.h).
  void Close();
  // All records, in no order, until `visit` returns false. After Close(). The snapshots' stacks have no numbers.
  bool ForEachRecord(absl::FunctionRef<bool(FiberSnapshot&)> visit) const;
  // After Close(). All had come, and none was held for too long.
  bool declared_in_time() const { return declared_in_time_; }
  // There was no room for some fibers' records: they are listed as they are now, if they still are.
  bool lost_records() const;
  // A fiber was on a stack where nobody could see it.
  bool missed_one() const;

 private:
  std::unique_lock<std::mutex> lock_;
  const LabelsReadScope labels_scope_;
  bool is_open_ = false;
  bool declared_in_time_ = false;
  InstantWord word_;  // in kGathering
  int64_t raised_ns_ = 0;    // MonotonicNowNs()
  int64_t deadline_ns_ = 0;
  // Set by Declare(), for the log of pauses.
  std::chrono::nanoseconds held_{0};
  std::chrono::system_clock::time_point released_ = {};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_INSTANT_H_
