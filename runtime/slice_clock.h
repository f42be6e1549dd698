// Decides which slices of a worker are measured, and what a measurement stands for.
//
// A slice is the time between a switch to a fiber and the next switch away. Reading the clock takes 11 ns on the reference machine,
// a switch 15: both ends of every slice would double its cost. So slices of less than kShortNs are measured once in kEvery, at
// random so that no pattern of fibers hides, and count kEvery times; a worker whose slices are longer measures every one. Totals
// and histograms are then right on average: with n short slices measured their sum is off by ~1/sqrt(n).
//
// A long slice among short ones would be missed, or count kEvery times. If it lasts for two looks of the monitor (20 ms at most),
// that notes it, and it is measured exactly (Processor::NoteLongSlice).
//
// Worker-confined. Cost per slice: a decrement and a test; the clock twice in kEvery.
#ifndef FIBERSCOPE_RUNTIME_SLICE_CLOCK_H_
#define FIBERSCOPE_RUNTIME_SLICE_CLOCK_H_

#include <cstdint>

namespace fiberscope::internal {

class SliceClock {
 public:
  static constexpr int64_t kShortNs = 2'000;  // reading the clock twice is ~1 % of it
  static constexpr uint32_t kEvery = 16;

  explicit SliceClock(uint32_t seed) : random_(seed | 1) {}

  // At the switch to a fiber. True: measure it, call Begin().
  bool Next() { return --countdown_ == 0; }

  void Begin(int64_t now_ns) { start_ns_ = now_ns; }

  // Whether the slice is being measured, and what it stands for.
  bool measuring() const { return start_ns_ != 0; }
  uint32_t weight() const { return weight_; }

  // At the switch away. How long the slice was; only while measuring(). Decides when to measure next, with what weight: ask for
  // weight() before.
  int64_t End(int64_t now_ns) {
    const int64_t slice_ns = now_ns > start_ns_ ? now_ns - start_ns_ : 0;  // clocks of two CPUs may differ by some ticks
    start_ns_ = 0;
    if (slice_ns >= kShortNs) {
      countdown_ = 1;
      weight_ = 1;
    } else {
      countdown_ = 1 + Random() % (2 * kEvery - 1);  // kEvery on average
      weight_ = kEvery;
    }
    return slice_ns;
  }

 private:
  // George Marsaglia, "Xorshift RNGs", 2003.
  uint32_t Random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return random_;
  }

  uint32_t random_;
  uint32_t countdown_ = 1;
  uint32_t weight_ = 1;
  int64_t start_ns_ = 0;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_SLICE_CLOCK_H_
