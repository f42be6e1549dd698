// Decides which of many events of a thread are recorded, so that recording takes a few per cent of the thread's time at most.
//
// An event that is recorded stands for `weight` of them: totals are right on average, whatever the events are, because which one is
// recorded is left to chance. All are recorded, with weight 1, while there is time in hand: 5 % of the time that passes is put
// aside, up to a limit. That is enough for events that are rare, and for some thousands at once behind a pause.
//
// Thread-confined. Cost: a decrement and a test for an event that is left out.
#ifndef FIBERSCOPE_RUNTIME_EVENT_THINNER_H_
#define FIBERSCOPE_RUNTIME_EVENT_THINNER_H_

#include <algorithm>
#include <cstdint>

namespace fiberscope::internal {

class EventThinner {
 public:
  static constexpr int64_t kTimesCost = 20;  // recording takes at most 1/20 of the time, 5 %
  static constexpr int64_t kMaxWeight = 1 << 16;
  static constexpr int64_t kMostInHandNs = 5'000'000;
  static constexpr int64_t kMostCostNs = 20'000;  // of a record; one that took longer was interrupted

  explicit EventThinner(uint32_t seed) : random_(seed | 1) {}

  // One event. Not 0: record it, as so many; and call Spent() when that is done, on this thread's thinner or on another's.
  uint32_t Offer() {
    ++events_;
    if (--countdown_ > 0) return 0;
    // The event stands for as many as were left to chance for it, whatever weight_ has become since.
    const uint32_t weight = drawn_for_;
    drawn_for_ = weight_;
    countdown_ = weight_ == 1 ? 1 : 1 + Random() % (2 * weight_ - 1);  // weight_ on average
    return weight;
  }

  // Recording an event, or finding that it is not wanted, began and ended at these times.
  void Spent(int64_t begin_ns, int64_t end_ns) {
    const int64_t cost_ns = std::clamp<int64_t>(end_ns - begin_ns, 0, kMostCostNs);
    cost_ns_ += (cost_ns - cost_ns_) / 4;
    const int64_t gap_ns = std::max<int64_t>(begin_ns - last_ns_, 1);
    last_ns_ = end_ns;
    in_hand_ns_ = std::min(in_hand_ns_ + gap_ns / kTimesCost, kMostInHandNs) - cost_ns;
    // When it is used up: so many events for each record as take kTimesCost times as long, at the pace of the last ones.
    const int64_t wanted = cost_ns_ * kTimesCost / std::max<int64_t>(gap_ns / std::max<int64_t>(events_, 1), 1);
    events_ = 0;
    weight_ = in_hand_ns_ > 0 ? 1 : static_cast<uint32_t>(std::clamp<int64_t>(wanted, 1, kMaxWeight));
  }

  // George Marsaglia, "Xorshift RNGs", 2003.
  uint32_t Random() {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    return random_;
  }

 private:
  uint32_t random_;
  uint32_t weight_ = 1;     // of events from the next draw on
  uint32_t drawn_for_ = 1;  // of the one that countdown_ leads to
  int64_t countdown_ = 1;
  int64_t events_ = 0;     // since the last Spent()
  int64_t cost_ns_ = 500;  // of recording, or finding it not wanted, lately
  int64_t last_ns_ = 0;
  int64_t in_hand_ns_ = kMostInHandNs;
};

}  // namespace fiberscope::internal

#endif  // FIBERSCOPE_RUNTIME_EVENT_THINNER_H_
