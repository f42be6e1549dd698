// The state word: what a fiber is doing and how often it has been switched, in one 64-bit atomic.
//
//   bits 63..56   FiberState
//   bits 55..0    sequence number: incremented at every switch to and from the fiber, so it is odd exactly while the
//                 fiber runs. It survives the fiber: a control block that is used again goes on counting.
//
//                        Create            MakeRunnable           Resume (seq+1, odd)
//        kDead ─────────────────► kNew ─────────────► kRunnable ────────────────► kRunning
//          ▲                                           ▲   ▲                      │  │  │
//          │                                           │   └─── PublishRunnable ──┘  │  │
//          │                           MakeRunnable    │        (seq+1, even)        │  │
//          │                                           └───── kWaiting ◄─────────────┘  │
//          │                                                        PublishWaiting      │
//          └────────────────────────────────────────────────────────────────────────────┘
//                                         PublishDead (seq+1, even)
//
//                      EnterBlocking (seq+1, even)             LeaveBlocking (seq+1, odd)
//        kRunning ──────────────────────────────► kBlocking ─────────────────────────────► kRunning
//
// A fiber in kBlocking still stands on its stack and its thread, but it has promised not to return from the frame whose
// registers it left behind until it leaves the state: from that frame outwards its stack can be read like a parked one's.
//
// Who may write: exactly one party at a time owns the word. The thread that prepares a fiber owns it until
// MakeRunnable; the worker that took it from a run queue owns it from Resume to the Publish that ends the slice; the
// waker that took it out of a wait queue (under that queue's lock, or by winning a claim) owns MakeRunnable. So
// transitions are plain stores, no read-modify-write; the DCHECKs catch an owner that is not one. In kBlocking the fiber
// itself is the owner.
//
// How to read a parked fiber from outside (a dump), without a lock and without delaying it:
//   1. before = word.Load()            acquire: pairs with the release store of Publish*, so the saved registers and
//                                      the whole stack are visible. Odd: the fiber runs, its stack is not to be had.
//   2. copy what is needed, each word through a relaxed load
//   3. word.Unchanged(before)          acquire fence, then a relaxed load. The same word: nothing of what was read has
//                                      been touched in between, because Resume stores an odd number and then
//                                      issues a release fence before the fiber can write to its stack.
//   Otherwise throw the copy away and start again.
//
// The sequence number has 56 bits: at 100 million switches a second it wraps after 22 years.
//
// Thread-safe as described. Load and Unchanged are async-signal-safe. Never blocks. Cost: one store per transition.
#ifndef FIBERSCOPE_RUNTIME_FIBER_STATE_H_
#define FIBERSCOPE_RUNTIME_FIBER_STATE_H_

#include <atomic>
#include <cstdint>

#include "runtime/base/check.h"
#include "runtime/base/fence.h"

namespace fiberscope {

enum class FiberState : uint8_t {
  kDead = 0,      // the control block is free
  kNew = 1,       // has an id, is not in a run queue yet
  kRunnable = 2,  // in a run queue
  kRunning = 3,   // on a worker
  kWaiting = 4,   // parked, see its WaitReason
  kBlocking = 5,  // on a worker that gave its processor away: in a call that blocks the thread (blocking.h)
};

inline constexpr int kFiberStateCount = static_cast<int>(FiberState::kBlocking) + 1;

// "dead", "new", "runnable", "running", "waiting", "blocking".
constexpr const char* StateName(FiberState state) {
  switch (state) {
    case FiberState::kDead: return "dead";
    case FiberState::kNew: return "new";
    case FiberState::kRunnable: return "runnable";
    case FiberState::kRunning: return "running";
    case FiberState::kWaiting: return "waiting";
    case FiberState::kBlocking: return "blocking";
  }
  return "?";
}

// One value of the state word.
struct StateWord {
  uint64_t bits = 0;

  static constexpr StateWord Of(FiberState state, uint64_t sequence) {
    return {static_cast<uint64_t>(state) << 56 | sequence};
  }

  FiberState state() const { return static_cast<FiberState>(bits >> 56); }
  uint64_t sequence() const { return bits & ((uint64_t{1} << 56) - 1); }
  bool running() const { return (bits & 1) != 0; }
  bool operator==(const StateWord&) const = default;
};

class AtomicStateWord {
 public:
  // Acquire: pairs with the release stores of the transitions below.
  StateWord Load() const { return {bits_.load(std::memory_order_acquire)}; }

  // Step 3 of reading from outside.
  bool Unchanged(StateWord before) const {
    AcquireFence();
    return bits_.load(std::memory_order_relaxed) == before.bits;
  }

  // kDead -> kNew. By the thread that took the control block from a free list, after it filled the block in.
  void Create() { Move(FiberState::kDead, FiberState::kNew, 0); }

  // kNew or kWaiting -> kRunnable. By the spawner or the waker, before the fiber enters a run queue.
  void MakeRunnable() {
    const StateWord now = Peek();
    FIBERSCOPE_DCHECK(now.state() == FiberState::kNew || now.state() == FiberState::kWaiting,
                      "a %s fiber was made runnable", StateName(now.state()));
    Store(FiberState::kRunnable, now.sequence());
  }

  // kRunnable -> kRunning, just before the switch to the fiber. The release fence orders the odd number before
  // everything that the fiber then writes to its stack (step 3 above relies on it).
  void Resume() {
    Move(FiberState::kRunnable, FiberState::kRunning, 1);
    ReleaseFence();
  }

  // kRunning -> kWaiting, kRunnable or kDead: by the code that runs after the switch away from the fiber, once its
  // registers are saved. Release: whoever loads the new word sees the whole stack.
  void PublishWaiting() { Move(FiberState::kRunning, FiberState::kWaiting, 1); }
  void PublishRunnable() { Move(FiberState::kRunning, FiberState::kRunnable, 1); }
  void PublishDead() { Move(FiberState::kRunning, FiberState::kDead, 1); }

  // kRunning -> kBlocking, by the fiber itself, after it stored where its registers are.
  void EnterBlocking() { Move(FiberState::kRunning, FiberState::kBlocking, 1); }
  // kBlocking -> kRunning, by the fiber itself, on the frame whose registers it stored. The fence is the one of Resume.
  void LeaveBlocking() {
    Move(FiberState::kBlocking, FiberState::kRunning, 1);
    ReleaseFence();
  }

 private:
  // The owner's view: nobody else writes.
  StateWord Peek() const { return {bits_.load(std::memory_order_relaxed)}; }

  void Store(FiberState state, uint64_t sequence) {
    bits_.store(StateWord::Of(state, sequence).bits, std::memory_order_release);
  }

  void Move([[maybe_unused]] FiberState from, FiberState to, uint64_t steps) {
    const StateWord now = Peek();
    FIBERSCOPE_DCHECK(now.state() == from, "a %s fiber was to go from %s to %s", StateName(now.state()),
                      StateName(from), StateName(to));
    Store(to, (now.sequence() + steps) & ((uint64_t{1} << 56) - 1));
  }

  std::atomic<uint64_t> bits_{0};
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_FIBER_STATE_H_
