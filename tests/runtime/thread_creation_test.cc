#include "runtime/thread_creation.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/thread_creation_table.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

void* Nothing(void*) { return nullptr; }

// A known place: the address that its call returns to lies within it.
__attribute__((noinline, noipa)) int MakeThread(const pthread_attr_t* attributes = nullptr) {
  pthread_t thread;
  const int error = pthread_create(&thread, attributes, &Nothing, nullptr);
  if (error == 0) pthread_join(thread, nullptr);
  return error;
}
__attribute__((noinline, noipa)) void MakeStdThread() {
  std::thread([] {}).join();
}

bool IsIn(uintptr_t return_address, uintptr_t function) { return return_address > function && return_address < function + 1024; }

// How many threads were made from stacks with a frame of `function`, the innermost one if `depth` is 1.
int64_t MadeBy(uintptr_t function, size_t depth) {
  int64_t count = 0;
  for (const ThreadCreationRecord& record : ReadThreadCreation().records) {
    const auto end = record.stack.begin() + static_cast<std::ptrdiff_t>(std::min(depth, record.stack.size()));
    if (std::any_of(record.stack.begin(), end, [&](uintptr_t pc) { return IsIn(pc, function); })) count += record.count;
  }
  return count;
}

const uintptr_t kMakeThread = reinterpret_cast<uintptr_t>(&MakeThread);
const uintptr_t kMakeStdThread = reinterpret_cast<uintptr_t>(&MakeStdThread);
constexpr size_t kAnywhere = SIZE_MAX;

// Before main(), when little has been set up.
const int g_early_error = MakeThread();
const int64_t g_early_count = MadeBy(kMakeThread, 1);

TEST(ThreadCreationTest, SeesThreadsMadeBeforeMain) {
  EXPECT_EQ(g_early_error, 0);
  EXPECT_EQ(g_early_count, 1);
}

TEST(ThreadCreationTest, CountsThreadsByTheCallerOfPthreadCreateJoinedOnesToo) {
  const int64_t before = MadeBy(kMakeThread, 1);
  const int64_t all_before = ThreadsCreated();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(MakeThread(), 0);
  EXPECT_EQ(MadeBy(kMakeThread, 1), before + 5);
  EXPECT_EQ(ThreadsCreated(), all_before + 5);
}

TEST(ThreadCreationTest, SeesThreadsThatALibraryMakes) {
  const int64_t before = MadeBy(kMakeStdThread, kAnywhere);
  for (int i = 0; i < 3; ++i) MakeStdThread();
  EXPECT_EQ(MadeBy(kMakeStdThread, kAnywhere), before + 3);
  EXPECT_EQ(MadeBy(kMakeStdThread, 1), 0) << "libstdc++ calls, not its caller";
}

TEST(ThreadCreationTest, ThreadsThatCouldNotBeMadeDoNotCount) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, size_t{1} << 47), 0);  // more than there are addresses
  const int64_t before = MadeBy(kMakeThread, 1);
  const int64_t all_before = ThreadsCreated();
  EXPECT_EQ(MakeThread(&attributes), EAGAIN);
  EXPECT_EQ(MadeBy(kMakeThread, 1), before);
  EXPECT_EQ(ThreadsCreated(), all_before);
  pthread_attr_destroy(&attributes);
}

TEST(ThreadCreationTest, TheTotalIsThatOfTheRecordsAndTheUnknownOnes) {
  const ThreadCreationSnapshot snapshot = ReadThreadCreation();
  int64_t total = snapshot.unknown;
  for (const ThreadCreationRecord& record : snapshot.records) total += record.count;
  EXPECT_EQ(ThreadsCreated(), total);
  EXPECT_EQ(snapshot.unknown, 1) << "the main thread";
}

TEST(ThreadCreationTest, LeavesErrnoAlone) {
  std::thread([] {
    errno = EXDEV;
    EXPECT_EQ(MakeThread(), 0);
    EXPECT_EQ(errno, EXDEV);
  }).join();
}

TEST(ThreadCreationTest, ThreadsMakeThreadsAtTheSameTime) {
  const int64_t before = MadeBy(kMakeThread, 1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int k = 0; k < 50; ++k) EXPECT_EQ(MakeThread(), 0);
    });
  }
  // One that is being made is not taken for one that was not seen.
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ReadThreadCreation().unknown, 1);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(MadeBy(kMakeThread, 1), before + 200);
}

TEST(ThreadCreationTest, AChildOfForkBeginsAnew) {
  std::atomic<bool> stop{false};
  std::thread busy([&] {  // so that forks meet the lock
    while (!stop) MakeThread();
  });
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const bool empty = ReadThreadCreation().records.empty() && ThreadsCreated() == 1;
      const bool made = MakeThread() == 0 && MadeBy(kMakeThread, 1) == 1 && ThreadsCreated() == 2;
      _exit(empty ? made ? 0 : 2 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  stop = true;
  busy.join();
}

class ThreadCreationFiberTest : public testing::RuntimeTest {};

TEST_P(ThreadCreationFiberTest, AFibersStackIsItsOwn) {
  const int64_t before = MadeBy(kMakeThread, 1);
  RunInFiber([] {
    EXPECT_EQ(MakeThread(), 0);
    this_fiber::Yield();
    EXPECT_EQ(MakeThread(), 0);
  });
  EXPECT_EQ(MadeBy(kMakeThread, 1), before + 2);
}

INSTANTIATE_TEST_SUITE_P(Processors, ThreadCreationFiberTest, ::testing::Values(1, 3));

TEST(ThreadCreationTableTest, CountsByStackInOrderOfAppearance) {
  internal::ThreadCreationTable<2> table;
  const std::vector<uintptr_t> a = {1, 2, 3};
  const std::vector<uintptr_t> b = {1, 2};
  for (const auto* stack : {&b, &a, &b, &b}) table.Add(*stack);
  EXPECT_THAT(table.Read().records, ElementsAre(ThreadCreationRecord{b, 3}, ThreadCreationRecord{a, 1}));
  EXPECT_EQ(table.Read().unknown, 1);
  EXPECT_EQ(table.total(), 5);
}

TEST(ThreadCreationTableTest, WhatDoesNotFitHasNoStack) {
  internal::ThreadCreationTable<2> table;
  for (uintptr_t pc : {1, 2, 3, 4, 2}) table.Add(std::array{pc});
  table.Add({});
  EXPECT_THAT(table.Read().records, ElementsAre(ThreadCreationRecord{{1}, 1}, ThreadCreationRecord{{2}, 2}));
  EXPECT_EQ(table.Read().unknown, 4);
  EXPECT_EQ(table.total(), 7);
  table.Clear();
  EXPECT_THAT(table.Read().records, SizeIs(0));
  EXPECT_EQ(table.total(), 1);
  table.Add(std::vector<uintptr_t>(1000, 7));
  EXPECT_THAT(table.Read().records[0].stack, SizeIs(internal::ThreadCreationTable<2>::kMaxFrames));
}

TEST(ThreadCreationTableTest, UnseenThreadsAreAsManyAsThereEverWere) {
  internal::ThreadCreationTable<2> table;
  EXPECT_EQ(table.Read().unknown, 1) << "there is a main thread even where nobody can count";
  table.Notice(3);
  table.Notice(-2);
  EXPECT_EQ(table.Read().unknown, 3);
  table.Add(std::array<uintptr_t, 1>{1});
  EXPECT_EQ(table.total(), 4);
}

}  // namespace
}  // namespace fiberscope
