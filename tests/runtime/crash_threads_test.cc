// In a handler it is crash_dump_test.cc that runs this.
#include "runtime/crash_threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/debugging/symbolize.h"
#include "gtest/gtest.h"
#include "runtime/base/clock.h"

namespace fiberscope::internal {
namespace {

using Outcome = CrashThread::Outcome;

// No test waits that long.
constexpr int64_t kLongNs = 300'000'000'000;

constinit CrashThreads g_threads;
int g_ends[2];  // a pipe
std::atomic<int> g_reader{0};

__attribute__((noinline, noipa)) void ReadHere() {
  g_reader = gettid();
  char byte;
  EXPECT_EQ(read(g_ends[0], &byte, 1), 1);
}
CrashThread* Find(int thread_id) {
  const auto threads = g_threads.listed();
  const auto found = std::ranges::find_if(threads, [&](const CrashThread& thread) { return thread.id() == thread_id; });
  return found == threads.end() ? nullptr : &*found;
}

bool IsIn(const CrashThread& thread, std::string_view function) {
  return std::ranges::any_of(thread.pcs(), [&](uintptr_t pc) {
    char name[256];
    const bool is_known = absl::Symbolize(reinterpret_cast<void*>(pc - 1), name, sizeof(name));
    return is_known && std::string_view(name).find(function) != std::string_view::npos;
  });
}

class CrashThreadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    UnwindTable::Refresh();
    ASSERT_TRUE(PrepareStackSignal().ok());
    ASSERT_EQ(pipe(g_ends), 0);
    g_reader = 0;
    thread_ = std::thread(ReadHere);
    pthread_setname_np(thread_.native_handle(), "reader");
    while (!SleepingSystemCall(g_reader)) sched_yield();
  }
  void TearDown() override {
    ASSERT_EQ(write(g_ends[1], "x", 1), 1);
    thread_.join();
    close(g_ends[0]);
    close(g_ends[1]);
  }

 private:
  std::thread thread_;
};

TEST_F(CrashThreadsTest, AThreadThatSleepsIsToldWithItsNameItsStateAndItsStack) {
  for (const bool may_interrupt : {false, true}) {
    FailedThreads failed;
    ASSERT_TRUE(g_threads.List(MonotonicNowNs() + kLongNs));
    EXPECT_EQ(Find(gettid()), nullptr) << "the calling thread";
    CrashThread* const thread = Find(g_reader);
    ASSERT_NE(thread, nullptr);
    EXPECT_EQ(thread->outcome, Outcome::kNoTime) << "before its turn";
    g_threads.Look(*thread, failed, may_interrupt);
    g_threads.AskRest(MonotonicNowNs() + kLongNs);
    EXPECT_EQ(thread->outcome, Outcome::kCaptured);
    EXPECT_EQ(thread->name.view(), "reader");
    EXPECT_EQ(thread->state, 'S');
    EXPECT_EQ(thread->stack.fiber, nullptr);
    EXPECT_TRUE(IsIn(*thread, "ReadHere"));
  }
}

TEST_F(CrashThreadsTest, AThreadThatFailedIsToldWithWhereThatWasUntilItLeaves) {
  FailedThreads failed;
  FailedThreads::Entry* const entry = failed.Enter(g_reader, SIGSEGV, CaptureRegisters());
  ASSERT_TRUE(g_threads.List(MonotonicNowNs() + kLongNs));
  CrashThread* const thread = Find(g_reader);
  ASSERT_NE(thread, nullptr);
  g_threads.Look(*thread, failed, true);
  EXPECT_EQ(thread->outcome, Outcome::kCaptured);
  EXPECT_EQ(thread->failed_signal, SIGSEGV);
  EXPECT_TRUE(IsIn(*thread, "TestBody"));
  failed.Leave(entry);
  EXPECT_EQ(failed.Find(g_reader), nullptr);
}

TEST(FailedThreadsTest, TheLastOfTooManyAreNotEntered) {
  FailedThreads failed;
  std::vector<FailedThreads::Entry*> entries;
  for (int id = 1; FailedThreads::Entry* const entry = failed.Enter(id, SIGBUS, {}); ++id) entries.push_back(entry);
  EXPECT_GE(entries.size(), 16u);
  EXPECT_EQ(failed.Find(static_cast<int>(entries.size()) + 1), nullptr);
  failed.Leave(nullptr);
  failed.Leave(entries[3]);
  EXPECT_EQ(failed.Enter(4711, SIGFPE, {}), entries[3]);
  EXPECT_EQ(failed.Find(4711)->signal, SIGFPE);
}

TEST_F(CrashThreadsTest, AThreadThatEndedMeanwhileIsGone) {
  std::atomic<int> id{0};
  std::atomic<bool> end{false};
  std::thread thread([&] {
    id = gettid();
    while (!end) sched_yield();
  });
  while (id == 0) sched_yield();
  ASSERT_TRUE(g_threads.List(MonotonicNowNs() + kLongNs));
  end = true;
  thread.join();
  while (IdentityOfThread(id)) sched_yield();
  CrashThread* const found = Find(id);
  ASSERT_NE(found, nullptr);
  g_threads.Look(*found, {}, true);
  EXPECT_EQ(found->outcome, Outcome::kGone);
  g_threads.AskRest(MonotonicNowNs() + kLongNs);
  EXPECT_EQ(found->outcome, Outcome::kGone);
}

}  // namespace
}  // namespace fiberscope::internal

int main(int argc, char** argv) {
  absl::InitializeSymbolizer(argv[0]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
