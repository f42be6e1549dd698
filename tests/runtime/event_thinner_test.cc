#include "runtime/event_thinner.h"

#include <cmath>

#include "gtest/gtest.h"

namespace fiberscope::internal {
namespace {

// What comes of events at an interval, each of which takes `cost_ns` to record; recording stops the events meanwhile.
struct Outcome {
  int64_t events = 0;
  int64_t recorded = 0;
  double stood_for = 0;
  int64_t recording_ns = 0;
  int64_t now_ns = 0;
};

void Feed(EventThinner& thinner, int events, int64_t interval_ns, int64_t cost_ns, Outcome& outcome) {
  for (int i = 0; i < events; ++i) {
    outcome.now_ns += interval_ns;
    ++outcome.events;
    const uint32_t weight = thinner.Offer();
    if (weight == 0) continue;
    ++outcome.recorded;
    outcome.stood_for += weight;
    outcome.recording_ns += cost_ns;
    thinner.Spent(outcome.now_ns, outcome.now_ns + cost_ns);
    outcome.now_ns += cost_ns;
  }
}

TEST(EventThinnerTest, RecordsThousandsOfEventsAtOnceBehindAPause) {
  EventThinner thinner(9);
  for (int i = 0; i < 3; ++i) {
    Outcome outcome;
    outcome.now_ns = (i + 1) * 1'000'000'000LL;
    Feed(thinner, 5'000, 1, 500, outcome);
    EXPECT_EQ(outcome.recorded, 5'000);
  }
}

TEST(EventThinnerTest, RecordsEveryRareEvent) {
  EventThinner thinner(1);
  Outcome outcome;
  Feed(thinner, 10'000, 20 * 500, 500, outcome);
  EXPECT_EQ(outcome.recorded, 10'000);
  EXPECT_EQ(outcome.stood_for, 10'000);
}

TEST(EventThinnerTest, OfAStormRecordsAFewPerCentAndCountsThemForAll) {
  for (const int64_t interval_ns : {1, 20, 100, 1'000}) {
    EventThinner thinner(7);
    Outcome outcome;
    Feed(thinner, 5'000'000, interval_ns, 500, outcome);
    // Beyond what it has in hand at first.
    EXPECT_LT(outcome.recording_ns - EventThinner::kMostInHandNs, 0.07 * static_cast<double>(outcome.now_ns)) << interval_ns;
    EXPECT_GT(outcome.recorded, 100) << interval_ns;
    // n weights of the same size: each stands for 1 to 2 w - 1 events, so their sum is off by 58 % / sqrt(n); five times that.
    const double tolerance = 5 * 0.58 / std::sqrt(static_cast<double>(outcome.recorded));
    EXPECT_NEAR(outcome.stood_for / static_cast<double>(outcome.events), 1, tolerance) << interval_ns;
  }
}

TEST(EventThinnerTest, BurstsAfterPausesStayWithinTheShare) {
  EventThinner thinner(3);
  Outcome outcome;
  for (int burst = 0; burst < 200; ++burst) {
    Feed(thinner, 10'000, 100, 500, outcome);
    outcome.now_ns += 10'000'000;
  }
  EXPECT_LT(outcome.recording_ns - EventThinner::kMostInHandNs, 0.07 * static_cast<double>(outcome.now_ns));
  EXPECT_NEAR(outcome.stood_for / static_cast<double>(outcome.events), 1, 0.1);
}

TEST(EventThinnerTest, OneInterruptionDoesNotSilenceIt) {
  EventThinner thinner(5);
  Outcome outcome;
  Feed(thinner, 100, 20'000, 500, outcome);
  Feed(thinner, 1, 20'000, 1'000'000'000, outcome);  // put off the CPU for a second while it recorded
  const int64_t before = outcome.recorded;
  Feed(thinner, 100, 20'000, 500, outcome);
  EXPECT_GT(outcome.recorded - before, 90);
}

}  // namespace
}  // namespace fiberscope::internal
