#include "runtime/unwind/unwind_table.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "runtime/unwind/unwind_rule.h"
#include "tests/runtime/unwind/stack_truth.h"

// The dynamic loader's own locks are unknown to ThreadSanitizer.
extern "C" const char* __tsan_default_suppressions() { return "race:ld-linux\n"; }

namespace fiberscope {
namespace {

using testing::TwoViews;
using testing::UnwindBothWays;

TwoViews g_views;

int Here() {
  UnwindBothWays(g_views);
  return 1;
}

// Loads the library; it stays loaded for the life of the object.
class ForeignLibrary {
 public:
  ForeignLibrary() : handle_(dlopen("tests/runtime/unwind/libforeign.so", RTLD_LAZY | RTLD_LOCAL)) {
    EXPECT_NE(handle_, nullptr) << dlerror();
  }
  ~ForeignLibrary() { dlclose(handle_); }

  auto recursion() const { return reinterpret_cast<int (*)(int, int (*)())>(dlsym(handle_, "ForeignRecursion")); }
  auto realigned() const {
    return reinterpret_cast<int (*)(int, int, int, int, int, int, int, int (*)())>(dlsym(handle_, "ForeignRealigned"));
  }

 private:
  void* handle_;
};

TEST(UnwindTableTest, DescribesEveryFunctionOfThisProcess) {
  const UnwindTable::Stats stats = UnwindTable::Refresh().stats();

  EXPECT_GE(stats.objects, 5u);  // the program, libstdc++, libc, the dynamic linker, the vdso
  EXPECT_GT(stats.functions, 5'000u);
  EXPECT_EQ(stats.refused, 0u);
  EXPECT_GT(stats.rows, stats.functions);
  EXPECT_GT(stats.rules, 100u);
  EXPECT_LT(stats.bytes, stats.rows * 16);
}

TEST(UnwindTableTest, FindsRulesInCodeOnly) {
  const UnwindTable& table = UnwindTable::Refresh();
  static int data = 0;
  int on_stack = 0;

  EXPECT_NE(table.Find(reinterpret_cast<uintptr_t>(&Here)), nullptr);
  EXPECT_NE(table.Find(reinterpret_cast<uintptr_t>(&std::abort)), nullptr);
  EXPECT_EQ(table.Find(reinterpret_cast<uintptr_t>(&data)), nullptr);
  EXPECT_EQ(table.Find(reinterpret_cast<uintptr_t>(&on_stack)), nullptr);
  EXPECT_EQ(table.Find(0), nullptr);
  EXPECT_EQ(table.Find(~uintptr_t{0}), nullptr);
}

TEST(UnwindTableTest, RefreshWithoutNewObjectsGivesTheSameTable) {
  const UnwindTable& table = UnwindTable::Refresh();
  EXPECT_EQ(&UnwindTable::Refresh(), &table);
  EXPECT_EQ(UnwindTable::Current(), &table);
}

TEST(UnwindTableTest, RefreshSeesALoadedLibraryAndTheOldTableStaysAsItWas) {
  const UnwindTable& before = UnwindTable::Refresh();
  const UnwindTable::Stats stats_before = before.stats();
  const ForeignLibrary library;
  const auto code = reinterpret_cast<uintptr_t>(library.recursion());
  ASSERT_EQ(before.Find(code), nullptr);

  const UnwindTable& after = UnwindTable::Refresh();

  EXPECT_NE(&after, &before);
  EXPECT_EQ(UnwindTable::Current(), &after);
  EXPECT_EQ(after.stats().objects, stats_before.objects + 1);
  EXPECT_NE(after.Find(code), nullptr);
  EXPECT_EQ(before.Find(code), nullptr);
  EXPECT_EQ(before.stats().rows, stats_before.rows);
}

TEST(UnwindTableTest, WalksThroughALoadedLibraryWithoutFramePointers) {
  const ForeignLibrary library;
  UnwindTable::Refresh();

  library.recursion()(30, Here);

  EXPECT_TRUE(g_views.Agree()) << g_views.Describe();
  EXPECT_GT(g_views.ours.depth, 30u);
}

TEST(UnwindTableTest, WalksThroughARealignedFrameWithoutFramePointer) {
  const ForeignLibrary library;
  UnwindTable::Refresh();

  library.realigned()(1, 2, 3, 4, 5, 6, 7, Here);

  EXPECT_TRUE(g_views.Agree()) << g_views.Describe();
}

TEST(UnwindTableTest, AWalkByATableOlderThanTheLibraryEndsAtItsFirstFrame) {
  UnwindTable::Refresh();
  const ForeignLibrary library;

  library.recursion()(30, Here);

  EXPECT_EQ(g_views.end, UnwindEnd::kNoRule);
  EXPECT_EQ(g_views.ours.depth, 3u);  // UnwindBothWays, Here, the library
}

TEST(UnwindTableTest, ConcurrentRefreshesAgree) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int round = 0; round < 20; ++round) {
        const ForeignLibrary library;
        const UnwindTable& table = UnwindTable::Refresh();
        EXPECT_NE(table.Find(reinterpret_cast<uintptr_t>(library.recursion())), nullptr);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace fiberscope
