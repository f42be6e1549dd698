// What the trace says of one fiber or processor so far: its state, and how many of its events have been written.
//
//   bits 2..0     Traced
//   bit  3        of a fiber: this generation knows its labels
//   bits 31..4    the generation in which it was mentioned last
//   bits 63..32   sequence number within that generation
//
// This, and not the scheduler's own state, is what the next event must fit to: a trace may begin in the middle of a transition.
// Who writes: the party that may move the fiber or processor to another state, which is one at a time, so that plain stores do.
// The only exception is the first mention in a trace, for which that party and the sweep compete: by compare-and-swap.
//
// Generations are counted for the life of the process (8 years at one a second), so that what a former trace has left behind is
// told from what this one says.
//
// Thread-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_TRACE_TRACED_STATE_H_
#define FIBERSCOPE_RUNTIME_TRACE_TRACED_STATE_H_

#include <atomic>
#include <cstdint>

namespace fiberscope::internal {

enum class Traced : uint8_t {
  kUnknown = 0,
  kWaiting,   // fibers
  kRunnable,  // fibers
  kRunning,
  kBlocking,
  kIdle,      // processors
  kGone,      // fibers: has ended
};

struct TracedWord {
  uint64_t bits = 0;

  static constexpr TracedWord Of(Traced state, uint32_t generation) {
    return {uint64_t{generation} << 4 | static_cast<uint64_t>(state)};
  }
  Traced state() const { return static_cast<Traced>(bits & 7); }
  bool labelled() const { return (bits & 8) != 0; }
  uint32_t generation() const { return static_cast<uint32_t>(bits) >> 4; }
  uint32_t sequence() const { return static_cast<uint32_t>(bits >> 32); }

  // The next event of this generation takes it there.
  TracedWord To(Traced state) const { return {(bits & ~uint64_t{7}) | static_cast<uint64_t>(state)}; }
  TracedWord Labelled() const { return {bits | 8}; }
  TracedWord Numbered() const { return {bits + (uint64_t{1} << 32)}; }
  // First mention in a later generation.
  TracedWord In(uint32_t later) const { return Of(state(), later); }
};

class TracedState {
 public:
  TracedWord Load() const { return {word_.load(std::memory_order_acquire)}; }
  void Store(TracedWord word) { word_.store(word.bits, std::memory_order_release); }
  bool Replace(TracedWord expected, TracedWord wanted) {
    return word_.compare_exchange_strong(expected.bits, wanted.bits, std::memory_order_acq_rel, std::memory_order_acquire);
  }

 private:
  std::atomic<uint64_t> word_{0};
};

struct TracedFiber {
  uint64_t id = 0;
  TracedState* state = nullptr;  // null: no fiber
  uintptr_t entry_pc = 0;
};

struct TracedProcessor {
  uint64_t number = 0;  // of all processors of the process that exist at the time: dense
  TracedState state;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_TRACE_TRACED_STATE_H_
