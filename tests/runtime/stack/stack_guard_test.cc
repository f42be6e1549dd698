#include "runtime/stack/stack_guard.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope {
namespace {

// Whether the kernel may write to `address`: says EFAULT where a store of ours would be a SIGSEGV.
bool IsWritable(uintptr_t address) { return getrandom(reinterpret_cast<void*>(address), 1, 0) == 1; }

// Pages of anonymous memory, unmapped at the end.
class Pages {
 public:
  explicit Pages(size_t count)
      : bytes_(count * page_bytes()),
        start_(reinterpret_cast<uintptr_t>(
            mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  ~Pages() { munmap(reinterpret_cast<void*>(start_), bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  static size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
  uintptr_t operator[](size_t index) const { return start_ + index * page_bytes(); }
  void Unmap(size_t index) { munmap(reinterpret_cast<void*>((*this)[index]), page_bytes()); }
  std::vector<iovec> Every(size_t stride) const {
    std::vector<iovec> ranges;
    for (size_t at = 0; at * page_bytes() < bytes_; at += stride) {
      ranges.push_back({reinterpret_cast<void*>((*this)[at]), page_bytes()});
    }
    return ranges;
  }

 private:
  const size_t bytes_;
  const uintptr_t start_;
};

struct Mode {
  std::string name;
  StackFacilities facilities;
  GuardMode expected;
};

class InstallGuardsTest : public testing::TestWithParam<Mode> {
 protected:
  // A mode the kernel does not have falls to the next one.
  static GuardMode Expected() {
    const StackFacilities& offered = ProbeStackFacilities();
    GuardMode mode = GetParam().expected;
    if (mode == GuardMode::kGuardInstall && !offered.guard_install) mode = GuardMode::kMprotect;
    if (mode == GuardMode::kMprotect && !(offered.mprotect && GetParam().facilities.mprotect)) mode = GuardMode::kNone;
    return mode;
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, InstallGuardsTest,
                         testing::Values(Mode{"Batched", {}, GuardMode::kGuardInstall},
                                         Mode{"OneByOne", {.process_madvise = false}, GuardMode::kGuardInstall},
                                         Mode{"Mprotect", {.guard_install = false}, GuardMode::kMprotect},
                                         Mode{"MprotectWithoutBatches",
                                              {.guard_install = false, .process_madvise = false},
                                              GuardMode::kMprotect},
                                         Mode{"None", {.guard_install = false, .mprotect = false}, GuardMode::kNone}),
                         [](const testing::TestParamInfo<Mode>& info) { return info.param.name; });

TEST_P(InstallGuardsTest, GuardsThePagesAskedForAndNoOthers) {
  // More than one process_madvise takes.
  constexpr size_t kCount = 1500, kStride = 3;
  const Pages pages(kCount * kStride);
  const GuardedPages guarded = InstallGuards(pages[0], kStride * Pages::page_bytes(), kCount, GetParam().facilities);
  EXPECT_EQ(guarded.mode, Expected());
  EXPECT_EQ(guarded.count, Expected() == GuardMode::kNone ? 0 : kCount);
  for (size_t i = 0; i < kCount * kStride; ++i) {
    ASSERT_EQ(IsWritable(pages[i]), guarded.count == 0 || i % kStride != 0) << i;
  }
}

TEST_P(InstallGuardsTest, StopsAtThePageThatCannotBeGuarded) {
  Pages pages(40);
  pages.Unmap(2 * 5);
  const GuardedPages guarded = InstallGuards(pages[0], 2 * Pages::page_bytes(), 20, GetParam().facilities);
  EXPECT_EQ(guarded.mode, GuardMode::kNone);
  EXPECT_EQ(guarded.count, Expected() == GuardMode::kNone ? 0u : 5u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(IsWritable(pages[2 * i]), guarded.count == 0) << i;
  EXPECT_TRUE(IsWritable(pages[2 * 6]));
}

class AdviseRangesTest : public testing::TestWithParam<bool> {
 protected:
  const StackFacilities facilities_{.process_madvise = GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Batched, AdviseRangesTest, testing::Bool());

TEST_P(AdviseRangesTest, AdvisesEveryRangeAndNothingBetween) {
  constexpr size_t kCount = 2500;
  const Pages pages(2 * kCount);
  for (size_t i = 0; i < 2 * kCount; ++i) *reinterpret_cast<char*>(pages[i]) = 1;
  EXPECT_EQ(AdviseRanges(pages.Every(2), MADV_DONTNEED, facilities_), kCount);
  for (size_t i = 0; i < 2 * kCount; ++i) ASSERT_EQ(*reinterpret_cast<const char*>(pages[i]), i % 2) << i;
}

TEST_P(AdviseRangesTest, SaysHowFarItCame) {
  Pages pages(20);
  pages.Unmap(2 * 7);
  EXPECT_EQ(AdviseRanges(pages.Every(2), MADV_DONTNEED, facilities_), 7u);
  EXPECT_EQ(AdviseRanges({}, MADV_DONTNEED, facilities_), 0u);
}

// A descriptor of ourselves that outlived a fork would advise on the parent's memory.
TEST_P(AdviseRangesTest, ChildProcessAdvisesOnItsOwnMemory) {
  const Pages pages(1);
  char& byte = *reinterpret_cast<char*>(pages[0]);
  byte = 1;
  ASSERT_EQ(AdviseRanges({}, MADV_DONTNEED, facilities_), 0u);
  EXPECT_EXIT(_exit(AdviseRanges(pages.Every(1), MADV_DONTNEED, facilities_) == 1 && byte == 0 ? 0 : 1),
              testing::ExitedWithCode(0), "");
  EXPECT_EQ(byte, 1);
}

// mprotect takes two entries of the memory map per page; it must leave the process a fifth of its limit.
TEST(InstallGuardsLimitTest, MprotectLeavesTheApplicationAFifthOfTheMemoryMap) {
  const std::optional<size_t> limit = MappingLimit();
  ASSERT_TRUE(limit.has_value());
  const Pages pages(2 * *limit);
  const GuardedPages guarded = InstallGuards(pages[0], 2 * Pages::page_bytes(), *limit, {.guard_install = false});
  EXPECT_EQ(guarded.mode, GuardMode::kNone);
  EXPECT_GT(guarded.count, *limit / 5 * 2 - 2'000) << "the process itself has far fewer than 4,000 mappings";
  const std::optional<size_t> mappings = MappingCount();
  ASSERT_TRUE(mappings.has_value());
  EXPECT_LE(*mappings, *limit / 5 * 4);
  EXPECT_FALSE(IsWritable(pages[2 * (guarded.count - 1)]));
  EXPECT_TRUE(IsWritable(pages[2 * guarded.count]));

  // And with the budget used up, nothing more, but for the one that rounding may have left.
  const Pages more(16);
  EXPECT_LE(InstallGuards(more[1], 2 * Pages::page_bytes(), 8, {.guard_install = false}).count, 1u);
}

TEST(MappingCountTest, GrowsWithEveryMapping) {
  const std::optional<size_t> before = MappingCount();
  ASSERT_TRUE(before.has_value());
  const Pages pages(201);
  for (size_t i = 1; i < 201; i += 2) {
    ASSERT_EQ(mprotect(reinterpret_cast<void*>(pages[i]), Pages::page_bytes(), PROT_NONE), 0);
  }
  // 100 protected pages between 101 others, of which the outermost may have merged with their neighbours.
  EXPECT_GE(*MappingCount(), *before + 198);
  EXPECT_LE(*MappingCount(), *before + 203);
}

TEST(LimitStackFacilitiesTest, TakesFromWhatIsOffered) {
  const StackFacilities all;
  const auto limited = [&](std::string_view setting) { return *LimitStackFacilities(all, setting); };
  EXPECT_TRUE(limited("").guard_install);
  EXPECT_TRUE(limited("guard-install").guard_install);
  EXPECT_FALSE(limited("mprotect").guard_install);
  EXPECT_TRUE(limited("mprotect").mprotect);
  EXPECT_FALSE(limited("none").guard_install);
  EXPECT_FALSE(limited("none").mprotect);
  EXPECT_TRUE(limited("none").process_madvise) << "that one is for other things too";
  EXPECT_FALSE(LimitStackFacilities({.guard_install = false}, "guard-install")->guard_install);
}

TEST(LimitStackFacilitiesTest, ASettingThatMakesNoSenseIsNamed) {
  const absl::StatusOr<StackFacilities> limited = LimitStackFacilities({}, "No\n");
  EXPECT_EQ(limited.status(), absl::InvalidArgumentError("\"No\\n\" is none of guard-install, mprotect, none"));
}

TEST(GuardModeTest, Names) {
  EXPECT_STREQ(GuardModeName(GuardMode::kGuardInstall), "guard-install");
  EXPECT_STREQ(GuardModeName(GuardMode::kMprotect), "mprotect");
  EXPECT_STREQ(GuardModeName(GuardMode::kNone), "none");
}

}  // namespace
}  // namespace fiberscope
