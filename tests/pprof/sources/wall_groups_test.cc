#include "pprof/sources/wall_groups.h"

#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

// "STATE [STACK] {LABELS} entry: samples, time".
std::vector<std::string> Describe(const WallGroups& groups) {
  std::vector<std::string> lines;
  for (const auto& [place, weight] : groups.Sorted()) {
    std::string line = StateName(place.state);
    if (place.wait_reason != WaitReason::kNone) line += std::string("/") + WaitReasonName(place.wait_reason);
    line += " [";
    for (const uintptr_t pc : place.stack) line += " " + std::to_string(pc);
    line += " ] {";
    for (const Label& label : place.labels) line += " " + label.key + "=" + label.value;
    line += " } " + std::to_string(place.entry_pc);
    lines.push_back(line + ": " + std::to_string(weight.samples) + ", " + std::to_string(weight.time_ns));
  }
  return lines;
}

TEST(WallGroupsTest, EverythingThatTellsPlacesApartDoes) {
  const std::vector<uintptr_t> stack = {1, 2}, longer = {1, 2, 3};
  const std::vector<Label> labels = {{"a", "1"}}, others = {{"a", "2"}};
  const WallPlace place{.stack = stack, .labels = labels, .entry_pc = 9, .state = FiberState::kRunning};
  std::vector<WallPlace> places(7, place);
  places[1].stack = longer;
  places[2].labels = others;
  places[3].labels = {};
  places[4].entry_pc = 8;
  places[5].state = FiberState::kWaiting;
  places[6].state = FiberState::kWaiting;
  places[6].wait_reason = WaitReason::kSleep;
  WallGroups groups;
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < places.size(); ++i) {
      const std::vector<uintptr_t> copy(places[i].stack.begin(), places[i].stack.end());  // told by content
      WallPlace again = places[i];
      again.stack = copy;
      groups.Add(again, {.samples = 1, .time_ns = static_cast<int64_t>(i) + 1});
    }
  }
  EXPECT_THAT(Describe(groups), ElementsAre("waiting/sleep [ 1 2 ] { a=1 } 9: 3, 21", "waiting [ 1 2 ] { a=1 } 9: 3, 18",
                                            "running [ 1 2 ] { a=1 } 8: 3, 15", "running [ 1 2 ] { } 9: 3, 12",
                                            "running [ 1 2 ] { a=2 } 9: 3, 9", "running [ 1 2 3 ] { a=1 } 9: 3, 6",
                                            "running [ 1 2 ] { a=1 } 9: 3, 3"));
  EXPECT_EQ(groups.left_out(), 0);
}

TEST(WallGroupsTest, TheOrderDoesNotDependOnTheOrderOfAdding) {
  WallGroups forth, back;
  std::vector<std::vector<uintptr_t>> stacks;
  for (uintptr_t i = 0; i < 100; ++i) stacks.push_back({i % 7, i});
  for (int i = 0; i < 100; ++i) forth.Add({.stack = stacks[i]}, {1, 5});
  for (int i = 99; i >= 0; --i) back.Add({.stack = stacks[i]}, {1, 5});
  EXPECT_THAT(Describe(forth), SizeIs(100));
  EXPECT_EQ(Describe(forth), Describe(back));
}

TEST(WallGroupsTest, BeyondTheLimitTimeCountsAtTheEntryFunctionAndNothingIsLost) {
  WallGroups groups(10'000);
  std::vector<uintptr_t> stack(128);
  const std::vector<Label> labels = {{"id", std::string(100, 'x')}};
  for (uintptr_t i = 0; i < 1000; ++i) {
    stack[127] = i;
    groups.Add({.stack = stack, .labels = labels, .entry_pc = 1 + i % 2, .state = FiberState::kRunning}, {1, 10});
  }
  stack[127] = 0;  // one that is there already still counts where it is
  groups.Add({.stack = stack, .labels = labels, .entry_pc = 1, .state = FiberState::kRunning}, {1, 10});
  int64_t samples = 0, time_ns = 0, bare = 0;
  for (const auto& [place, weight] : groups.Sorted()) {
    samples += weight.samples;
    time_ns += weight.time_ns;
    if (place.stack.empty()) {
      EXPECT_TRUE(place.labels.empty());
      EXPECT_EQ(place.state, FiberState::kRunning);
      bare += weight.samples;
    }
  }
  EXPECT_EQ(samples, 1001);
  EXPECT_EQ(time_ns, 10'010);
  EXPECT_EQ(groups.left_out(), bare);
  EXPECT_GT(bare, 980);
  EXPECT_LT(groups.Sorted().size(), 15u);
  EXPECT_EQ(groups.Sorted().back().weight.samples, 1);
}

}  // namespace
}  // namespace fiberscope::pprof
