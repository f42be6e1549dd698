// Who may write into the place where a thread's answer to a request goes: the request, or the signal handler that answers, which
// may come at any time, or never.
//
//   word: bits 63..3 number of the request, bits 2..0 phase
//
//              Ask (number+1)          Begin                Finish
//       kFree ─────────────► kAsked ─────────► kAnswering ─────────► kDone
//       ▲  ▲                  │  ▲                                     │
//       │  │ Begin,           │  │ AskAgain                            │
//       │  │ ForgiveDebt      ▼  │                                     │
//       │  └──────────────── kOwed                             Release │
//       └──────────────────────────────────────────────────────────────┘
//
// The handler brings the number that its signal was sent with. Only the one that turns kAsked of that very number into kAnswering
// may write the answer, and whoever would give the slot away must turn kAsked into something else first: of the two
// compare-and-swaps on one word one wins. So:
// - A handler that comes after its request has been withdrawn writes nothing. The number of a later request is another.
// - A handler that is at work when the time is up keeps the slot: kAnswering is not to be had by any request until it is done.
// - A request takes the answer from kDone only, and releases the slot when it has. The next one releases what was done too late.
// While kOwed, a signal is on its way: the slot remembers for whom, so that the thread is not sent one signal after the other that
// it does not take. The next request for the same thread asks again in the same slot, and the old signal answers that one.
//
// The slot is static storage, so that a signal of any age finds it. Numbers have 61 bits and do not come back.
//
// Thread-safe as described: one requester at a time, any number of handlers. Begin and Finish are async-signal-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_STACK_SLOT_H_
#define FIBERSCOPE_RUNTIME_STACK_SLOT_H_

#include <atomic>
#include <cstdint>

namespace fiberscope::internal {

class StackSlot {
 public:
  // -- The requester.

  // Acquire: the handler that cleared a debt has done with the slot.
  bool IsFree() const { return PhaseOf(word_.load(std::memory_order_acquire)) == Phase::kFree; }
  bool IsOwed() const { return PhaseOf(word_.load(std::memory_order_relaxed)) == Phase::kOwed; }

  // Of a free slot: admits one answer, by the handler that knows the number returned. Release: what was written for the handler.
  uint64_t Ask() {
    const uint64_t number = number_of_request() + 1;
    word_.store(Word(number, Phase::kAsked), std::memory_order_release);
    return number;
  }
  // The signal could not be sent.
  void TakeBack() { word_.store(Word(number_of_request(), Phase::kFree), std::memory_order_relaxed); }

  // Acquire: the answer, pairs with Finish.
  bool IsAnswered() const { return PhaseOf(word_.load(std::memory_order_acquire)) == Phase::kDone; }
  // The answer has been taken. Without effect unless there is one.
  void Release() { Move(Phase::kDone, Phase::kFree); }

  // The time is up. Without effect on an answer that has begun.
  void Withdraw() { Move(Phase::kAsked, Phase::kOwed); }
  // False: the signal has come in the meantime, and the slot is free.
  bool AskAgain() { return Move(Phase::kOwed, Phase::kAsked); }
  // No signal is on its way any more.
  void ForgiveDebt() { Move(Phase::kOwed, Phase::kFree); }

  // -- The handler.

  // True: write the answer, then Finish(). Acquire: what the requester wrote, and that nobody else still uses the answer.
  bool Begin(uint64_t number) {
    for (;;) {
      uint64_t word = word_.load(std::memory_order_relaxed);
      if (word == Word(number, Phase::kAsked)) {
        if (word_.compare_exchange_strong(word, Word(number, Phase::kAnswering), std::memory_order_acq_rel)) return true;
      } else if (word == Word(number, Phase::kOwed)) {
        if (word_.compare_exchange_strong(word, Word(number, Phase::kFree), std::memory_order_acq_rel)) return false;
      } else {
        return false;
      }
    }
  }
  void Finish(uint64_t number) { word_.store(Word(number, Phase::kDone), std::memory_order_release); }

 private:
  enum class Phase : uint8_t { kFree, kAsked, kAnswering, kDone, kOwed };

  static constexpr uint64_t Word(uint64_t number, Phase phase) { return number << 3 | static_cast<uint64_t>(phase); }
  static constexpr Phase PhaseOf(uint64_t word) { return static_cast<Phase>(word & 7); }

  uint64_t number_of_request() const { return word_.load(std::memory_order_relaxed) >> 3; }

  // Of the request that the slot is in.
  bool Move(Phase from, Phase to) {
    const uint64_t number = number_of_request();
    uint64_t expected = Word(number, from);
    return word_.compare_exchange_strong(expected, Word(number, to), std::memory_order_acq_rel);
  }

  std::atomic<uint64_t> word_{0};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_STACK_SLOT_H_
