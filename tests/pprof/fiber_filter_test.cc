#include "pprof/fiber_filter.h"

#include <chrono>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;

const std::vector<Label> kLabels = {{"route", "/order"}, {"tenant", ""}};

FiberSnapshot Receiver() {
  FiberSnapshot fiber;
  fiber.state = FiberState::kWaiting;
  fiber.wait_reason = WaitReason::kChannelReceive;
  fiber.waited = 90s;
  fiber.name = "worker";
  fiber.labels = kLabels;
  return fiber;
}

TEST(FiberFilter, AnEmptyOneLetsEverythingPass) {
  EXPECT_TRUE(FiberFilter().empty());
  EXPECT_TRUE(FiberFilter().MatchesRecord(Receiver()));
  EXPECT_TRUE(FiberFilter().MatchesRecord(FiberSnapshot()));
}

TEST(FiberFilter, IsNotEmptyWhateverIsSet) {
  EXPECT_FALSE(FiberFilter{.state = FiberState::kRunning}.empty());
  EXPECT_FALSE(FiberFilter{.reason = WaitReason::kSleep}.empty());
  EXPECT_FALSE(FiberFilter{.min_wait = 0ns}.empty());
  EXPECT_FALSE((FiberFilter{.labels = {{"a", "b"}}}.empty()));
  EXPECT_FALSE(FiberFilter{.function = *FunctionPattern::Compile("")}.empty());
}

TEST(FiberFilter, EveryConditionMustHold) {
  const struct Row {
    const char* description;
    FiberFilter filter;
    bool passes;
  } rows[] = {
      {"state", {.state = FiberState::kWaiting}, true},
      {"another state", {.state = FiberState::kBlocking}, false},
      {"reason", {.reason = WaitReason::kChannelReceive}, true},
      {"another reason", {.reason = WaitReason::kChannelSend}, false},
      {"shorter", {.min_wait = 89s}, true},
      {"exactly", {.min_wait = 90s}, true},
      {"longer", {.min_wait = 90s + 1ns}, false},
      {"label", {.labels = {{"route", "/order"}}}, true},
      {"another value", {.labels = {{"route", "/orders"}}}, false},
      {"the beginning of a value", {.labels = {{"route", "/ord"}}}, false},
      {"another key", {.labels = {{"rout", "/order"}}}, false},
      {"an empty value", {.labels = {{"tenant", ""}}}, true},
      {"no such label", {.labels = {{"region", ""}}}, false},
      {"both labels", {.labels = {{"tenant", ""}, {"route", "/order"}}}, true},
      {"one label of two", {.labels = {{"route", "/order"}, {"tenant", "x"}}}, false},
      {"one label, two values", {.labels = {{"route", "/order"}, {"route", "/"}}}, false},
      {"name", {.labels = {{"name", "worker"}}}, true},
      {"another name", {.labels = {{"name", "w"}}}, false},
      {"all", {FiberState::kWaiting, WaitReason::kChannelReceive, 1s, {{"tenant", ""}}, {}}, true},
      {"all but one", {FiberState::kWaiting, WaitReason::kChannelReceive, 91s, {{"tenant", ""}}, {}}, false},
  };
  for (const Row& row : rows) EXPECT_EQ(row.filter.MatchesRecord(Receiver()), row.passes) << row.description;
}

TEST(FiberFilter, OnlyFibersThatParkOrBlockWait) {
  const FiberFilter any_wait{.min_wait = 0ns};
  for (const FiberState state :
       {FiberState::kNew, FiberState::kRunnable, FiberState::kRunning, FiberState::kWaiting, FiberState::kBlocking}) {
    FiberSnapshot fiber;
    fiber.state = state;
    EXPECT_EQ(any_wait.MatchesRecord(fiber), state == FiberState::kWaiting || state == FiberState::kBlocking)
        << StateName(state);
  }
}

TEST(FiberFilter, ALabelCalledNameHidesTheNameAsInTheDump) {
  const std::vector<Label> labels = {{"name", "label"}};
  FiberSnapshot fiber = Receiver();
  fiber.labels = labels;
  EXPECT_TRUE((FiberFilter{.labels = {{"name", "label"}}}.MatchesRecord(fiber)));
  EXPECT_FALSE((FiberFilter{.labels = {{"name", "worker"}}}.MatchesRecord(fiber)));
}

TEST(FiberFilter, AFiberWithoutANameHasNoLabelForIt) {
  EXPECT_FALSE((FiberFilter{.labels = {{"name", ""}}}.MatchesRecord(FiberSnapshot())));
}

}  // namespace
}  // namespace fiberscope::pprof
