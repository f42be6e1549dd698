// Whether a figure is too high, said neither too early nor back and forth.
//
// Raised when `raise_after` values in a row are above `raise_above`; cleared when `clear_after` in a row are below `clear_below`.
// A value in between, the bounds included, or none, interrupts either row and changes nothing.
//
//    value      5   12  12   8  12  12  12   9   4   4   9   4   4   4
//    raised                             ──────────────────────────────      above 10 for 3, below 5 for 3
#ifndef FIBERSCOPE_SERVER_WATCH_HYSTERESIS_H_
#define FIBERSCOPE_SERVER_WATCH_HYSTERESIS_H_

#include <optional>

namespace fiberscope::server {

struct HysteresisBounds {
  double raise_above = 0;
  int raise_after = 3;
  double clear_below = 0;  // not above raise_above
  int clear_after = 3;
};

// Thread-compatible.
class Hysteresis {
 public:
  // Each count is 1 at least.
  explicit Hysteresis(const HysteresisBounds& bounds) : bounds_(bounds) {}

  // True: it is raised, or cleared, by this value.
  bool Add(std::optional<double> value) {
    const bool is_against = value && (raised_ ? *value < bounds_.clear_below : *value > bounds_.raise_above);
    in_a_row_ = is_against ? in_a_row_ + 1 : 0;
    if (in_a_row_ < (raised_ ? bounds_.clear_after : bounds_.raise_after)) return false;
    raised_ = !raised_;
    in_a_row_ = 0;
    return true;
  }
  bool raised() const { return raised_; }

 private:
  const HysteresisBounds bounds_;
  bool raised_ = false;
  int in_a_row_ = 0;  // values that speak against the present state
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_WATCH_HYSTERESIS_H_
