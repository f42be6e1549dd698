// Who has a processor: one word that a worker in a blocking call and the monitor compete for.
//
//   bits 1..0     ProcessorState
//   bits 63..2    number of blocking calls begun: a word names one call, so whoever takes the processor out of a call takes it
//                 out of the call it looked at, not of a later one
//
//                 Run                 EnterBlocking
//        kIdle ─────────► kRunning ─────────────────► kBlocking          LeaveBlocking, by the worker, and
//          ▲   ◄───────── │  ▲  ▲                        │  │            Retake, by the monitor (or the worker itself, to
//          │      Idle    │  │  └──── LeaveBlocking ─────┘  │            give it away), are one compare-and-swap of the same
//          │              │  └─────────── Retake ───────────┘            word each: exactly one wins.
//          ▼   Retire     ▼
//        kRetired ◄───────┘
//
// In every state but kBlocking one party has the processor for itself and may store: the worker that runs it, the idle list's
// lock holder, or whoever retook it.
//
// Thread-safe. Never blocks. Cost: EnterBlocking a store, LeaveBlocking a compare-and-swap.
#ifndef FIBERSCOPE_RUNTIME_PROCESSOR_STATUS_H_
#define FIBERSCOPE_RUNTIME_PROCESSOR_STATUS_H_

#include <atomic>
#include <cstdint>

#include "runtime/metrics.h"

namespace fiberscope::internal {

// Names one blocking call of one processor.
struct BlockingTicket {
  uint64_t word = 0;
  bool operator==(const BlockingTicket&) const = default;
};

class ProcessorStatus {
 public:
  ProcessorState state() const { return StateOf(word_.load(std::memory_order_acquire)); }

  // By the party that has it.
  void Run() { Set(ProcessorState::kRunning); }
  void Idle() { Set(ProcessorState::kIdle); }
  void Retire() { Set(ProcessorState::kRetired); }

  // kRunning -> kBlocking, by the worker. Release: what the worker did with the processor is visible to whoever retakes it.
  BlockingTicket EnterBlocking() {
    const uint64_t calls = (word_.load(std::memory_order_relaxed) >> kStateBits) + 1;
    const BlockingTicket ticket{calls << kStateBits | static_cast<uint64_t>(ProcessorState::kBlocking)};
    word_.store(ticket.word, std::memory_order_release);
    return ticket;
  }

  // kBlocking -> kRunning, by the worker that holds the ticket. False: it was retaken.
  [[nodiscard]] bool LeaveBlocking(BlockingTicket ticket) { return Take(ticket); }

  // For the monitor: the call that the processor is in. False: it is not blocking.
  bool LookAtBlocking(BlockingTicket& ticket) const {
    ticket.word = word_.load(std::memory_order_acquire);
    return StateOf(ticket.word) == ProcessorState::kBlocking;
  }

  // kBlocking -> kRunning, by somebody else: the processor is the caller's. False: that call is over.
  [[nodiscard]] bool Retake(BlockingTicket ticket) { return Take(ticket); }

 private:
  static constexpr int kStateBits = 2;
  static constexpr uint64_t kStateMask = (1 << kStateBits) - 1;

  static ProcessorState StateOf(uint64_t word) { return static_cast<ProcessorState>(word & kStateMask); }

  bool Take(BlockingTicket ticket) {
    uint64_t expected = ticket.word;
    const uint64_t wanted = (ticket.word & ~kStateMask) | static_cast<uint64_t>(ProcessorState::kRunning);
    // Acquire pairs with the release in EnterBlocking(), and with that of whoever had it in between.
    return word_.compare_exchange_strong(expected, wanted, std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  void Set(ProcessorState state) {
    const uint64_t calls = word_.load(std::memory_order_relaxed) & ~kStateMask;
    word_.store(calls | static_cast<uint64_t>(state), std::memory_order_release);
  }

  std::atomic<uint64_t> word_{static_cast<uint64_t>(ProcessorState::kIdle)};
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_PROCESSOR_STATUS_H_
