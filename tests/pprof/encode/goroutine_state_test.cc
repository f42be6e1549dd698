#include "pprof/encode/goroutine_state.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

TEST(GoroutineState, SpellsEveryWaitReason) {
  const std::string spellings[] = {
      "waiting", "sleep",    "IO wait", "chan receive", "chan send", "sync.Mutex.Lock", "sync.WaitGroup.Wait",
      "join",    "suspended",
      "chan receive (nil chan)", "chan send (nil chan)", "select", "select (no cases)", "sync.RWMutex.RLock",
      "sync.RWMutex.Lock", "semacquire", "sync.Cond.Wait", "barrier"};
  static_assert(std::size(spellings) == kWaitReasonCount);
  for (int i = 0; i < kWaitReasonCount; ++i) {
    EXPECT_EQ(GoroutineState(FiberState::kWaiting, static_cast<WaitReason>(i)), spellings[i]);
  }
}

TEST(GoroutineState, SpellsEveryState) {
  EXPECT_STREQ(GoroutineState(FiberState::kDead, WaitReason::kNone), "dead");
  EXPECT_STREQ(GoroutineState(FiberState::kNew, WaitReason::kNone), "idle");
  EXPECT_STREQ(GoroutineState(FiberState::kRunnable, WaitReason::kNone), "runnable");
  EXPECT_STREQ(GoroutineState(FiberState::kRunning, WaitReason::kNone), "running");
  EXPECT_STREQ(GoroutineState(FiberState::kBlocking, WaitReason::kNone), "syscall");
  EXPECT_STREQ(GoroutineState(FiberState::kRunning, WaitReason::kSleep), "running") << "a reason counts while waiting";
}

// Readers split the header at commas and brackets, and group by what is left.
TEST(GoroutineState, EveryWaitReasonIsAWordOfItsOwnThatReadersCanCutOut) {
  std::set<std::string> seen;
  for (int i = 0; i < kWaitReasonCount; ++i) {
    const std::string state = GoroutineState(FiberState::kWaiting, static_cast<WaitReason>(i));
    EXPECT_TRUE(seen.insert(state).second) << state;
    EXPECT_NE(state, "unknown wait reason") << i;
    // Go writes two of them with a remark in parentheses; readers know those.
    const std::string word = state.substr(0, state.find(" ("));
    EXPECT_EQ(word.find_first_of(",[]():\n"), std::string::npos) << state;
  }
}

TEST(GoroutineState, IsReadBackAsItIsSpelled) {
  for (const FiberState state : {FiberState::kRunnable, FiberState::kRunning, FiberState::kBlocking, FiberState::kWaiting}) {
    EXPECT_EQ(ParseGoroutineStatus(GoroutineState(state, WaitReason::kNone)), state);
  }
  for (const char* const text : {"", "dead", "idle", "Running", "running ", "sleep", "???"}) {
    EXPECT_EQ(ParseGoroutineStatus(text), std::nullopt) << text;
  }
  EXPECT_EQ(GoroutineStatuses(), "runnable, running, syscall, waiting");
  for (int i = 1; i < kWaitReasonCount; ++i) {
    const auto reason = static_cast<WaitReason>(i);
    EXPECT_EQ(ParseWaitReason(GoroutineState(FiberState::kWaiting, reason)), reason);
    EXPECT_NE(GoroutineWaitReasons().find(GoroutineState(FiberState::kWaiting, reason)), std::string::npos) << i;
  }
  for (const char* const text : {"", "waiting", "running", "Chan receive", "chan", "unknown wait reason"}) {
    EXPECT_EQ(ParseWaitReason(text), std::nullopt) << text;
  }
  EXPECT_EQ(GoroutineWaitReasons().find("sleep, IO wait, chan receive, "), 0u);
}

}  // namespace
}  // namespace fiberscope::pprof
