#include "server/watch/hysteresis.h"

#include <cmath>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

using Values = std::vector<std::optional<double>>;

// "..###": raised after each value, or not.
std::string Raised(const HysteresisBounds& bounds, const Values& values) {
  Hysteresis hysteresis(bounds);
  std::string text;
  for (const std::optional<double>& value : values) {
    const bool before = hysteresis.raised();
    const bool is_changed = hysteresis.Add(value);
    EXPECT_EQ(is_changed, before != hysteresis.raised());
    text += hysteresis.raised() ? '#' : '.';
  }
  return text;
}

TEST(HysteresisTest, TakesSoManyInARow) {
  const HysteresisBounds bounds{.raise_above = 10, .raise_after = 3, .clear_below = 5, .clear_after = 3};
  const std::optional<double> none;
  EXPECT_EQ(Raised(bounds, {5, 12, 12, 8, 12, 12, 12, 9, 4, 4, 9, 4, 4, 4}), "......#######.");
  EXPECT_EQ(Raised(bounds, {11, 11, 10, 11, 11}), ".....") << "the bound is not above it";
  EXPECT_EQ(Raised(bounds, {11, 11, 11, 4, 4, 5, 4, 4}), "..######") << "nor below";
  EXPECT_EQ(Raised(bounds, {11, 11, none, 11, 11}), ".....") << "what is not known interrupts";
  EXPECT_EQ(Raised(bounds, {11, 11, 11, 4, 4, none, 4, 4, 4}), "..######.");
  EXPECT_EQ(Raised(bounds, {11, 11, std::nan(""), 11, 11, 11}), ".....#");
}

TEST(HysteresisTest, OneIsEnoughIfOneIsAsked) {
  const HysteresisBounds bounds{.raise_above = 1, .raise_after = 1, .clear_below = 1, .clear_after = 1};
  EXPECT_EQ(Raised(bounds, {0, 2, 1, 0, 1, 2, 0}), ".##..#.");
}

// Goal: the state after any values is what the rule says. Method: a model that remembers no state: it looks back for the end of the
// latest row of either kind.
TEST(HysteresisTest, AgreesWithAModelThatLooksBack) {
  for (uint32_t seed = 1; seed <= 2000; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int bound) { return static_cast<int>(random() % static_cast<uint32_t>(bound)); };
    const HysteresisBounds bounds{.raise_above = 2.0 + below(3), .raise_after = 1 + below(4),
                                  .clear_below = 2.0 - below(3), .clear_after = 1 + below(4)};
    Values values;
    for (int i = 0; i < 100; ++i) {
      values.push_back(below(12) == 0 ? std::optional<double>() : std::optional<double>(below(7)));
    }
    std::string want;
    const auto ends_row = [&](size_t end, int length, auto is_of_it) {
      if (end + 1 < static_cast<size_t>(length)) return false;
      for (int i = 0; i < length; ++i) {
        const std::optional<double>& value = values[end - static_cast<size_t>(i)];
        if (!value || !is_of_it(*value)) return false;
      }
      return true;
    };
    for (size_t now = 0; now < values.size(); ++now) {
      char state = '.';
      for (size_t back = 0; back <= now; ++back) {
        const size_t end = now - back;
        if (ends_row(end, bounds.clear_after, [&](double value) { return value < bounds.clear_below; })) break;
        if (ends_row(end, bounds.raise_after, [&](double value) { return value > bounds.raise_above; })) {
          state = '#';
          break;
        }
      }
      want += state;
    }
    ASSERT_EQ(Raised(bounds, values), want) << "seed " << seed;
  }
}

}  // namespace
}  // namespace fiberscope::server
